from __future__ import annotations

import textwrap

import pytest

pytest.importorskip("yaml")

from moorage.adapters.gateways.configuration.yaml_file import DEPTH_MAX, YamlRefused, read_yaml


def refused(text):
    with pytest.raises(YamlRefused) as caught:
        read_yaml(textwrap.dedent(text))
    return caught.value.line, caught.value.why


def test_values_come_with_their_lines():
    value, lines = read_yaml(
        textwrap.dedent(
            """\
            # a comment
            store:
              spec: "journal:data"
            tags: {zone: no, port: 80}
            list:
              - a
              - {b: 1.5}
            empty:
            """
        )
    )

    assert value == {
        "store": {"spec": "journal:data"},
        "tags": {"zone": "no", "port": 80},
        "list": ["a", {"b": 1.5}],
        "empty": None,
    }
    assert tuple(
        lines[path] for path in (("store",), ("store", "spec"), ("tags", "port"), ("list", 1, "b"))
    ) == (2, 3, 4, 7)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null"])
def test_an_empty_document_is_nothing(text):
    assert read_yaml(text)[0] is None


def test_what_is_quoted_is_text():
    assert read_yaml("a: '12'\nb: \"true\"\nc: |\n  12\n")[0] == {
        "a": "12",
        "b": "true",
        "c": "12\n",
    }


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is here twice, first in line 1"),
        ("a: &x 1\nb: 2\n", 1, "anchor &x"),
        ("a: 1\nb: *x\n", 2, "alias"),
        ("a: !!python/object/apply:os.system ['id']\n", 1, "tag tag:yaml.org,2002:python"),
        ("a: !!python/name:os.system\n", 1, "tag"),
        ("\na: !secret x\n", 2, "the tag !secret is refused"),
        ("a: !!int '3'\n", 1, "tag"),
        ("!!set {a, b}\n", 1, "tag"),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("? [a, b]\n: 1\n", 1, "a name must be a text"),
        ("a: [1, 2\n", 2, "while parsing a flow sequence"),
        ("a:\n\t- b\n", 2, "found character '\\t'"),
        ("a: b: c\n", 1, "mapping values are not allowed here"),
    ],
)
def test_what_is_no_page_of_settings_is_refused_with_its_line(text, line, why):
    found_line, found = refused(text)

    assert (line, True) == (found_line, why in found), found


def test_a_billion_laughs_do_not_come_to_their_first_alias():
    line, why = refused("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n")

    assert (line, why) == (1, "the anchor &a is refused: write it out")


def test_depth_is_bounded():
    deep = "[" * (DEPTH_MAX + 2) + "]" * (DEPTH_MAX + 2)

    assert "nested more than" in refused(deep)[1]


def test_characters_that_yaml_has_not_are_refused():
    assert "special characters are not allowed" in refused("a: \x01\n")[1]
