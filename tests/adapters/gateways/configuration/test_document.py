from __future__ import annotations

import builtins
import os

import pytest
from moorage.adapters.gateways.configuration.document import (
    FILE_BYTES_MAX,
    FileRefused,
    read_document,
    read_small_file,
)
from moorage.adapters.gateways.configuration.given import plain

pytest.importorskip("yaml")


def written(directory, content, name="moorage.yaml"):
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path, **environ):
    problems = []
    return read_document(path, environ, problems), problems


def refused(path):
    with pytest.raises(FileRefused) as caught:
        read(path)
    return caught.value.problem


YAML = """\
gateway:
  bind: 127.0.0.1:80
  limits: {streams_max: 5, heartbeat_seconds: .inf}
retention:
  rules:
    - {states: [closed], closed_for: 30d}
"""
TOML = """\
[gateway]
bind = "127.0.0.1:80"
limits = {streams_max = 5, heartbeat_seconds = inf}

[[retention.rules]]
states = ["closed"]
closed_for = "30d"
"""


def test_both_formats_say_the_same(tmp_path):
    one, _ = read(written(tmp_path, YAML))
    other, _ = read(written(tmp_path, TOML, "moorage.toml"))

    assert plain(one) == plain(other)


def test_a_value_knows_its_file_line_and_directory(tmp_path):
    path = written(tmp_path, YAML)
    source = read(path)[0].entries["gateway"].entries["limits"].entries["streams_max"].source

    assert (source.kind, source.name, source.directory) == ("file", f"{path}:3", tmp_path)


@pytest.mark.parametrize("content", ["", "# nothing\n", b"\xef\xbb\xbf", "{}"])
def test_an_empty_file_gives_nothing(tmp_path, content):
    assert plain(read(written(tmp_path, content))[0]) == {}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    for name, content in (("a.yaml", "node_tags: {a: b}"), ("a.toml", "node_tags.a = 'b'")):
        path = written(tmp_path, b"\xef\xbb\xbf" + content.encode(), name)

        assert plain(read(path)[0]) == {"node_tags": {"a": "b"}}


@pytest.mark.parametrize(
    ("name", "content", "place", "text"),
    [
        ("a.json", "{}", "", "its name must end in .yaml, .yml, .toml"),
        ("a.yaml", "- a\n- b\n", "", "expected sections like store and gateway, not ['a', 'b']"),
        ("a.yaml", "just words", "", "not 'just words'"),
        ("a.yaml", "a: 1\na: 2\n", ":2", "'a' is here twice"),
        ("a.yaml", b"a: \xff\n", "", "it is not UTF-8: byte 0xff at offset 3"),
        ("a.toml", "a = 1\na = 2\n", ":2", "Cannot overwrite a value"),
        ("a.toml", "a = \n", ":1", "Invalid value"),
        ("a.yaml", " " * (FILE_BYTES_MAX + 1), "", "over 1048576 bytes"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(tmp_path, name, content, place, text):
    problem = refused(written(tmp_path, content, name))

    assert problem.place == f"{tmp_path / name}{place}"
    assert text in problem.text
    assert problem.is_usage


def test_a_file_that_is_not_there_or_is_a_directory_is_the_worlds_fault(tmp_path):
    missing = refused(tmp_path / "missing.yaml")
    (tmp_path / "folder.yaml").mkdir()
    folder = refused(tmp_path / "folder.yaml")

    assert (missing.text, missing.is_usage) == (
        "it cannot be read: No such file or directory",
        False,
    )
    assert "Is a directory" in folder.text


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    path = written(tmp_path, YAML)

    def refuse(*arguments):
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(os, "open", refuse)

    assert refused(path).text == "it cannot be read: Permission denied"


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    assert read_small_file(tmp_path / "pipe", 100) == ""


def test_variables_stand_in_texts_and_are_shown_as_written(tmp_path):
    path = written(
        tmp_path,
        "store: {spec: 'postgres://me:${PASSWORD}@db/x'}\n"
        "node_tags: {a: '$${A}', b: '$A', c: '${C:-else}', d: '${D:-}'}\n"
        "gateway: {cors: ['https://${HOST}'], limits: {streams_max: '${N}'}}\n",
    )
    tree, problems = read(path, PASSWORD="hunter2", HOST="h", N="5")

    assert not problems
    assert plain(tree) == {
        "store": {"spec": "postgres://me:hunter2@db/x"},
        "node_tags": {"a": "${A}", "b": "$A", "c": "else", "d": ""},
        "gateway": {"cors": ["https://h"], "limits": {"streams_max": "5"}},
    }
    assert "hunter2" not in str(plain(tree, shown=True))
    assert tree.entries["gateway"].entries["limits"].entries["streams_max"].is_text


def test_variables_that_are_not_set_are_all_told(tmp_path):
    path = written(tmp_path, "a: ${X}\nb:\n  c: [ '${Y}' ]\nd: '${1}'\n")
    _, problems = read(path)

    assert [str(problem) for problem in problems] == [
        f"{path}:1: a: the variable X is not set",
        f"{path}:3: b.c: the variable Y is not set",
        f"{path}:4: d: after ${{ comes a variable's name and }}, like ${{NAME}}; "
        "$${ is a plain ${",
    ]


def test_without_the_extra_yaml_says_what_to_install_and_toml_works(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, globals=None, locals=None, fromlist=(), level=0):
        if name == "yaml_file":
            raise ModuleNotFoundError("no", name="yaml")
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)

    assert "pip install 'moorage[config]'" in refused(written(tmp_path, YAML)).text
    assert plain(read(written(tmp_path, TOML, "a.toml"))[0])["gateway"]["bind"] == "127.0.0.1:80"
