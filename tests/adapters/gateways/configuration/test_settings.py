from __future__ import annotations

import attrs
import pytest
from moorage.adapters.gateways.configuration.kinds import FLAG, TEXT, TEXT_MAP
from moorage.adapters.gateways.configuration.settings import (
    Named,
    Setting,
    all_settings,
    named,
    parts_of,
    section,
    setting,
)
from moorage.adapters.gateways.http.limits import HttpLimits
from moorage.adapters.gateways.webhooks import WebhookLimits
from moorage.adapters.sinks.webhook import PostLimits
from moorage.runtime import SupervisorLimits


@attrs.frozen(kw_only=True)
class Inner:
    text: str = setting(TEXT, "a", "A text.", secret=True)


@attrs.frozen(kw_only=True)
class Outer:
    inner: Inner = section(Inner)
    several: dict[str, Inner] = named(Inner, short="text", doc="Some.")
    flag: bool = setting(FLAG, False, "A flag.", option="--flag")
    tags: dict[str, str] = setting(TEXT_MAP, {}, "Some tags.")


def test_a_field_is_all_that_a_setting_needs():
    parts = parts_of(Outer)

    assert list(parts) == ["inner", "several", "flag", "tags"]
    assert parts["inner"] is Inner
    assert isinstance(parts["several"], Named)
    assert parts["flag"] == Setting(FLAG, "A flag.", option="--flag")
    assert Outer() == Outer(inner=Inner(text="a"), several={}, flag=False, tags={})
    assert Outer().tags is not Outer().tags


def test_every_leaf_is_listed_with_its_path_and_default():
    assert [(path, default) for path, _, default in all_settings(Outer)] == [
        ("inner.text", "a"),
        ("several.NAME.text", "a"),
        ("flag", False),
        ("tags", {}),
    ]


def test_a_secret_is_not_in_the_repr():
    assert "hunter2" not in repr(Inner(text="hunter2"))


LIMITS = [SupervisorLimits, HttpLimits, WebhookLimits, PostLimits]


@pytest.mark.parametrize("limits", LIMITS)
def test_limits_are_settings_as_they_are(limits):
    for field in attrs.fields(limits):
        part = parts_of(limits)[field.name]

        assert isinstance(part, Setting)
        assert part.kind.expected.startswith(("a whole number", "a number", "seconds", "bytes"))
        assert part.doc, "what stands below the field is its description"


def test_units_in_names_say_what_a_limit_takes():
    kinds = {
        name: part.kind.expected.split(",")[0]
        for kind in LIMITS
        for name, part in parts_of(kind).items()
    }

    assert kinds["record_bytes_max"] == "bytes"
    assert kinds["idle_seconds"] == kinds["give_up_seconds"] == "seconds"
    assert kinds["batch_bytes_max"] == "bytes"
    assert kinds["webhooks_per_tenant_max"] == "a whole number of at least 1"
    assert kinds["runs_queued_max"] == "a whole number of at least 1"
    assert kinds["requests_per_second_max"].startswith("a number of at least 0.001")
    assert kinds["retry_after_seconds"] == "a whole number of at least 1"
