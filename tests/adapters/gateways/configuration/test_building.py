from __future__ import annotations

import pytest
from moorage.adapters.gateways.configuration import Building, ConfigurationInvalid
from moorage.adapters.gateways.configuration.loading import load_configuration
from moorage.adapters.gateways.http import TokenFile
from moorage.stores import JournalStore, SqliteStore

pytest.importorskip("yaml")


def building(tmp_path, text, **environ):
    path = tmp_path / "moorage.yaml"
    path.write_text(text)
    return Building(load_configuration(path, environ={"HOME": str(tmp_path), **environ}))


def problems(made, method):
    getattr(made, method)()
    with pytest.raises(ConfigurationInvalid) as caught:
        made.checked()
    return [str(problem) for problem in caught.value.problems]


def test_a_store_is_made_with_its_options_and_nothing_is_opened(tmp_path):
    journal = building(tmp_path, "").store()
    sqlite = building(
        tmp_path, "store: {spec: 'sqlite:a.db', options: {busy_seconds: 2, durability: buffered}}"
    ).store()

    assert isinstance(journal, JournalStore)
    assert isinstance(sqlite, SqliteStore)
    assert [path.name for path in tmp_path.iterdir()] == ["moorage.yaml"]


@pytest.mark.parametrize(
    ("text", "path", "why"),
    [
        ("store: {options: {durabilty: x}}", "store.options.durabilty", "is no option of journal"),
        ("store: {options: {lease_seconds: 1}}", "store.options.lease_seconds", "no option"),
        (
            "store: {spec: 'sqlite:a', options: {busy_seconds: soon}}",
            "store.options.busy_seconds",
            "could not convert",
        ),
        ("store: {options: {durability: never}}", "store.options", "durability"),
        ("store: {keys: missing.json}", "store.keys", "cannot be read"),
    ],
)
def test_a_store_that_cannot_be_made_is_told(tmp_path, text, path, why):
    (told,) = problems(building(tmp_path, text), "store")

    assert told.startswith(f"{tmp_path / 'moorage.yaml'}:1: {path}: ")
    assert why in told


def test_agents_have_their_names_and_one_may_be_a_map_of_them(tmp_path, monkeypatch):
    (tmp_path / "of_building.py").write_text(
        "async def one(request, context): pass\nALL = {'x': one, 'y': one}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    named = building(tmp_path, "agents: {default: echo, other: 'of_building:one'}").agents()
    every = building(tmp_path, "agents: of_building:ALL").agents()
    mixed = building(tmp_path, "agents: {a: 'of_building:ALL', b: echo}")

    assert (sorted(named), sorted(every)) == (["default", "other"], ["x", "y"])
    assert "it can only stand alone" in problems(mixed, "agents")[0]


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("", "agents", "an agent is needed: --agent SPEC"),
        ("agents: {a: nobody}", "moorage.yaml:1: agents.a", "names no agent"),
        ("agents: {a: {options: {b: 1}}}", "moorage.yaml:1: agents.a", "it says no agent"),
        ("agents: {a: }", "agents.a", "it says no agent"),
        ("agents: {a: 'no_such_module:x'}", "moorage.yaml:1: agents.a", "there is no module"),
        ("agents: {a: {agent: echo, options: {b: 1}}}", "agents.a", "options are for agents of"),
        (
            "agents: {a: {agent: 'process:cat', options: {line_bytes_max: 0}}}",
            "moorage.yaml:1: agents.a",
            "line_bytes_max must be a whole number",
        ),
    ],
)
def test_an_agent_that_cannot_be_had_is_told(tmp_path, text, place, why):
    (told,) = problems(building(tmp_path, text), "agents")

    assert place in told
    assert why in told


