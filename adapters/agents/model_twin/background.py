"""What real command lines ask a model beside the conversation, and fitting answers.

Seen in requests of the real programs. Each rule looks at what such a request is for, not at who
sends it: a client that asks the same by another name is recognised too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .replies import Reply, Text

if TYPE_CHECKING:
    from .twin_request import TwinRequest

TITLE = '{"title": "Twin"}'
TITLE_PROMPT = "Generate a title for this conversation"
LIMITS_OF_OUTPUT = ("max_tokens", "max_output_tokens", "max_completion_tokens")


def known_background(request: TwinRequest) -> Reply | None:
    """The reply to a request that is no turn of a conversation, or None for one that is.

    A quota probe (one token at most) gets a word; a request for the session's title (no tools, and
    an answer in a schema whose only property is a title, or words that ask for one) gets one. A
    wrapper may know more::

        def background(request):
            return Text("short") if request.model == "small" else known_background(request)
    """
    if any(request.fields.get(key) == 1 for key in LIMITS_OF_OUTPUT):
        return Text("ok")
    if not request.tools and list(_answer_properties(request)) == ["title"]:
        return Text(TITLE)
    if not request.tools and TITLE_PROMPT in request.text:
        return Text("Twin")
    return None


def _answer_properties(request: TwinRequest) -> dict[str, object]:
    """The properties of the schema that the answer has to follow, in any dialect."""
    fields = request.fields
    for at in (("output_config", "format"), ("text", "format"), ("response_format", "json_schema")):
        found: object = fields
        for key in (*at, "schema", "properties"):
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found
    return {}
