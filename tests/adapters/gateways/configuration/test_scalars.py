from __future__ import annotations

import math

import pytest
from moorage.adapters.gateways.configuration.scalars import core_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-7", -7),
        ("0x1f", 31),
        ("0o17", 15),
        ("017", 17),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
    ],
)
def test_words_of_the_core_schema_stand_for_values(text, value):
    found = core_value(text)

    assert (value, type(value)) == (found, type(found))


@pytest.mark.parametrize(
    "text", ["no", "on", "yes", "off", "12:30", "2026-01-31", "1_000", "0xg", "1.2.3", "inf", "="]
)
def test_what_older_yaml_takes_for_something_else_is_text(text):
    assert text == core_value(text)


def test_not_a_number_is_one():
    assert math.isnan(core_value(".nan"))
