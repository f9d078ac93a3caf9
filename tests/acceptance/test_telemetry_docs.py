"""What docs/telemetry.md and the dashboard ask Prometheus for is what a server exports."""

from __future__ import annotations

import json
import re
from pathlib import Path

import trio
from moorage.adapters.gateways.http import create_app
from moorage.adapters.sinks.telemetry import RunMetrics
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore
from prometheus_client.parser import text_string_to_metric_families

from tests.adapters.gateways.http.asgi_client import AsgiClient

DOCS = Path(__file__).parents[2] / "docs"
NAME = re.compile(r"\bmoorage_[a-z_]*[a-z]")


async def exported(directory: Path) -> tuple[set[str], set[str]]:
    """Names of samples, and of labels, of a server that has done something."""

    async def agent(request, context):
        await context.emit("token_usage_updated", {"output_tokens": 1})

    metrics = RunMetrics()
    store = metrics.metered(JournalStore(directory / "data"))
    async with open_supervisor(store, agent) as supervisor:
        await (await supervisor.session("a")).execute("x")
        client = AsgiClient(create_app(supervisor, metrics=metrics))
        await client("GET", "/metrics")
        page = (await client("GET", "/metrics")).content.decode()
    samples = [
        sample for family in text_string_to_metric_families(page) for sample in family.samples
    ]
    return {sample.name for sample in samples}, {name for s in samples for name in s.labels}


def test_every_metric_that_is_asked_for_exists(tmp_path: Path) -> None:
    names, labels = trio.run(exported, tmp_path)
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "telemetry.md").read_text(), re.DOTALL)
    rules = "\n".join(blocks)
    dashboard = (DOCS / "grafana-dashboard.json").read_text()

    for text in (rules, dashboard):
        asked = set(NAME.findall(text))
        assert len(asked) > 5
        assert asked <= names, f"nothing exports {sorted(asked - names)}"
        by = {
            name.strip()
            for group in re.findall(r"by \(([\w, ]+)\)", text)
            for name in group.split(",")
        }
        assert by <= labels, f"no sample has the labels {sorted(by - labels)}"


def test_the_table_has_every_metric_that_is_not_the_stores(tmp_path: Path) -> None:
    names, _ = trio.run(exported, tmp_path)
    table = (DOCS / "telemetry.md").read_text().partition("## Metrics")[2]
    told = set(re.findall(r"moorage_[a-z_]+|(?<=`)_[a-z_]+", table))

    for name in names:
        bare = re.sub(r"_(bucket|count|sum)$", "", name)
        if bare.startswith("moorage_") and not bare.startswith("moorage_store_"):
            assert any(bare == word or bare.endswith(word) for word in told), bare


def test_the_dashboards_panels_have_places_of_their_own() -> None:
    panels = json.loads((DOCS / "grafana-dashboard.json").read_text())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}

    assert len(places) == len(panels) == len({panel["id"] for panel in panels})
    assert all(target["expr"] for panel in panels for target in panel["targets"])
