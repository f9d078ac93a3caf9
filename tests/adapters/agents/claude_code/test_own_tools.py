from __future__ import annotations

import trio
from moorage.adapters.agents.claude_code.own_tools import OwnTools
from moorage.adapters.agents.provider.hooks import Hooks, ReplaceResult
from moorage.adapters.agents.recording import RecordingContext
from moorage.adapters.agents.tools import ToolContext, ToolLimits, tool, tools_by_name


def heard(name, arguments, call_id, server="moorage"):
    params = {"name": name, "arguments": arguments, "_meta": {"claudecode/toolUseId": call_id}}
    message = {"method": "tools/call", "params": params}
    request = {"subtype": "mcp_message", "server_name": server, "message": message}
    return {"type": "control_request", "request_id": "1", "request": request}


@tool
async def tell(what: str, context: ToolContext) -> str:
    """Tell which call this is."""
    return f"{what} in {context.tool_call_id} of {context.run_id}"


@tool
async def fail(what: str) -> str:
    """Fail."""
    raise LookupError(f"no {what}")


@tool(timeout_seconds=1)
async def hang() -> str:
    """Hang."""
    return await trio.sleep_forever()


@tool
async def much(size: int) -> str:
    """Much."""
    return "x" * size


@tool
async def strange() -> object:
    """Something that is no data."""
    return object()


def own_tools(*functions, hooks=None, **limits):
    tools = tools_by_name(functions or (tell, fail, hang, much, strange))
    return OwnTools(tools, RecordingContext(), hooks or Hooks(), ToolLimits(**limits))


def text(result):
    (block,) = result["content"]
    return block["text"]


async def test_a_tool_knows_which_call_of_the_model_it_executes():
    tools = own_tools()
    tools.heard(heard("tell", {"what": "this"}, "t1"))
    tools.heard(heard("tell", {"what": "this"}, "t2"))
    tools.heard(heard("tell", {"what": "that"}, "t3"))
    tools.heard(heard("tell", {"what": "that"}, "t4", server="of somebody else"))

    results = [await tools.call("tell", {"what": what}) for what in ("that", "this", "this")]

    assert [text(result) for result in results] == [
        "that in t3 of run",
        "this in t1 of run",
        "this in t2 of run",
    ]
    assert not any(result["is_error"] for result in results)


async def test_a_call_that_was_not_heard_of_is_known_by_its_tool():
    assert text(await own_tools().call("tell", {"what": "this"})) == "this in tell of run"


async def test_what_goes_wrong_is_told_to_the_model(autojump_clock):
    tools = own_tools()

    failed = await tools.call("fail", {"what": "table"})
    hung = await tools.call("hang", {})
    malformed = await tools.call("fail", {"what": 7})
    unkept = await tools.call("strange", {})

    assert text(failed) == "LookupError: no table"
    assert text(hung) == "hang was stopped after 1 seconds"
    assert "what" in text(malformed)
    assert "no plain data" in text(unkept)
    assert all(result["is_error"] for result in (failed, hung, malformed, unkept))


async def test_a_large_result_is_cut_and_says_so():
    result = await own_tools(result_bytes_max=100).call("much", {"size": 10_000_000})

    assert len(text(result)) < 300
    assert "10000000 bytes" in text(result)


async def test_hooks_replace_its_result():
    async def after(call, result):
        return ReplaceResult(f"{call.tool_call_id}: {len(result.output)} hidden")

    tools = own_tools(hooks=Hooks(after_tool=[after]))
    tools.heard(heard("much", {"size": 3}, "t1"))

    assert text(await tools.call("much", {"size": 3})) == "t1: 3 hidden"


async def test_only_so_many_run_at_once(autojump_clock):
    running = []

    @tool
    async def work() -> str:
        """Work."""
        running.append(1)
        most = len(running)
        await trio.sleep(1)
        running.pop()
        return str(most)

    tools = own_tools(work, tools_parallel_max=2)
    results = []

    async def call():
        results.append(text(await tools.call("work", {})))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(call)

    assert max(results) == "2"
    assert trio.current_time() >= 3


def test_what_is_no_call_is_passed_over():
    tools = own_tools()

    for message in ({}, {"request": None}, {"request": {"server_name": "moorage"}}):
        tools.heard(message)
