from __future__ import annotations

import json

import jsonschema
import pytest

pytest.importorskip("starlette")
pytest.importorskip("yaml")

RIGHT = "agents: echo\ngateway: {bind: '127.0.0.1:0'}\n"
WRONG = "agents: echo\ngateway:\n  bindd: x\nlimits: {idle_seconds: soon}\n"


@pytest.fixture
def settings(tmp_path, moorage):
    """Writes a file of settings, and lets the environment say nothing."""
    moorage.environment = {"COLUMNS": "200", "XDG_DATA_HOME": "/srv/share"}

    def write(text, name="moorage.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_file_that_is_right_is_told_so(moorage, settings):
    path = settings(RIGHT)

    result = moorage("config", "check", str(path))

    assert (result.stdout, result.stderr) == ("", f"moorage: {path}: nothing is wrong\n")


def test_all_that_is_wrong_is_told_with_exit_code_1(moorage, settings):
    path = settings(WRONG)
    told = moorage("config", "check", str(path), code=1).stderr.splitlines()
    listed = moorage.json("config", "check", str(path), code=1)

    assert sorted(told) == [
        f"moorage: {path}:3: gateway.bindd: there is no such setting: is bind meant?",
        f"moorage: {path}:4: limits.idle_seconds: expected seconds, at least 0, or a text such as "
        "90s, 5m, 12h, not 'soon'",
    ]
    assert {problem["path"] for problem in listed} == {"gateway.bindd", "limits.idle_seconds"}
    assert listed[0].keys() == {"place", "path", "problem"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("agents: nobody\n", "names no agent"),
        ("agents: echo\ngateway: {bind: '0.0.0.0:1'}\n", "anybody who reaches it"),
        ("agents: echo\ngateway: {tokens: missing.json}\n", "gateway.tokens"),
        ("agents: echo\nstore: {keys: missing}\n", "store.keys"),
        ("agents: echo\nretention: {rules: [{closed_fro: 1d}]}\n", "retention.rules[0]"),
        ("", "an agent is needed"),
        ("agents: !!python/name:os.system\n", "the tag"),
    ],
)
def test_it_goes_as_far_as_a_server_would_before_it_opens_its_store(moorage, settings, text, why):
    assert why in moorage("config", "check", str(settings(text)), code=1).stderr


def test_a_file_that_is_not_there_is_wrong(moorage, settings, tmp_path):
    result = moorage("config", "check", str(tmp_path / "missing.toml"), code=1)

    assert "missing.toml: it cannot be read: No such file or directory" in result.stderr


def test_the_environment_is_checked_with_it_and_without(moorage, settings):
    path = settings(RIGHT)
    moorage.environment["MOORAGE_GATEWAY__BINDD"] = "x"
    with_file = moorage("config", "check", str(path), code=1)
    without = moorage("config", "check", code=1)
    moorage.environment = {"MOORAGE_AGENT": "echo"}
    right = moorage("config", "check")

    assert "MOORAGE_GATEWAY__BINDD: gateway.bindd" in with_file.stderr
    assert "MOORAGE_GATEWAY__BINDD" in without.stderr
    assert right.stderr == "moorage: the environment: nothing is wrong\n"


def test_the_file_may_be_named_in_three_ways(moorage, settings):
    path = str(settings(RIGHT))
    behind = moorage("config", "show", path)
    before = moorage("--config", path, "config", "show")
    moorage.environment["MOORAGE_CONFIG"] = path
    variable = moorage("config", "show")

    assert behind.stdout == before.stdout == variable.stdout


def test_what_counts_is_shown_with_its_source(moorage, settings):
    path = settings(RIGHT)
    moorage.environment["MOORAGE_LIMITS__IDLE_SECONDS"] = "5m"
    shown = {one["path"]: one for one in moorage.json("config", "show", str(path))}
    given = moorage("config", "show", str(path), "--given").stdout.splitlines()

    assert shown["gateway.bind"] == {
        "path": "gateway.bind",
        "value": "127.0.0.1:0",
        "source": f"{path}:2",
    }
    assert shown["limits.idle_seconds"]["source"] == "MOORAGE_LIMITS__IDLE_SECONDS"
    assert shown["store.spec"]["value"] == "journal:/srv/share/moorage"
    assert shown["gateway.limits.streams_max"] == {
        "path": "gateway.limits.streams_max",
        "value": 10_000,
        "source": "default",
    }
    assert [line.split()[0] for line in given[1:]] == [
        "agents.default.agent",
        "limits.idle_seconds",
        "gateway.bind",
    ]


def test_what_can_be_shown_is_shown_beside_what_is_wrong(moorage, settings):
    result = moorage("config", "show", str(settings(WRONG)), code=1)

    assert "agents.default.agent" in result.stdout
    assert "is bind meant?" in result.stderr


def test_no_secret_is_ever_shown(moorage, settings, tmp_path):
    (tmp_path / "key").write_text("hunter2")
    path = settings(
        "store: {spec: 'postgres://me:${PASSWORD}@db/x'}\n"
        "agents:\n"
        "  a: {agent: anthropic, options: {model: m, api_key_file: key}}\n"
        "  b: {agent: openai, options: {model: m, api_key: hunter2, nonsense: '${PASSWORD}'}}\n"
    )
    moorage.environment["PASSWORD"] = "hunter2"

    outputs = [
        moorage("config", "show", str(path)),
        moorage("config", "show", str(path), "--json"),
        moorage("config", "check", str(path), code=1),
        moorage("serve", "--config", str(path), code=2),
    ]

    assert not any("hunter2" in output.output for output in outputs)


def test_the_schema_is_what_editors_take(moorage, settings):
    schema = json.loads(moorage("config", "schema").stdout)

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate({"agents": "echo"})
