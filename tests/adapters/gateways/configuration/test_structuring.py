from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from moorage.adapters.gateways.configuration.given import Branch, Given, Source, merged
from moorage.adapters.gateways.configuration.kinds import FLAG, MAP, STORE, TEXT, TEXTS, whole
from moorage.adapters.gateways.configuration.settings import named, section, setting
from moorage.adapters.gateways.configuration.structuring import Structuring, hint, normalised
from moorage.runtime import InvalidArgument


def ordered(instance, attribute, value):
    if instance.least > value:
        raise InvalidArgument("least must not be above most")


@attrs.frozen(kw_only=True)
class Range:
    least: int = setting(whole(1), 1, "Least.")
    most: int = attrs.field(default=9, validator=ordered, metadata={"minimum": 1, "whole": True})


@attrs.frozen(kw_only=True)
class Member:
    kind: str = setting(TEXT, "", "Which.")
    options: dict[str, object] = setting(MAP, {}, "Options.")


@attrs.frozen(kw_only=True)
class Whole:
    range: Range = section(Range)
    members: dict[str, Member] = named(Member, short="kind", doc="Members.")
    secret: str | None = setting(STORE, None, "A secret.", secret=True)
    words: tuple[str, ...] = setting(TEXTS, (), "Words.")
    flag: bool = setting(FLAG, False, "A flag.")


def tree_of(data, kind="file", name="a.yaml:1", directory=Path("/etc")):
    source = Source(kind, name, directory)

    def convert(value):
        if isinstance(value, dict):
            return Branch(source, {key: convert(one) for key, one in value.items()})
        return value if isinstance(value, Given) else Given(value, source)

    return convert(data)


def structured(*layers):
    """Layers from the strongest to the weakest; the value, and what is wrong."""
    problems = []
    tree = Branch(Source("default", "default", Path("/")))
    for layer in reversed(layers):
        tree = merged(normalised(Whole, layer), tree)
    return Structuring(problems).section(Whole, tree), [str(problem) for problem in problems]


def test_what_is_given_is_taken_and_the_rest_has_its_default():
    value, problems = structured(tree_of({"range": {"most": 5}, "words": ["a"], "flag": True}))

    assert not problems
    assert value == Whole(range=Range(most=5), words=("a",), flag=True)


def test_everything_that_is_wrong_is_told_at_once():
    value, problems = structured(
        tree_of(
            {
                "rang": {},
                "range": {"leest": 1, "most": "many", "least": {"x": 1}},
                "words": "a",
                "flag": "yes",
                "members": {"a": {"kin": "x"}},
            }
        )
    )

    assert problems == [
        "a.yaml:1: rang: there is no such setting: is range meant?",
        "a.yaml:1: range.leest: there is no such setting: is least meant?",
        "a.yaml:1: range.most: expected a whole number of at least 1, not 'many'",
        "a.yaml:1: range.least: expected a whole number of at least 1, not a section",
        "a.yaml:1: words: expected a list of texts, not 'a'",
        "a.yaml:1: flag: expected true or false, not 'yes'",
        "a.yaml:1: members.a.kin: there is no such setting: is kind meant?",
    ]
    assert value == Whole(members={"a": Member()})


def test_a_section_that_is_no_section_is_told_and_an_empty_one_is_fine():
    _, wrong = structured(tree_of({"range": 5}))
    value, right = structured(tree_of({"range": None, "members": None, "flag": None}))

    assert wrong == ["a.yaml:1: range: expected a section, not 5"]
    assert (value, right) == (Whole(), [])


def test_values_that_do_not_go_together_are_told_by_their_section():
    _, problems = structured(tree_of({"range": {"least": 8, "most": 3}}))

    assert problems == ["a.yaml:1: range: least must not be above most"]


def test_a_text_stands_for_a_member_or_for_the_only_one():
    members, _ = structured(tree_of({"members": {"a": "x"}}))
    only, _ = structured(tree_of({"members": "x"}))

    assert members.members == {"a": Member(kind="x")}
    assert only.members == {"default": Member(kind="x")}


def test_a_member_that_is_named_anew_keeps_nothing_of_the_weaker_source():
    file = tree_of({"members": {"a": {"kind": "x", "options": {"o": 1}}, "b": "y"}})

    option, _ = structured(tree_of({"members": {"a": {"options": {"p": 2}}}}, "environment"), file)
    anew, _ = structured(tree_of({"members": {"a": "z"}}, "environment"), file)
    alone, _ = structured(tree_of({"members": "z"}, "option"), file)

    assert option.members["a"] == Member(kind="x", options={"o": 1, "p": 2})
    assert anew.members == {"a": Member(kind="z"), "b": Member(kind="y")}
    assert alone.members == {"default": Member(kind="z")}


def secret_file(directory, content="journal:data\n"):
    path = directory / "secret"
    path.write_text(content)
    return path


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path):
    secret_file(tmp_path)

    value, problems = structured(tree_of({"secret_file": "secret"}, directory=tmp_path))

    assert (value.secret, problems) == (f"journal:{tmp_path}/data", [])


def test_the_stronger_source_of_a_secret_counts_however_it_is_said(tmp_path):
    path = str(secret_file(tmp_path))
    plain, from_file = {"secret": "journal:/b"}, {"secret_file": path}

    for strong, weak in ((plain, from_file), (from_file, plain)):
        value, problems = structured(tree_of(strong, "environment"), tree_of(weak))

        expected = "journal:/b" if strong is plain else "journal:/etc/data"
        assert (value.secret, problems) == (expected, [])


@pytest.mark.parametrize(
    ("content", "given", "why"),
    [
        (None, {"secret_file": "missing"}, "'missing' cannot be read: No such file"),
        ("", {"secret_file": "secret"}, "'secret' is empty"),
        ("a" * 70_000, {"secret_file": "secret"}, "'secret' is no secret: it has over 65536 bytes"),
        ("x", {"secret_file": "~nobody-of-that-name/x"}, "a user that there is not"),
        ("x", {"secret_file": "a\0b"}, "'a\\x00b' is no secret: embedded null byte"),
        ("x", {"secret_file": 7}, "expected a path"),
        ("x", {"secret_file": {"a": 1}}, "expected a path"),
        ("x", {"secret_file": "secret", "secret": "journal:x"}, "secret is given beside it"),
    ],
)
def test_a_file_of_a_secret_that_cannot_be_used_is_told(tmp_path, content, given, why):
    if content is not None:
        secret_file(tmp_path, content)

    _, problems = structured(tree_of(given, directory=tmp_path))

    assert (len(problems), why in problems[0]) == (1, True), problems


def test_what_is_wrong_with_a_secret_shows_nothing_of_it(tmp_path):
    secret_file(tmp_path, "hunter2://nowhere")
    _, read = structured(tree_of({"secret_file": "secret"}, directory=tmp_path))
    hidden = Given("hunter2", Source("file", "a.yaml:3", tmp_path), shown="${FLAG}", is_text=True)
    _, replaced = structured(tree_of({"flag": hidden}))

    assert "hunter2" not in replaced[0]
    assert replaced == ["a.yaml:3: flag: expected true or false, not '${FLAG}'"]
    assert len(read) == 1


def test_values_are_told_cut_to_a_glance():
    _, problems = structured(tree_of({"flag": "x" * 500}))

    assert len(problems[0]) < 120


def test_a_hint_names_what_is_near_or_all_there_is():
    assert hint("bindd", ["bind", "cors"]) == ": is bind meant?"
    assert hint("zzz", ["bind", "cors"]) == ": there are bind, cors"
    assert hint("zzz", []) == ""
