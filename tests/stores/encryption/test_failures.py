"""The error says which key, of what, and why."""

from __future__ import annotations

import pickle

from moorage.runtime.errors import StoreFailed
from moorage.stores.encryption import KeyUnavailable


def test_the_error_names_the_key_and_survives_pickling() -> None:
    error = KeyUnavailable("k1", session_id="a", reason="it was destroyed")

    again = pickle.loads(pickle.dumps(error))

    assert isinstance(again, StoreFailed)
    assert (again.code, again.key_id, again.session_id) == ("key_unavailable", "k1", "a")
    assert (again.written, again.poisoned, again.retryable) == (False, False, False)
    assert str(again) == "key 'k1' of session 'a' is not available: it was destroyed"
