from __future__ import annotations

import pytest
from moorage.adapters.agents.session_files.foreign_blocks import foreign_blocks, output_of
from moorage.runtime.messages import content_blocks, text_block, tool_call_block

IMAGE = {"type": "image", "media_type": "image/png", "data": b"png"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("hi", [text_block("hi")]),
        ("", []),
        (None, []),
        (7, []),
        ([{"type": "text", "text": "hi"}], [text_block("hi")]),
        ([{"type": "input_text", "text": "hi"}], [text_block("hi")]),
        ([{"type": "text", "text": ""}, {"type": "text"}], []),
        ([{"type": "thinking", "thinking": "hm", "signature": "s"}], ["thinking"]),
        ([{"type": "thinking", "thinking": ""}], []),
        (
            [{"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}}],
            [tool_call_block("c1", "look", {"at": 1})],
        ),
        (
            [{"type": "toolCall", "id": "c1", "name": "look", "arguments": {"at": 1}}],
            [tool_call_block("c1", "look", {"at": 1})],
        ),
        ([{"type": "tool_use", "id": 7, "name": "look"}], []),
        (
            [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"},
                }
            ],
            [IMAGE],
        ),
        ([{"type": "image", "mimeType": "image/png", "data": "cG5n"}], [IMAGE]),
        ([{"type": "image", "source": {"type": "url", "url": "https://x"}}], []),
        ([{"type": "image", "mimeType": "image/png", "data": "!"}], []),
        ([{"type": "input_image", "image_url": "data:image/png;base64,cG5n"}], [IMAGE]),
        ([{"type": "input_image", "image_url": "https://x"}], []),
        ([{"type": "input_image"}], []),
        ([{"type": "future"}, {"type": ["text"]}, 7, "x"], []),
    ],
)
def test_blocks_of_other_programs_become_ours(content, expected):
    if expected == ["thinking"]:
        expected = [{"type": "thinking", "text": "hm"}]

    blocks = foreign_blocks(content)

    assert blocks == expected
    assert content_blocks(blocks) == blocks


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("seen", "seen"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([], ""),
        ([{"type": "image", "data": "x"}], [{"type": "image", "data": "x"}]),
        ({"rows": 1}, {"rows": 1}),
        (None, None),
    ],
)
def test_an_output_is_its_text_where_that_is_all(content, expected):
    assert output_of(content) == expected
