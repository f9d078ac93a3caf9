from __future__ import annotations

import random

import pytest
from moorage.adapters.gateways.configuration.loading import (
    MASK,
    ConfigurationInvalid,
    load_configuration,
)
from moorage.runtime import InvalidArgument

pytest.importorskip("yaml")


def loaded(tmp_path, text="", *, environ=None, options=None, name="moorage.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return load_configuration(path, environ=environ or {}, options=options or {})


def source_of(result, path):
    return next(one.source.name for one in result.effective() if one.path == path)


def shown(result):
    return {one.path: one.shown for one in result.effective()}


FILE = "gateway: {bind: '127.0.0.1:1'}\n"
ENVIRON = {"MOORAGE_GATEWAY__BIND": "127.0.0.1:2"}
OPTIONS = {"gateway.bind": ("--bind", "127.0.0.1:3")}


@pytest.mark.parametrize(
    ("file", "environ", "options", "bind", "source"),
    [
        ("", {}, {}, "127.0.0.1:8040", "default"),
        (FILE, {}, {}, "127.0.0.1:1", "FILE:1"),
        ("", ENVIRON, {}, "127.0.0.1:2", "MOORAGE_GATEWAY__BIND"),
        ("", {}, OPTIONS, "127.0.0.1:3", "--bind"),
        (FILE, ENVIRON, {}, "127.0.0.1:2", "MOORAGE_GATEWAY__BIND"),
        (FILE, {}, OPTIONS, "127.0.0.1:3", "--bind"),
        ("", ENVIRON, OPTIONS, "127.0.0.1:3", "--bind"),
        (FILE, ENVIRON, OPTIONS, "127.0.0.1:3", "--bind"),
    ],
)
def test_options_beat_the_environment_which_beats_the_file(
    tmp_path, file, environ, options, bind, source
):
    result = loaded(tmp_path, file, environ=environ, options=options)

    assert result.checked().gateway.bind == bind
    assert source_of(result, "gateway.bind") == source.replace(
        "FILE", str(tmp_path / "moorage.yaml")
    )


def test_sources_are_merged_setting_by_setting(tmp_path):
    result = loaded(
        tmp_path,
        "node_tags: {a: file, b: file}\nlimits: {idle_seconds: 5m, drain_seconds: 1}\n",
        environ={"MOORAGE_NODE_TAGS__B": "environment", "MOORAGE_LIMITS__RUNS_QUEUED_MAX": "7"},
        options={"limits.drain_seconds": ("--drain-seconds", 2.0)},
    )
    configuration = result.checked()

    assert configuration.node_tags == {"a": "file", "b": "environment"}
    limits = configuration.limits
    assert (limits.idle_seconds, limits.drain_seconds, limits.runs_queued_max) == (300, 2, 7)


def test_a_map_that_an_option_gives_is_all_of_it(tmp_path):
    result = loaded(
        tmp_path, "node_tags: {a: file}\n", options={"node_tags": ("--node-tag", {"b": "option"})}
    )

    assert result.checked().node_tags == {"b": "option"}


def test_the_platforms_directory_is_the_default_of_a_file_alone(tmp_path):
    environ = {"XDG_DATA_HOME": "/srv/share"}

    with_file = loaded(tmp_path, environ=environ).checked()
    without = load_configuration(environ=environ).checked()

    assert with_file.store.spec == "journal:/srv/share/moorage"
    assert without.store.spec == "journal:moorage-data"


def test_relative_paths_count_from_the_file_and_those_of_others_from_here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    file = loaded(tmp_path, "store: {spec: data, keys: k.json}\n").checked()
    environment = loaded(tmp_path, environ={"MOORAGE_STORE__KEYS": "k.json"}).checked()

    assert file.store.spec == f"journal:{tmp_path}/data"
    assert file.store.keys == tmp_path / "k.json"
    assert environment.store.keys == tmp_path / "here" / "k.json"


def test_all_that_is_wrong_anywhere_is_told_at_once(tmp_path):
    result = loaded(
        tmp_path,
        "gateway:\n  bindd: x\n  cors: ${NOT_SET}\n",
        environ={"MOORAGE_LIMITS__IDLE_SECONDS": "soon", "MOORAGE_NONSENSE__A": "1"},
        options={"limits.drain_seconds": ("--drain-seconds", -1)},
    )
    with pytest.raises(ConfigurationInvalid) as caught:
        result.checked()

    file = tmp_path / "moorage.yaml"
    assert sorted(str(caught.value).splitlines()) == sorted(
        [
            f"{file}:2: gateway.bindd: there is no such setting: is bind meant?",
            f"{file}:3: gateway.cors: the variable NOT_SET is not set",
            "MOORAGE_LIMITS__IDLE_SECONDS: limits.idle_seconds: expected seconds, at least 0, or "
            "a text such as 90s, 5m, 12h, not 'soon'",
            "MOORAGE_NONSENSE__A: nonsense: there is no such setting: there are store, agents, "
            "limits, retention, gateway, node_tags, telemetry, logging",
            "--drain-seconds: limits.drain_seconds: expected seconds, at least 0, or a text such "
            "as 90s, 5m, 12h, not -1",
        ]
    )
    assert isinstance(caught.value, InvalidArgument)


def test_a_file_that_cannot_be_used_leaves_what_others_say(tmp_path):
    result = load_configuration(tmp_path / "missing.yaml", environ=ENVIRON)

    assert result.configuration.gateway.bind == "127.0.0.1:2"
    assert "No such file" in str(result.problems[0])


def test_one_section_may_be_right_while_others_are_not(tmp_path):
    result = loaded(tmp_path, "store: {spec: 'sqlite:a.db'}\ngateway: {bindd: x}\n")

    assert result.checked_for("store").store.spec == f"sqlite:{tmp_path}/a.db"
    with pytest.raises(ConfigurationInvalid):
        result.checked_for("gateway")
    with pytest.raises(ConfigurationInvalid):
        load_configuration(tmp_path / "missing.yaml", environ={}).checked_for("store")


def test_two_variables_for_what_an_option_says_do_not_matter(tmp_path):
    environ = {"MOORAGE_DATA": "a", "MOORAGE_STORE": "sqlite:b"}
    option = {"store.spec": ("--data", "journal:/c")}

    assert load_configuration(environ=environ).problems
    assert not load_configuration(environ=environ, options=option).problems


def test_secrets_are_not_shown(tmp_path):
    secret = tmp_path / "spec"
    secret.write_text("postgres:password=hunter2\n")
    literal = loaded(
        tmp_path,
        "store: {spec: 'postgres://me:hunter2@db/x'}\n"
        "agents:\n"
        "  a:\n"
        "    agent: openai\n"
        "    options:\n"
        "      api_key: hunter2\n"
        "      model: m\n"
        "      environment: {ANY: hunter2}\n"
        "      provider_options: {auth: {access_token: hunter2, n: [1]}}\n"
        "node_tags: {x: '${X}'}\n",
        environ={"X": "hunter2", "MOORAGE_AGENTS__A__OPTIONS__BASE_URL": "http://u:hunter2@h"},
    )
    from_file = loaded(tmp_path, f"store: {{spec_file: {secret}}}\n")

    assert "hunter2" not in str(shown(literal))
    assert shown(literal)["store.spec"] == "postgres://me:***@db/x"
    assert shown(literal)["node_tags.x"] == "${X}"
    assert shown(literal)["agents.a.options.api_key"] == MASK
    assert shown(literal)["agents.a.options.environment.ANY"] == MASK
    assert shown(literal)["agents.a.options.model"] == "m"
    assert shown(literal)["agents.a.options.provider_options.auth.access_token"] == MASK
    assert from_file.checked().store.spec == "postgres:password=hunter2"
    assert shown(from_file)["store.spec"] == f"(read from {secret})"
    assert "hunter2" not in repr(from_file.configuration)


def test_every_setting_has_a_place_and_defaults_too(tmp_path):
    result = loaded(tmp_path, "agents: {a: echo}\nstore: {options: {durability: buffered}}\n")
    paths = [one.path for one in result.effective()]

    assert len(set(paths)) == len(paths)
    assert {"agents.a.agent", "store.options.durability", "gateway.limits.streams_max"} <= {*paths}
    assert shown(result)["store.keys"] is None


PIECES = (
    *(
        "&a ",
        "*a",
        "!!x ",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "\n",
        "  ",
        "\t",
        "'",
        '"',
        "${",
        "${A}",
    ),
    *("~", "true", ".inf", "1e999", "9" * 5_000, "\0", "é", "---\n", "| ", "? ", "<<: ", "0x", "="),
    *("[[a]]", "2026-01-31", "store", "agents", "gateway", "rules", "spec", "~nobody/", "null"),
)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["moorage.yaml", "moorage.toml"])
def test_whatever_a_file_has_in_it_is_told_and_nothing_breaks(tmp_path, name, seed):
    chance = random.Random(seed)
    page = {
        "moorage.yaml": "store: {spec: data}\nagents: {a: echo}\ngateway:\n  cors: ['x']\n",
        "moorage.toml": "store.spec = 'data'\nagents.a = 'echo'\n[gateway]\ncors = ['x']\n",
    }[name]
    told = 0
    for _ in range(100):
        text = list(page)
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(text))
            text[at : at + chance.randint(0, 6)] = chance.choice(PIECES)
        result = loaded(tmp_path, "".join(text), environ={"A": "b"}, name=name)
        told += bool(result.problems)
        assert result.effective(), text

    assert told > 50


