from __future__ import annotations

import io

import pytest
from moorage.adapters.sinks import TextSink, renderer
from moorage.runtime import Event

DELTA = Event("a", 1, 1, "message_streamed", "r1", {"delta": "Hello"})


async def test_text_goes_to_the_stream_and_an_open_line_is_ended() -> None:
    stream = io.StringIO()
    sink = TextSink(renderer("text"), stream)

    async with sink.opened():
        await sink.write([DELTA])
        assert stream.getvalue() == "Hello"

    assert stream.getvalue() == "Hello\n"
    assert not stream.closed


async def test_without_a_stream_it_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    sink = TextSink(renderer("text"))

    async with sink.opened():
        await sink.write([DELTA])

    assert capsys.readouterr().out == "Hello\n"


async def test_a_stream_that_nobody_reads_is_told() -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await TextSink(renderer("text"), Gone()).write([DELTA])