def test_a_module_that_fails_is_told_and_no_usage(tmp_path, monkeypatch):
    (tmp_path / "of_building_fails.py").write_text("raise RuntimeError('no database')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = building(tmp_path, "agents: of_building_fails:x")
    (told,) = problems(made, "agents")

    assert "cannot be imported: RuntimeError: no database" in told
    with pytest.raises(ConfigurationInvalid) as caught:
        made.checked()
    assert not caught.value.problems[0].is_usage


def test_what_an_agent_says_of_its_arguments_shows_no_secret(tmp_path):
    made = building(
        tmp_path,
        "agents: {a: {agent: 'process:cat', options: {line_bytes_max: '${N}'}}}",
        N="-4711",
    )
    (told,) = problems(made, "agents")

    assert "4711" not in told
    assert "***" in told


def test_retention_is_what_is_said_of_it_or_nothing(tmp_path):
    said = building(
        tmp_path,
        "retention: {purge_after: 7d, exempt_tags: [hold], rules: [{closed_for: 30d}]}",
    ).retention()

    assert said.purge_after_seconds == 7 * 86_400
    assert said.rules[0].closed_for_seconds == 30 * 86_400
    assert building(tmp_path, "agents: echo").retention() is None


def test_a_rule_that_makes_no_sense_is_told_by_its_number(tmp_path):
    made = building(
        tmp_path, "retention:\n  rules:\n    - {closed_for: 1d}\n    - {closed_fro: 1d}\n"
    )
    (told,) = problems(made, "retention")

    assert told.startswith(f"{tmp_path / 'moorage.yaml'}:4: retention.rules[1]: ")
    assert "has no 'closed_fro'" in told


def test_tokens_are_read_and_what_is_wrong_with_them_told(tmp_path):
    TokenFile(tmp_path / "tokens.json").issue("me")
    (tmp_path / "open.json").write_text("{}")
    (tmp_path / "open.json").chmod(0o644)

    assert building(tmp_path, "gateway: {tokens: tokens.json}").tokens() is not None
    assert building(tmp_path, "").tokens() is None
    missing = problems(building(tmp_path, "gateway: {tokens: missing.json}"), "tokens")
    others = problems(building(tmp_path, "gateway: {tokens: open.json}"), "tokens")
    assert "gateway.tokens" in missing[0]
    assert missing[0].endswith(
        f"No such file or directory: moorage tokens new NAME --tokens {tmp_path / 'missing.json'} "
        "makes it, with a first token"
    )
    assert "chmod 600" in others[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gateway: {bind: nonsense}", "bind must be HOST:PORT"),
        ("gateway: {bind: '0.0.0.0:80'}", "anybody who reaches it could do anything"),
    ],
)
def test_an_address_that_cannot_be_is_told(tmp_path, text, why):
    (told,) = problems(building(tmp_path, text), "bind")

    assert why in told
    assert building(tmp_path, "gateway: {bind: '[::1]:0'}").bind() == "[::1]:0"


def test_telemetry_is_what_the_options_are(tmp_path):
    text = "telemetry: {metrics: true, otel_content: true, audit: who.jsonl}"
    told = building(tmp_path, text).telemetry()

    assert (told.metrics, told.otel, told.otel_content) == (True, False, True)
    assert told.audit == tmp_path / "who.jsonl"


def test_what_a_module_says_while_it_fails_shows_no_secret(tmp_path, monkeypatch):
    (tmp_path / "of_building_tells.py").write_text(
        "raise RuntimeError('no hunter2, no hunter23')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    made = building(
        tmp_path,
        "agents: {a: {agent: '${MODULE}', options: {provider_options: {x: [hunter2, hunter23]}}}}",
        MODULE="of_building_tells:x",
    )
    monkeypatch.setattr(
        "moorage.adapters.gateways.configuration.building.agent_with",
        lambda *_: __import__("of_building_tells"),
    )
    (told,) = problems(made, "agents")

    assert "hunter2" not in told
    assert "RuntimeError: no ***, no ***" in told


@pytest.mark.parametrize(
    ("text", "method", "path"),
    [
        ("a: [", "agents", ""),
        ("store: {spec: 'journal:${NO}'}", "store", "store.spec"),
        ("agents: '${NO}'", "agents", "agents"),
        ("agents: {a: {agent: '${NO}'}}", "agents", "agents.a.agent"),
        ("gateway: {bind: '0.0.0.0:1', tokens: '${NO}'}", "bind", "gateway.tokens"),
        ("gateway: {tokens: '${NO}/t.json'}", "tokens", "gateway.tokens"),
        ("telemetry: {audit: '${NO}/no/t.json'}", "telemetry", "telemetry.audit"),
    ],
)
def test_what_has_no_value_yet_is_told_once(tmp_path, text, method, path):
    made = building(tmp_path, text)
    getattr(made, method)()
    with pytest.raises(ConfigurationInvalid) as caught:
        made.checked()

    assert [problem.path for problem in caught.value.problems] == [path]


def test_a_folder_for_the_audit_log_is_needed(tmp_path):
    (told,) = problems(building(tmp_path, "telemetry: {audit: none/a.jsonl}"), "telemetry")

    assert told.endswith(f"telemetry.audit: there is no folder '{tmp_path}/none': make it")


def test_both_mistakes_of_a_rule_are_told(tmp_path):
    rule = "{states: [clsed], closed_for: 30 days}"
    told = problems(building(tmp_path, f"retention: {{rules: [{rule}]}}"), "retention")

    assert ["30 days" in one for one in told] == [True, False]
    assert ["clsed" in one for one in told] == [False, True]


def test_what_is_wrong_is_told_in_the_order_of_the_file(tmp_path):
    made = building(
        tmp_path, "gateway: {bind: nonsense}\nagents: {a: nobody}\nstore: {keys: missing.json}\n"
    )
    made.store()
    made.agents()
    told = problems(made, "bind")

    assert [one.split(": ")[1] for one in told] == ["gateway.bind", "agents.a", "store.keys"]
