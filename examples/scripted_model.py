"""What the scripted model says, which the examples ask with ``--twin``.

It answers from what it is asked: it knows a name only if the conversation has it, and a number only
if a tool gave it.
"""

from __future__ import annotations

from moorage.adapters.agents.model_twin import Text, ToolUse, TwinRequest

KEPT: list[str] = []
"""What a service keeps for clients that go on by the id of a response and send only what is new."""


def reply(request: TwinRequest) -> list[Text | ToolUse]:
    """What the scripted model says."""
    if "population" in request.tools:
        return reason(request)
    known = request.text
    if request.previous_response_id:
        known = "\n".join([*KEPT, known])
    KEPT.append(request.text)
    if "What is my name?" not in known:
        return [Text("Pleased to meet you.")]
    return [Text("You are Ada." if "My name is Ada." in known else "I do not know you.")]


def reason(request: TwinRequest) -> list[Text | ToolUse]:
    """Looks both cities up, compares, and says what came of it."""
    found = [result.text for result in request.tool_results]
    if not found:
        cities = [ToolUse("population", {"city": city}) for city in ("Bergen", "Graz")]
        return [Text("I need both numbers."), *cities]
    if len(found) == 2:
        numbers = {"first": int(found[0]), "second": int(found[1])}
        return [Text("Now I can compare them."), ToolUse("compare", numbers)]
    return [Text("Yes." if found[-1] == "first" else f"No: {found[1]} live in Graz.")]
