"""Settings that hold for every test."""

from __future__ import annotations

import os

import structlog
from hypothesis import HealthCheck, settings

# A failing example prints its seed and how to reproduce it. Runs are the same everywhere unless
# HYPOTHESIS_PROFILE=search looks for new examples.
settings.register_profile(
    "same_everywhere",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", deadline=None, print_blob=True, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same_everywhere"))

structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
