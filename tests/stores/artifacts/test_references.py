"""References are told from everything else, and payloads go there and back."""

from __future__ import annotations

from typing import Any

import pytest
from moorage.stores.artifacts import ArtifactDamaged, Reference, reference_in, references_in
from moorage.stores.artifacts.references import MSGPACK, TEXT, folder_of, from_bytes, to_bytes

REFERENCE = Reference("s/a", 5, "ab" * 32, TEXT)


def test_a_reference_goes_through_plain_data() -> None:
    plain = REFERENCE.to_plain()

    assert plain == {
        "artifact": {"key": "s/a", "bytes": 5, "sha256": "ab" * 32, "media_type": TEXT}
    }
    assert reference_in(plain) == REFERENCE
    assert list(references_in([{"deep": [plain, plain]}, 1])) == [REFERENCE, REFERENCE]


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"artifact": None},
        {"artifact": {"key": "s/a"}},
        {**REFERENCE.to_plain(), "more": 1},
        {"artifact": {"key": "../a", "bytes": 1, "sha256": "", "media_type": ""}},
        {"artifact": {"key": "a", "bytes": "1", "sha256": "", "media_type": ""}},
    ],
    ids=str,
)
def test_what_only_looks_like_one_is_none(value: Any) -> None:
    assert reference_in(value) is None


@pytest.mark.parametrize("payload", ["text ü", b"bytes", {"a": [1, None]}, [b"x", "y"], 7])
def test_payloads_come_back_as_what_they_were(payload: Any) -> None:
    content, media_type = to_bytes(payload)

    assert from_bytes(content, Reference("k", len(content), "", media_type)) == payload


@pytest.mark.parametrize("media_type", [TEXT, MSGPACK])
def test_bytes_that_are_not_what_they_should_be_are_damage(media_type: str) -> None:
    with pytest.raises(ArtifactDamaged, match="'k'"):
        from_bytes(b"\xff\xfe\xc1", Reference("k", 3, "", media_type))


def test_any_session_has_a_folder_of_its_own() -> None:
    ids = ["ses_1", "a/b", "a", "..", ".a", "", "~", "é", "a" * 300, "a\ud800"]

    folders = [folder_of(session_id) for session_id in ids]

    assert folders[:3] == ["ses_1", folders[1], "a"]
    assert len(set(folders)) == len(ids)
    assert all("/" not in folder and len(folder) <= 100 for folder in folders)
    assert folder_of(folder_of("a/b")) != folder_of("a/b")
