"""Tools: async functions with a name, a description and a schema, for a model to call.

::

    @tool
    async def weather(city: Annotated[str, "name of the city"], days: int = 1) -> Forecast:
        \"\"\"The weather of the next days.\"\"\"

    @tool(needs_approval=True, edits=True, timeout_seconds=30)
    async def write_file(path: str, content: str, context: ToolContext) -> str: ...
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, overload

import attrs
from moorage.runtime.agents import RunContext
from moorage.runtime.errors import InvalidArgument

from .schema import (
    NO_DEFAULT,
    ArgumentsInvalid,
    Property,
    Shape,
    object_shape,
    shape_of,
    type_hints,
)

ToolFunction = Callable[..., Awaitable[Any]]
NeedsApproval = bool | Callable[[dict[str, Any]], bool]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPTIONS = (
    "name", "description", "needs_approval", "edits", "reads_only", "timeout_seconds",
)  # fmt: skip


@attrs.frozen
class ToolContext:
    """A parameter of this type gets it, and is no part of the schema. ``run`` is the RunContext,
    for tools that emit events of their own."""

    session_id: str
    run_id: str
    tool_call_id: str
    run: RunContext


@attrs.frozen(eq=False)
class Tool:
    """A function that a model may call; made by ``tool``. Calling it calls the function.

    ``input_schema`` is the JSON schema of its arguments. ``needs_approval`` may be a function of
    the arguments. ``edits``: it changes files, and nothing worse. ``reads_only``: it changes
    nothing. ``timeout_seconds``: None leaves it to the agent.
    """

    name: str
    description: str
    function: ToolFunction = attrs.field(repr=False)
    input_schema: dict[str, Any] = attrs.field(repr=False)
    needs_approval: NeedsApproval = attrs.field(kw_only=True, default=False)
    edits: bool = attrs.field(kw_only=True, default=False)
    reads_only: bool = attrs.field(kw_only=True, default=False)
    timeout_seconds: float | None = attrs.field(kw_only=True, default=None)
    _shape: Shape = attrs.field(kw_only=True, repr=False)
    _context_parameter: str | None = attrs.field(kw_only=True, default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidArgument(
                f"a tool cannot be called {self.name!r}: use 1 to 64 letters, digits, _ and -"
            )
        if self.edits and self.reads_only:
            raise InvalidArgument(f"tool {self.name!r} cannot have both edits and reads_only")
        if type(self.needs_approval) is not bool and not callable(self.needs_approval):
            raise InvalidArgument(
                f"needs_approval of tool {self.name!r} must be a bool or a function of the input, "
                f"not {self.needs_approval!r}"
            )
        check_timeout(f"timeout_seconds of tool {self.name!r}", self.timeout_seconds)

    def __call__(self, *arguments: Any, **named: Any) -> Awaitable[Any]:
        return self.function(*arguments, **named)

    def arguments(self, tool_input: Any) -> dict[str, Any]:
        """The function's arguments from what a model gave: a map, or JSON text of one. Raises
        ArgumentsInvalid, with a message for the model."""
        if type(tool_input) is str:
            tool_input = parse_input(tool_input)
        if type(tool_input) is str:
            raise ArgumentsInvalid(f"arguments are no JSON object: {tool_input[:200]!r}")
        given = {} if tool_input is None else tool_input
        return self._shape.read(given, "arguments")  # type: ignore[no-any-return]

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Call the function with what ``arguments`` returned; raises what it raises."""
        if self._context_parameter is not None:
            arguments = {**arguments, self._context_parameter: context}
        return await self.function(**arguments)

    def asks(self, tool_input: Any) -> bool:
        """Whether somebody has to be asked before this call. A ``needs_approval`` that raises is a
        yes."""
        if type(self.needs_approval) is bool:
            return self.needs_approval
        try:
            return bool(self.needs_approval(tool_input))
        except Exception:  # it was to protect, so it does
            return True


