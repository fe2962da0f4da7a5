"""The Grafana dashboard shows metrics that exist, and every one of them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codexproxy.observability.metrics import Metrics, build_info, queue_gauges, quota_gauges
from codexproxy.protocol.quota import Quota, QuotaWindow

DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana-dashboard.json"


def expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "expr" in value:
            yield value["expr"]
        for part in value.values():
            yield from expressions(part)
    elif isinstance(value, list):
        for part in value:
            yield from expressions(part)


def exported() -> dict[str, str]:
    """Every metric and its type."""
    quota = Quota((QuotaWindow("primary", 12.0, 18_000, 1_800_000_000.0),), None, 0.0)
    current = [build_info("1"), *quota_gauges({"default": quota}, 0.0), *queue_gauges(0, 0)]
    page = Metrics().page(current).decode()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))


def test_the_dashboard_names_only_metrics_that_exist_and_all_of_them() -> None:
    shown = {
        re.sub(r"_bucket$", "", name)
        for expression in expressions(json.loads(DASHBOARD.read_text()))
        for name in re.findall(r"codexproxy_\w+", expression)
    }
    created = {name for name in exported() if name.endswith("_created")}
    assert shown == exported().keys() - created


def test_panels_do_not_lie_on_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
