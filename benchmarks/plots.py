"""Draws the figures of the README from the benchmarks' JSON lines.

``python -m benchmarks all > build/figures.jsonl`` and then
``python -m benchmarks.plots build/figures.jsonl`` writes docs/figures/*.svg. Needs the extra
``bench``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import matplotlib as mpl
import matplotlib.pyplot as plt

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
OURS, LIMIT = "#1f6f8b", "#c9ced6"


@attrs.frozen(kw_only=True)
class Bar:
    """One measured figure and what to hold it against: ``limit``, or the line's own reference."""

    benchmark: str
    metric: str
    label: str
    limit: float | None = None


@attrs.frozen(kw_only=True)
class Figure:
    """``better`` says which direction is good; ``against`` what the grey bars are."""

    name: str
    title: str
    unit: str
    against: str
    bars: Sequence[Bar]
    logarithmic: bool = False


FIGURES_DRAWN = (
    Figure(
        name="throughput",
        title="Durable and delivered, one process (more is better)",
        unit="per second",
        against="must reach",
        logarithmic=True,
        bars=(
            Bar(benchmark="runs", metric="throughput", label="runs", limit=5_000),
            Bar(benchmark="stream", metric="batches", label="streamed events", limit=80_000),
            Bar(benchmark="backfill", metric="rate", label="backfilled events", limit=200_000),
            Bar(benchmark="fanout", metric="delivered", label="fanned out", limit=5_000_000),
        ),
    ),
    Figure(
        name="latency",
        title="Medians, one at a time (less is better)",
        unit="milliseconds",
        against="limit: the bare syncs of the same run plus an allowance",
        bars=(
            Bar(benchmark="latency", metric="p50", label="submit to outcome"),
            Bar(benchmark="create", metric="p50", label="create a session"),
            Bar(benchmark="append", metric="p50", label="append"),
            Bar(benchmark="checkpoint", metric="p50", label="checkpoint"),
            Bar(benchmark="page", metric="p50", label="last 100 of 1 M", limit=1.0),
        ),
    ),
    Figure(
        name="peers",
        title="Beside durable Python systems, same machine, same run (more is better)",
        unit="per second",
        against="the peer",
        logarithmic=True,
        bars=(
            Bar(
                benchmark="peers",
                metric="runs, with DBOS on SQLite",
                label="runs\n(DBOS, SQLite)",
            ),
            Bar(
                benchmark="peers",
                metric="appends, with the OpenAI Agents SDK's SQLiteSession",
                label="appends\n(Agents SDK, SQLite)",
            ),
        ),
    ),
)


def load(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """(benchmark, metric) -> line; the last one wins."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {(line["benchmark"], line["metric"]): line for line in lines if "metric" in line}


def draw(figure: Figure, lines: dict[tuple[str, str], dict[str, Any]]) -> Path | None:
    """Write one SVG; None if nothing of it was measured."""
    found = [
        (bar, lines[bar.benchmark, bar.metric])
        for bar in figure.bars
        if (bar.benchmark, bar.metric) in lines
    ]
    if not found:
        return None
    axes: Any
    chart, axes = plt.subplots(figsize=(7, 0.7 * len(found) + 1.4), layout="constrained")
    rows = range(len(found))
    values = [line["value"] for _, line in found]
    limits = [bar.limit or line.get("reference", 0) for bar, line in found]
    axes.barh([row - 0.2 for row in rows], values, 0.36, color=OURS, label="Moorage")
    axes.barh([row + 0.2 for row in rows], limits, 0.36, color=LIMIT, label=figure.against)
    for offset, numbers in ((-0.2, values), (0.2, limits)):
        for row, number in zip(rows, numbers, strict=True):
            axes.annotate(
                f"{number:,.3g}" if number < 100 else f"{number:,.0f}",
                (number, row + offset),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    axes.set_yticks(list(rows), [bar.label for bar, _ in found])
    axes.invert_yaxis()
    axes.set_xlabel(figure.unit)
    axes.set_xscale("log" if figure.logarithmic else "linear")
    axes.margins(x=0.15)
    axes.set_title(figure.title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    path = FIGURES / f"{figure.name}.svg"
    chart.savefig(path, metadata={"Date": None})
    plt.close(chart)
    return path


def main() -> int:
    """Draw every figure whose benchmarks are in the file."""
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    # text stays text and ids are the same each time, so that a change can be read as a difference
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "moorage", "font.size": 9})
    FIGURES.mkdir(parents=True, exist_ok=True)
    lines = load(Path(sys.argv[1]))
    for figure in FIGURES_DRAWN:
        if path := draw(figure, lines):
            print(path.relative_to(FIGURES.parents[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