@overload
def tool(function: ToolFunction, /) -> Tool:
    """As a decorator without options."""


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: NeedsApproval = False,
    edits: bool = False,
    reads_only: bool = False,
    timeout_seconds: float | None = None,
) -> Callable[[ToolFunction], Tool]:
    """As a decorator with options."""


def tool(function: ToolFunction | None = None, /, **options: Any) -> Any:
    """Make a Tool of an async function, as a decorator with or without options.

    The name is the function's, the description its docstring, the schema comes from its
    annotations. Options are ``name``, ``description``, ``needs_approval`` (True, or a function of
    the map of arguments), ``edits`` (it changes files, and nothing worse), ``reads_only`` (it
    changes nothing) and ``timeout_seconds`` of a call. A parameter annotated as ToolContext is
    passed one, and the model does not see it.

    Raises InvalidArgument for a function that is not async, a parameter that has no annotation or
    one without a JSON schema, and for options that do not fit.
    """
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        known = ", ".join(_OPTIONS)
        raise InvalidArgument(f"a tool has no option {unknown[0]!r}: known are {known}")
    if function is None:
        return lambda function: _make(function, **options)
    return _make(function, **options)


def tools_by_name(tools: Iterable[Tool | ToolFunction]) -> dict[str, Tool]:
    """Tools by their names; async functions among them become tools. Raises InvalidArgument for
    two of one name."""
    found: dict[str, Tool] = {}
    for one in tools:
        made = one if isinstance(one, Tool) else tool(one)
        if made.name in found:
            raise InvalidArgument(f"there are two tools of the name {made.name!r}: rename one")
        found[made.name] = made
    return found


def parse_input(text: str) -> Any:
    """The map that a model's argument text stands for, or the text itself if it is none."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if type(value) is dict else text


def check_timeout(what: str, value: float | None) -> None:
    """Raise InvalidArgument unless ``value`` is None or a positive number of seconds."""
    if value is not None and (type(value) not in (int, float) or not value > 0):
        raise InvalidArgument(f"{what} must be None or a number of seconds above 0, not {value!r}")


def _make(
    function: ToolFunction,
    *,
    name: str | None = None,
    description: str | None = None,
    **flags: Any,
) -> Tool:
    if not callable(function) or not _is_async(function):
        raise InvalidArgument(f"a tool must be an async function, not {function!r}")
    if name is None:
        name = getattr(function, "__name__", type(function).__name__)
    text = inspect.getdoc(function) if description is None else description
    shape, context_parameter = _shape(function, f"tool {name!r}")
    return Tool(
        name,
        text or "",
        function,
        shape.schema,
        shape=shape,
        context_parameter=context_parameter,
        **flags,
    )


def _is_async(function: Any) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004 - an object with async __call__
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _shape(function: ToolFunction, what: str) -> tuple[Shape, str | None]:
    """The shape of all arguments together, and the name of the parameter for a ToolContext."""
    code: Any = function if inspect.isroutine(function) else type(function).__call__
    code = inspect.unwrap(getattr(code, "__func__", code))
    annotations = {n: a for n, a in code.__annotations__.items() if n != "return"}
    owner = types.SimpleNamespace(__annotations__=annotations, __globals__=code.__globals__)
    names = {} if "ToolContext" in code.__globals__ else {"ToolContext": ToolContext}
    hints = type_hints(owner, what, names)
    properties: list[Property] = []
    context_parameter = None
    for parameter in inspect.signature(function).parameters.values():
        where = f"parameter {parameter.name!r} of {what}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidArgument(f"{where} cannot be passed by name: make it a plain parameter")
        if parameter.name not in hints:
            raise InvalidArgument(f"{where} has no annotation: the model has to be told its type")
        if hints[parameter.name] is ToolContext:
            context_parameter = parameter.name
            continue
        given = parameter.default is parameter.empty
        properties.append(
            Property(
                parameter.name,
                shape_of(hints[parameter.name], where),
                NO_DEFAULT if given else parameter.default,
                given,
            )
        )
    return object_shape(properties, dict), context_parameter
