from __future__ import annotations

import math
from pathlib import Path

import pytest
from moorage.adapters.gateways.configuration.kinds import (
    FLAG,
    MAP,
    PATH,
    PLAIN,
    PLAINS,
    STORE,
    TEXT,
    TEXT_MAP,
    TEXTS,
    Unfit,
    choice,
    number,
    seconds,
    size,
    whole,
)

HERE = Path("/etc/moorage")


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        (TEXT, "a", "a"),
        (FLAG, True, True),
        (PATH, "keys.json", HERE / "keys.json"),
        (PATH, "/srv/keys.json", Path("/srv/keys.json")),
        (PATH, "~/keys.json", Path("~/keys.json").expanduser()),
        (TEXTS, ["a", "b"], ("a", "b")),
        (TEXTS, [], ()),
        (TEXT_MAP, {"a": "1"}, {"a": "1"}),
        (MAP, {"a": 1}, {"a": 1}),
        (PLAIN, {"a": [1]}, {"a": [1]}),
        (PLAINS, [{"a": 1}], [{"a": 1}]),
        (choice("x", "y"), "y", "y"),
        (whole(1), 1, 1),
        (number(0), 2, 2.0),
        (number(0), math.inf, math.inf),
        (seconds(0), 1.5, 1.5),
        (seconds(0), "90m", 5_400.0),
        (seconds(0), "12", 12.0),
        (size(1), 4_096, 4_096),
        (size(1), "16MiB", 16 * 1024 * 1024),
        (STORE, "data", "journal:/etc/moorage/data"),
        (STORE, "sqlite:a.db?durability=buffered", "sqlite:/etc/moorage/a.db?durability=buffered"),
        (STORE, "journal:/srv/data", "journal:/srv/data"),
        (STORE, "postgres:dbname=x", "postgres:dbname=x"),
    ],
)
def test_a_value_of_its_type_is_taken(kind, value, taken):
    assert taken == kind.take(value, False, HERE)


@pytest.mark.parametrize(
    ("kind", "text", "taken"),
    [
        (FLAG, "true", True),
        (FLAG, "0", False),
        (TEXTS, "a, b", ("a", "b")),
        (TEXTS, " ", ()),
        (whole(1), "12", 12),
        (number(0), "inf", math.inf),
        (number(0), "1.5", 1.5),
        (seconds(0), "infinity", math.inf),
        (seconds(0), "5m", 300.0),
        (size(1), "4kB", 4_000),
        (PLAIN, "12", 12),
        (PLAIN, "word", "word"),
        (PLAIN, '{"a": 1}', {"a": 1}),
        (PLAINS, '[{"a": 1}]', [{"a": 1}]),
        (TEXT, "12", "12"),
    ],
)
def test_a_text_that_stands_for_a_value_is_read(kind, text, taken):
    assert taken == kind.take(text, True, HERE)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (TEXT, 12),
        (TEXT, " "),
        (TEXT, "a\0"),
        (FLAG, "true"),
        (FLAG, 1),
        (FLAG, "no"),
        (PATH, 7),
        (TEXTS, "a"),
        (TEXTS, [1]),
        (TEXT_MAP, {"a": 1}),
        (TEXT_MAP, "a"),
        (MAP, []),
        (PLAINS, "a"),
        (choice("x"), "z"),
        (choice("x"), ["x"]),
        (whole(1), 0),
        (whole(1), True),
        (whole(1), 1.0),
        (whole(1), "1"),
        (whole(1), 2**63),
        (number(1), 0.5),
        (number(0), math.nan),
        (number(0), "1"),
        (seconds(0), -1),
        (seconds(0), True),
        (seconds(0), "5 parsecs"),
        (size(1), 1.5),
        (size(1), "16 mebi"),
        (size(100), 5),
    ],
)
def test_anything_else_is_unfit(kind, value):
    with pytest.raises(Unfit):
        kind.take(value, False, HERE)


def test_text_that_stands_for_nothing_is_unfit():
    for kind, text in ((FLAG, "yes"), (whole(1), "many"), (number(0), "x"), (PLAIN, "[1")):
        with pytest.raises(Unfit):
            kind.take(text, True, HERE)


def test_a_wrong_store_says_why_without_its_password():
    with pytest.raises(Unfit) as wrong:
        STORE.take("nosuch:x", False, HERE)
    with pytest.raises(Unfit) as secret:
        STORE.take("mysql://me:hunter2@host/db", False, HERE)

    assert "'nosuch' is no kind of store" in wrong.value.why
    assert "hunter2" not in secret.value.why


def test_the_home_of_nobody_is_no_path():
    for kind in (PATH, STORE):
        with pytest.raises(Unfit) as caught:
            kind.take("~nobody-of-that-name/x", False, HERE)

        assert "a user that there is not" in caught.value.why


def test_every_kind_says_what_it_expects_and_describes_it():
    for kind in (TEXT, FLAG, PATH, TEXTS, TEXT_MAP, MAP, STORE, whole(2), size(3), seconds(0)):
        assert kind.expected
        assert kind.schema
    assert "at least 2" in whole(2).expected