def test_a_problem_stands_where_the_setting_or_its_neighbour_does(tmp_path):
    result = loaded(tmp_path, "retention:\n  rules: []\nagents: {a: echo}\n")
    file = tmp_path / "moorage.yaml"

    assert result.place_of("agents", "a") == f"{file}:3"
    assert result.place_of("retention", "rules[1]") == f"{file}:2"
    assert result.place_of("logging", "level") == ""
    several = loaded(tmp_path, "retention:\n  rules:\n    - {}\n    - {}\n")
    assert several.place_of("retention", "rules[1]") == f"{file}:4"
    assert str(result.problem(("agents", "a"), "no")) == f"{file}:3: agents.a: no"


def test_yaml_and_toml_make_the_same_configuration(tmp_path):
    yaml = loaded(
        tmp_path,
        "agents: {a: echo, b: {agent: claude, options: {model: m}}}\n"
        "limits: {record_bytes_max: 1MiB, loop_blocked_seconds: .inf}\n"
        "retention: {interval: 1h, rules: [{closed_for: 1d}]}\n",
    )
    toml = loaded(
        tmp_path,
        'agents.a = "echo"\n'
        'agents.b = {agent = "claude", options = {model = "m"}}\n'
        'limits = {record_bytes_max = "1MiB", loop_blocked_seconds = inf}\n'
        'retention = {interval = "1h", rules = [{closed_for = "1d"}]}\n',
        name="moorage.toml",
    )

    assert yaml.checked() == toml.checked()
    assert yaml.checked().retention.interval == 3_600


