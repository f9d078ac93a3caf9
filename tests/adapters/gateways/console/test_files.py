"""The files of the console: which there are, what they are made of, and that they ship."""

from __future__ import annotations

import hashlib
import re

import pytest
from moorage.adapters.gateways import console
from moorage.adapters.gateways.console import console_files

from tests.rules.source_tree import ROOT

STATIC = ROOT / "adapters/gateways/console/static"
MODULES = sorted(STATIC.glob("*.js"))
MODULE_LINES_MAX = 250
LINE_CHARACTERS_MAX = 130


def test_the_page_is_at_the_empty_path():
    page = console_files()[""]

    assert page.media_type == "text/html; charset=utf-8"
    assert page == console_files()["index.html"]


def test_every_file_that_is_there_is_served_as_what_it_is():
    served = {path: file.content for path, file in console_files().items() if path}
    there = {
        path.relative_to(STATIC).as_posix(): path.read_bytes()
        for path in STATIC.rglob("*")
        if path.is_file()
    }

    assert served == there
    assert {file.media_type.partition(";")[0] for file in console_files().values()} == {
        "text/html",
        "text/css",
        "text/javascript",
        "image/svg+xml",
        "text/plain",
    }


def test_a_tag_changes_with_the_content_and_is_quoted():
    tags = {path: file.etag for path, file in console_files().items() if path}

    assert len(set(tags.values())) == len(tags)
    assert all(re.fullmatch(r'"[0-9a-f]{32}"', tag) for tag in tags.values())


def test_libraries_are_those_whose_checksums_are_written_down():
    table = (STATIC / "libraries/THIRD_PARTY.md").read_text()
    written = dict(re.findall(r"^\| (\S+) \| .* \| ([0-9a-f]{64}) \|$", table, re.MULTILINE))
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (STATIC / "libraries").iterdir()
        if path.suffix in (".mjs", ".css", ".js")
    }

    assert there == written
    for name in re.findall(r"(\w+\.LICENSE)", table):
        assert (STATIC / "libraries" / name).is_file()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_modules_are_short_and_import_what_is_there(module):
    text = module.read_text()
    imports = re.findall(r'from "(\S+)";', text)

    assert len(text.splitlines()) <= MODULE_LINES_MAX
    assert max(map(len, text.splitlines())) <= LINE_CHARACTERS_MAX
    assert text.startswith("// "), "its first line says what it is for"
    for path in imports:
        assert path.startswith("./"), "a browser finds nothing else"
        assert path[2:] in console_files()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_module_makes_elements_or_code_out_of_text(module):
    danger = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|https?://"

    assert re.findall(danger, module.read_text()) == []


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere():
    page = (STATIC / "index.html").read_text()

    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\bstyle=|//\w", page) == []


def test_the_package_ships_its_files():
    settings = (ROOT / "pyproject.toml").read_text()

    assert console.__name__ in settings
    assert '["static/*", "static/libraries/*"]' in settings
