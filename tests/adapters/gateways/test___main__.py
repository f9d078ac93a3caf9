from __future__ import annotations

import importlib.metadata


def test_the_package_runs_like_the_command(start):
    process = start("-m", "moorage.adapters.gateways", "--version")

    assert process.communicate() == (f"moorage {importlib.metadata.version('moorage')}\n", "")
    assert process.returncode == 0