@pytest.mark.parametrize(
    "options",
    [
        "{apiKey: hunter2}",
        "{x-api-key: hunter2}",
        "{APIKey: hunter2}",
        "{apikey: hunter2, bearer: hunter2, authorization: Bearer hunter2, sessionCookie: hunter2}",
        "{credential: hunter2, db.passwd: hunter2, authToken: hunter2}",
        "{provider_options: {extra: hunter2, deep: {deeper: [{x: hunter2}]}, list: [hunter2]}}",
        "{headers: {x-whatever: hunter2}}",
        "{things: [{headers: {x: hunter2}}, {accessToken: hunter2}]}",
        "{api_key: 'hunter2${X}'}",
        "{api_key: '${X:-hunter2}'}",
    ],
)
def test_an_option_that_may_be_a_secret_is_not_shown_however_it_is_spelt(tmp_path, options):
    result = loaded(tmp_path, f"agents: {{a: {{agent: openai, options: {options}}}}}\n")

    assert "hunter2" not in str(shown(result))
    assert MASK in str(shown(result))


def test_what_is_no_secret_is_shown(tmp_path):
    options = "{model: m, max_tokens: 5, monkey: see, keyboard: qwerty, api_key: '${X}'}"
    result = loaded(tmp_path, f"agents: {{a: {{agent: openai, options: {options}}}}}\n")
    found = shown(result)

    assert found["agents.a.options.api_key"] == "${X}"
    assert [found[f"agents.a.options.{name}"] for name in ("model", "max_tokens", "monkey")] == [
        "m",
        5,
        "see",
    ]


def test_what_is_wrong_is_told_in_the_order_of_the_file(tmp_path):
    result = loaded(
        tmp_path,
        "logging: {level: loud}\nagents: {a: echo}\nlimits:\n  idle_seconds: ${NO}\n  what: 1\n"
        "store: {nothing: 1}\n",
        environ={"MOORAGE_GATEWAY__BINDD": "x"},
    )

    assert [problem.path for problem in result.problems] == [
        "logging.level",
        "limits.idle_seconds",
        "limits.what",
        "store.nothing",
        "gateway.bindd",
    ]
