"""Artifacts: payloads that are too large for a log, and what refers to them.

::

    artifacts = FileArtifacts("moorage-artifacts")            # or S3Artifacts("bucket"), extra s3
    async with open_supervisor(store, with_artifacts(agent, artifacts)) as supervisor: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .agent_wrapper import with_artifacts
from .file_artifacts import FileArtifacts
from .health import check_artifacts
from .memory_artifacts import MemoryArtifacts
from .moving import bring_back
from .port import (
    ArtifactDamaged,
    ArtifactMissing,
    ArtifactsFailed,
    ArtifactsRefused,
    ArtifactStore,
    Stored,
)
from .references import Reference, reference_in, references_in
from .registry import (
    Registered,
    Totals,
    count_artifacts,
    list_artifacts,
    put_artifact,
    read_artifact,
    totals_of,
)
from .removal import SweepReport, remove_artifacts, remove_artifacts_of, sweep_artifacts
from .tiered_artifacts import TieredArtifacts

if TYPE_CHECKING:
    from .s3_artifacts import S3Artifacts

__all__ = [
    "ArtifactStore",
    "Stored",
    "FileArtifacts",
    "S3Artifacts",
    "TieredArtifacts",
    "MemoryArtifacts",
    "Reference",
    "reference_in",
    "references_in",
    "with_artifacts",
    "put_artifact",
    "read_artifact",
    "bring_back",
    "Registered",
    "list_artifacts",
    "Totals",
    "totals_of",
    "count_artifacts",
    "remove_artifacts",
    "remove_artifacts_of",
    "sweep_artifacts",
    "check_artifacts",
    "SweepReport",
    "ArtifactMissing",
    "ArtifactDamaged",
    "ArtifactsFailed",
    "ArtifactsRefused",
]


def __getattr__(name: str) -> Any:
    """What needs an extra is imported when it is asked for."""
    if name == "S3Artifacts":
        from .s3_artifacts import S3Artifacts

        return S3Artifacts
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
