from __future__ import annotations

from typing import get_args

import pytest
from moorage.adapters.agents.provider.permissions import PERMISSION_TABLE, provider_permissions
from moorage.adapters.agents.provider.settings import PermissionMode
from moorage.runtime.errors import InvalidArgument


def test_every_mode_is_mapped_for_every_provider():
    providers = {frozenset(row) for row in PERMISSION_TABLE.values()}

    assert tuple(PERMISSION_TABLE) == get_args(PermissionMode)
    assert len(providers) == 1
    assert all(cell for row in PERMISSION_TABLE.values() for cell in row.values())


def test_a_mode_is_told_in_the_providers_own_words():
    expected = {"approval_policy": "never", "sandbox": "read-only"}

    assert expected == provider_permissions("plan", "codex")


@pytest.mark.parametrize(("mode", "provider"), [("yolo", "codex"), ("plan", "nobody")])
def test_an_unknown_mode_or_provider_is_refused_with_those_there_are(mode, provider):
    with pytest.raises(InvalidArgument) as caught:
        provider_permissions(mode, provider)

    assert "must be one of" in str(caught.value)
