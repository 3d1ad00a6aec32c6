"""Dashboard, alert rules and the table of metrics name what `/metrics` really has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api.metrics.metrics import Metrics
from app.builds.store import connect
from app.builds.store.count_reader import CountReader
from app.builds.store.keys import PACE
from tests.support.servers.redis_process import RedisProcess

DOCS = Path(__file__).parents[2] / "docs"

#: What a family's name grows by, for each of its series.
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture
async def told(tmp_path: Path) -> dict[str, str]:
    """Each family of a real scrape and its kind; a worker has been seen."""
    with RedisProcess(tmp_path) as server:
        redis = connect(server.url)
        await redis.hset(PACE, "worker_seen", "1700000000000")
        metrics = Metrics(CountReader(redis), provider="local")
        metrics.count_streams(lambda: 1)
        text = (await metrics.text()).decode()
        await redis.aclose()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def series(told: dict[str, str]) -> set[str]:
    return {name + each for name, kind in told.items() for each in SUFFIXES.get(kind, ("",))}


def named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:baton|process)_[a-z_]+\b", expression))


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((DOCS / "grafana" / "baton.json").read_text())
    return [each for each in dashboard["panels"] if each["type"] != "row"]


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((DOCS / "prometheus" / "alerts.yml").read_text())["groups"]:
        yield from group["rules"]


async def test_every_query_of_the_dashboard_has_its_metric(told: dict[str, str]) -> None:
    for panel in panels():
        for target in panel["targets"]:
            unknown = named(target["expr"]) - series(told)
            assert not unknown, (panel["title"], unknown)


async def test_every_metric_of_ours_is_on_the_dashboard(told: dict[str, str]) -> None:
    shown = {name for panel in panels() for t in panel["targets"] for name in named(t["expr"])}
    for name, kind in told.items():
        if name.startswith("baton_"):
            assert shown & {name + each for each in SUFFIXES.get(kind, ("",))}, name


def test_the_dashboard_can_be_imported_anywhere() -> None:
    found = panels()
    assert len({panel["id"] for panel in found}) == len(found)
    for panel in found:
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert '{job=~"$job"' in target["expr"], panel["title"]


async def test_every_alert_has_its_metric_and_says_what_to_do(told: dict[str, str]) -> None:
    found = list(rules())
    assert len({rule["alert"] for rule in found}) == len(found) > 5
    for rule in found:
        assert named(rule["expr"]) and not named(rule["expr"]) - series(told), rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert all(rule["annotations"][each].endswith(".") for each in ("summary", "action"))


async def test_the_documentation_has_every_metric(told: dict[str, str]) -> None:
    table = (DOCS / "watching.md").read_text()
    documented = set(re.findall(r"`(baton_[a-z_]+)`", table))
    assert documented == {name for name in told if name.startswith("baton_")}
