#!/usr/bin/env python3
"""Stands in for Amp in ``amp.py --twin``: Amp itself works against its own service only.

It speaks as much of Amp's streaming JSON as that example needs, and asks the twin at TWIN_URL.
Threads are kept as files in TWIN_THREADS.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
import uuid
from pathlib import Path
from typing import Any


def answer(messages: list[dict[str, str]]) -> str:
    request = urllib.request.Request(
        f"{os.environ['TWIN_URL']}/v1/chat/completions",
        json.dumps({"model": "twin", "messages": messages}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return str(json.load(response)["choices"][0]["message"]["content"])


def main() -> None:
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print("0.0.0 (a stand-in for Amp)")
        return
    continued = arguments[:2] == ["threads", "continue"]
    thread = arguments[2] if continued else f"T-{uuid.uuid4()}"
    file = Path(os.environ["TWIN_THREADS"], thread)
    messages = json.loads(file.read_text()) if continued else []

    def say(message: dict[str, Any]) -> None:
        print(json.dumps({**message, "session_id": thread}), flush=True)

    say({"type": "system", "subtype": "init", "cwd": os.getcwd(), "tools": [], "mcp_servers": []})
    for line in sys.stdin:
        text = json.loads(line)["message"]["content"][0]["text"]
        messages.append({"role": "user", "content": text})
        said = answer(messages)
        messages.append({"role": "assistant", "content": said})
        file.write_text(json.dumps(messages))
        content = [{"type": "text", "text": said}]
        say({"type": "assistant", "message": {"content": content, "stop_reason": "end_turn"}})


if __name__ == "__main__":
    main()
