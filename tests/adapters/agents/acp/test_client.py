from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.provider.hooks import Allow, Ask, Deny, Hooks
from moorage.adapters.agents.recording import Ended, RecordingContext, execute

from tests.adapters.agents.acp.fake_acp import FakeAcp, text, tool
from tests.adapters.agents.conftest import SECONDS_MAX

pytest.importorskip("acp")

from moorage.adapters.agents.acp.agent import AcpAgent
from moorage.adapters.agents.acp.client import choose_option, tool_effect

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = [
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "ever", "name": "Always", "kind": "allow_always"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


def asking(kind: str = "execute", options: Any = OPTIONS, **more: Any) -> list[Any]:
    call = {"toolCallId": "c1", "kind": kind, "title": "x", "rawInput": {"command": "ls"}, **more}
    return ["ask", "session/request_permission", {"toolCall": call, "options": options}]


async def played(
    directory: Path, step: list[Any], context: RecordingContext | None = None, **arguments: Any
) -> tuple[dict[str, Any], RecordingContext]:
    """What the agent's request in ``step`` was answered."""
    fake = FakeAcp(directory, step, text("Done"))
    context = context or RecordingContext()
    agent = AcpAgent(fake.command, working_directory=directory, **arguments)
    with trio.fail_after(SECONDS_MAX):
        ended: Ended = await execute(agent, context.request("Hello"), context)
    assert ended.error is None, ended.error
    return fake.answers()[-1], context


def told(context: RecordingContext, *types: str) -> list[Any]:
    return [event.data for event in context.events if event.type in types]


@pytest.mark.parametrize(
    ("mode", "kind", "chosen"),
    [
        ("accept_edits", "edit", "yes"),
        ("plan", "read", "yes"),
        ("plan", "execute", "no"),
        ("full_auto", "execute", "yes"),
        ("dangerously_skip_permissions", "delete", "yes"),
    ],
)
async def test_a_mode_decides_where_it_can(
    tmp_path: Path, mode: Any, kind: str, chosen: str
) -> None:
    answer, context = await played(tmp_path, asking(kind), permission_mode=mode)

    assert answer["result"] == {"outcome": {"outcome": "selected", "optionId": chosen}}
    assert told(context, "tool_approval_requested") == []


@pytest.mark.parametrize(("approved", "chosen"), [(True, "yes"), (False, "no")])
async def test_what_no_mode_decides_is_asked(tmp_path: Path, approved: bool, chosen: str) -> None:
    context = RecordingContext(answers={"approval:c1": {"approved": approved}})

    answer, _ = await played(tmp_path, asking(), context)

    assert answer["result"]["outcome"]["optionId"] == chosen
    assert told(context, "tool_approval_requested")[0]["tool_input"] == {"command": "ls"}
    assert [e.type for e in context.events].index("tool_call_started") < [
        e.type for e in context.events
    ].index("tool_approval_requested")


async def test_permission_handlers_decide_before_anybody_is_asked(tmp_path: Path) -> None:
    async def handler(call: ToolCall) -> Any:
        return {"execute": Deny("no"), "edit": Allow(), "read": Ask()}[call.tool_name]

    hooks = Hooks(permission=[handler])
    denied, _ = await played(tmp_path, asking(), hooks=hooks, permission_mode="full_auto")
    tmp = tmp_path / "2"
    tmp.mkdir()
    allowed, _ = await played(tmp, asking("edit"), hooks=hooks)

    assert denied["result"]["outcome"]["optionId"] == "no"
    assert allowed["result"]["outcome"]["optionId"] == "yes"


async def test_nobody_answering_in_time_is_the_default(tmp_path: Path) -> None:
    answer, context = await played(tmp_path, asking(), approval_timeout_seconds=0.1)

    assert answer["result"]["outcome"]["optionId"] == "no"
    assert told(context, "tool_approval_denied")[0]["by"] == "timeout"


async def test_an_approval_with_another_input_is_a_denial_since_nothing_can_carry_it(
    tmp_path: Path,
) -> None:
    changed = {"approved": True, "tool_input": {"command": "pwd"}}
    context = RecordingContext(answers={"approval:c1": changed})

    answer, _ = await played(tmp_path, asking(), context)

    assert answer["result"]["outcome"]["optionId"] == "no"
    assert told(context, "error_occurred")[0]["code"] == "tool_input_fixed"


async def test_where_no_option_fits_the_question_is_cancelled(tmp_path: Path) -> None:
    answer, _ = await played(tmp_path, asking(options=OPTIONS[:1]), permission_mode="plan")

    assert answer["result"] == {"outcome": {"outcome": "cancelled"}}


async def test_files_are_read_and_written_in_the_working_directory(tmp_path: Path) -> None:
    path = str(tmp_path / "a.txt")
    fake = FakeAcp(
        tmp_path,
        ["ask", "fs/write_text_file", {"path": path, "content": "one\ntwo\n"}],
        ["ask", "fs/read_text_file", {"path": path, "line": 2}],
        ["ask", "fs/read_text_file", {"path": "/etc/passwd"}],
    )
    context = RecordingContext()

    with trio.fail_after(SECONDS_MAX):
        agent = AcpAgent(fake.command, working_directory=tmp_path)
        await execute(agent, context.request("Hello"), context)

    written, read, outside = fake.answers()
    assert written["result"] == {}
    assert read["result"] == {"content": "two\n"}
    assert "outside of the working directory" in outside["error"]["message"]


async def test_a_command_is_run_and_its_output_read(tmp_path: Path) -> None:
    answer, _ = await played(tmp_path, ["ask", "terminal/create", {"command": "echo", "args": []}])
    unknown, _ = await played(tmp_path, ["ask", "terminal/output", {"terminalId": "x"}])

    assert answer["result"]["terminalId"].startswith("terminal-")
    assert "there is no terminal" in unknown["error"]["message"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("fs/write_text_file", {"path": "/x", "content": ""}),
        ("terminal/create", {"command": "true"}),
    ],
)
async def test_in_plan_mode_nothing_is_written_or_run(
    tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    answer, _ = await played(tmp_path, ["ask", method, params], permission_mode="plan")

    assert "in plan mode" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("invented/tomorrow", {}, -32601),
        ("fs/read_text_file", {}, -32602),
        ("fs/read_text_file", {"sessionId": "of somebody else", "path": "/x"}, -32602),
        ("session/request_permission", {"toolCall": {}, "options": []}, -32602),
    ],
)
async def test_what_has_not_the_protocols_shape_is_refused(
    tmp_path: Path, method: str, params: dict[str, Any], code: int
) -> None:
    answer, _ = await played(tmp_path, ["ask", method, params])

    assert answer["error"]["code"] == code


async def test_a_call_that_runs_when_it_is_asked_about_is_told_once(tmp_path: Path) -> None:
    fake = FakeAcp(
        tmp_path,
        tool("in_progress", first=True, kind="execute", rawInput={"command": "ls"}),
        asking(),
        tool("completed", rawOutput="x"),
    )
    context = RecordingContext()

    with trio.fail_after(SECONDS_MAX):
        agent = AcpAgent(fake.command, working_directory=tmp_path, permission_mode="full_auto")
        await execute(agent, context.request("Hello"), context)

    assert len(told(context, "tool_call_started")) == 1
    assert len(told(context, "tool_call_completed")) == 1


def test_the_option_for_once_is_taken_before_the_one_for_ever() -> None:
    options = [{"option_id": k, "kind": k} for k in ("allow_always", "allow_once", "reject_always")]

    assert choose_option(options, approved=True) == "allow_once"
    assert choose_option(options[:1], approved=True) == "allow_always"
    assert choose_option(options, approved=False) == "reject_always"


def test_kinds_of_tools_are_told_by_what_they_do() -> None:
    effects = [tool_effect(ToolCall("c", kind, {})) for kind in ("search", "move", "execute", "x")]

    assert effects == ["reads", "edits", "other", "other"]
