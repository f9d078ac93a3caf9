"""docs/webhooks.md: the receiver works as it is written, and every path is told of."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import trio
from moorage.adapters.gateways.http.webhook_routes import WEBHOOK_OPERATIONS
from moorage.adapters.sinks.webhook import WebhookSink, new_secret
from moorage.adapters.sinks.webhook.signing import signed_headers
from moorage.runtime import Event

from tests.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).parents[2] / "docs" / "webhooks.md"
SECRET = new_secret()
PATIENCE_SECONDS = 120


@contextmanager
def receiving(directory: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The receiver of the document as a process."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (directory / "receiver.py").write_text(program)
    with (
        reserved_port() as port,
        subprocess.Popen(
            [sys.executable, "receiver.py"],
            cwd=directory,
            env={**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}/", process
        finally:
            process.kill()


async def wait_listening(url: str) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", int(url.split(":")[2][:-1]))
            except OSError:
                await trio.lowlevel.checkpoint()
            else:
                await stream.aclose()
                return


async def test_the_receiver_takes_what_is_signed_and_each_message_once(tmp_path: Path) -> None:
    events = [Event("a", seq, seq, "note", None, {}) for seq in (1, 2)]
    with receiving(tmp_path) as (url, process):
        await wait_listening(url)
        sink = WebhookSink(url, SECRET, allowed_networks=["127.0.0.0/8"])
        async with sink.opened():
            for _ in range(2):
                await sink.write(events)
        body = json.dumps({"data": {"events": []}}).encode()
        now = int(time.time())
        forged = signed_headers([new_secret()], "m", now, body)
        old = signed_headers([SECRET], "m", now - 301, body)
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            refused = [await client.post(url, content=body, headers=it) for it in (forged, old)]
        process.kill()
        assert process.stdout is not None
        told = process.stdout.read().splitlines()

    assert told == ["a 1 note", "a 2 note"]
    assert [answer.status_code for answer in refused] == [401, 401]


def test_every_path_is_told_of() -> None:
    text = DOCUMENT.read_text()
    for operation in WEBHOOK_OPERATIONS:
        last = operation.path.split("/")[-1]
        assert f"/{last}" in text, operation.path
