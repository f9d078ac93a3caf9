from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

import attrs
import pytest
from moorage.adapters.agents.recording import RecordingContext
from moorage.adapters.agents.tools.definition import (
    Tool,
    ToolContext,
    parse_input,
    tool,
    tools_by_name,
)
from moorage.adapters.agents.tools.schema import ArgumentsInvalid
from moorage.runtime.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.define
class Place:
    city: str
    country: str = "Iceland"


@tool
async def weather(place: Place, days: Annotated[int, "how many"] = 1) -> str:
    """The weather of the next days.

    Not further than a week.
    """
    return f"{place.city}: rain for {days}"


@tool(name="remove", description="Remove it.", needs_approval=True, edits=True, timeout_seconds=3)
async def delete(path: str, context: ToolContext) -> Sequence[str]:
    return [path, context.tool_call_id]


CONTEXT = ToolContext("session", "run", "call-1", RecordingContext())


async def run(one, tool_input):
    return await one.run(one.arguments(tool_input), CONTEXT)


def test_name_description_and_schema_come_from_the_function():
    assert weather.name == "weather"
    assert weather.description == "The weather of the next days.\n\nNot further than a week."
    assert weather.input_schema["required"] == ["place"]
    assert weather.input_schema["properties"]["days"] == {
        "type": "integer",
        "description": "how many",
        "default": 1,
    }


def test_options_beat_what_the_function_says():
    assert (delete.name, delete.description, delete.timeout_seconds) == ("remove", "Remove it.", 3)
    assert (delete.edits, delete.reads_only) == (True, False)


async def test_arguments_become_values_of_the_annotated_types():
    assert await run(weather, {"place": {"city": "Oslo"}, "days": 2}) == "Oslo: rain for 2"
    assert await run(weather, '{"place": {"city": "Oslo"}}') == "Oslo: rain for 1"


async def test_the_context_is_passed_and_is_no_part_of_the_schema():
    assert await run(delete, {"path": "a"}) == ["a", "call-1"]
    assert list(delete.input_schema["properties"]) == ["path"]


async def test_a_tool_can_still_be_called_as_the_function_it_was():
    assert await weather(Place("Oslo"), days=3) == "Oslo: rain for 3"


async def test_a_tool_without_parameters_needs_no_input():
    @tool
    async def now() -> str:
        return "noon"

    assert now.input_schema["properties"] == {}
    assert await run(now, None) == await run(now, "") == await run(now, {}) == "noon"


@pytest.mark.parametrize(
    ("tool_input", "message"),
    [
        ({}, "arguments lacks 'place'"),
        ({"place": {"city": 1}}, "arguments.place.city must be of type string, not 1"),
        ('{"place": ', "arguments are no JSON object: '{\"place\": '"),
        ("[1]", "arguments are no JSON object: '[1]'"),
        ([1], "arguments must be an object, not [1]"),
    ],
)
def test_arguments_that_do_not_fit_are_told_to_the_model(tool_input, message):
    with pytest.raises(ArgumentsInvalid) as caught:
        weather.arguments(tool_input)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"a": 1}', {"a": 1}), ("", {}), (" ", {}), ("{", "{"), ("3", "3"), ("[" * 9999,) * 2],
)
def test_argument_text_is_read_if_it_is_a_map(text, expected):
    assert parse_input(text) == expected


def test_the_need_for_approval_may_depend_on_the_input():
    @tool(needs_approval=lambda tool_input: tool_input["path"].startswith("/"))
    async def read(path: str) -> str:
        return path

    assert not read.asks({"path": "a"})
    assert read.asks({"path": "/a"})
    assert read.asks({"no": "path"})  # it raises: to be safe
    assert delete.asks({})
    assert not weather.asks({})


async def test_methods_and_objects_can_be_tools():
    class Shop:
        async def price(self, item: str) -> int:
            return len(item)

        async def __call__(self, item: str) -> str:
            return item

    shop = Shop()

    assert await run(tool(shop.price), {"item": "pear"}) == 4
    assert await run(tool(name="shop")(shop), {"item": "pear"}) == "pear"
    assert tool(shop).name == "Shop"


async def test_a_wrapped_function_keeps_its_parameters():
    def twice(function):
        @functools.wraps(function)
        async def wrapper(*arguments, **named):
            return [await function(*arguments, **named) for _ in range(2)]

        return wrapper

    async def echo(text: str) -> str:
        return text

    assert await run(tool(twice(echo)), {"text": "a"}) == ["a", "a"]


async def plain_parameters(a: int, *rest: int) -> int:
    return a


async def positional(a: int, /) -> int:
    return a


async def unannotated(a) -> int:
    return a


async def no_schema(a: set[int]) -> int:
    return len(a)


async def unresolved(a: Nowhere) -> int:  # noqa: F821
    return a


def not_async(a: int) -> int:
    return a


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (plain_parameters, "parameter 'rest' of tool 'plain_parameters' cannot be passed by name"),
        (positional, "cannot be passed by name"),
        (unannotated, "parameter 'a' of tool 'unannotated' has no annotation"),
        (no_schema, "parameter 'a' of tool 'no_schema' has the type set[int]"),
        (unresolved, "tool 'unresolved' has an annotation that cannot be resolved"),
        (not_async, "a tool must be an async function"),
        (3, "a tool must be an async function, not 3"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_when_it_is_defined(function, message):
    with pytest.raises(InvalidArgument) as caught:
        tool(function)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "no spaces"}, "a tool cannot be called 'no spaces'"),
        ({"name": "x" * 65}, "a tool cannot be called"),
        ({"needs_aproval": True}, "no option 'needs_aproval': known are name, description, needs"),
        ({"shape": None}, "no option 'shape'"),
        ({"edits": True, "reads_only": True}, "cannot have both edits and reads_only"),
        ({"needs_approval": "yes"}, "needs_approval of tool 'weather' must be a bool"),
        ({"timeout_seconds": 0}, "timeout_seconds of tool 'weather' must be None or a number"),
        ({"timeout_seconds": True}, "timeout_seconds of tool 'weather' must be None or a number"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InvalidArgument) as caught:
        tool(**options)(weather.function)

    assert message in str(caught.value)


def test_tools_are_found_by_name_and_functions_become_tools():
    async def echo(text: str) -> str:
        return text

    found = tools_by_name([weather, echo])

    assert list(found) == ["weather", "echo"]
    assert found["weather"] is weather
    assert isinstance(found["echo"], Tool)


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(InvalidArgument) as caught:
        tools_by_name([weather, weather])

    assert "two tools of the name 'weather'" in str(caught.value)
