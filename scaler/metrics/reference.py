"""The reference of all metrics, made from their list, in Markdown."""

from __future__ import annotations

from scaler.metrics.catalog import METRICS, Kind, Metric, Part

_INTRODUCTION = """# Metrics of the controller

<!-- Made by `make generate` from scaler/metrics/catalog.py; change the texts there and make it again. -->

`lagcast run` serves these on `/metrics` (`--listen`). Units are base units: seconds, requests/s, counts, shares from 0
to 1. A gauge whose value is not known is NaN, never 0, so compare it before you sum:
`sum(lagcast_arrival_rate >= 0)`. Series that belong to one scaler have the labels `namespace` and `name`, and go away
with it. Counters begin at 0 with the scaler, and again when the controller starts. The standard metrics of a Prometheus
client for its own process (`process_cpu_seconds_total`, `process_resident_memory_bytes` and others) are there, too.

Attainment, here over a day, is
`1 - increase(lagcast_requests_late_total[1d]) / increase(lagcast_requests_due_total[1d])`.

## Scraping

The label `namespace` is that of the scaler, not that of the controller's pod. Prometheus must keep it: set
`honor_labels: true` in a scrape configuration, `honorLabels: true` in a PodMonitor. Otherwise it becomes
`exported_namespace`, and dashboards and alerts find nothing.

## Dashboards and alerts

- `kubectl apply -k manifests/dashboards`: five ConfigMaps with the label `grafana_dashboard: "1"`, which the sidecar of
  Grafana's Helm chart loads: overview, one service, forecast quality, GPU pools, the controller.
- `kubectl apply -k manifests/alerts`: a PrometheusRule for the Prometheus operator. For `rule_files` of a plain
  Prometheus, `manifests/alerts/lagcast.rules.yaml` has the same rules. Each alert has a page in `docs/runbooks`.

Where the tests run there is no Grafana. They hold the dashboards to the rules of Grafana's own linter, and run every
panel's queries on a real Prometheus that has scraped a real controller; how a panel looks is not tested.

## Metrics, one by one
"""


def render() -> str:
    """The whole page."""
    lines = [_INTRODUCTION]
    for part in Part:
        lines += [f"### {part}", "", "| metric | kind | labels | what it is |", "|---|---|---|---|"]
        lines += [_row(metric) for metric in METRICS if metric.part is part]
        lines.append("")
    return "\n".join(lines)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{name}`" for name in metric.label_names) or "-"
    name = metric.sample
    if metric.kind is Kind.HISTOGRAM:
        name += "_bucket`, `_sum`, `_count"
    elif metric.kind is Kind.SUMMARY:
        name += "_sum`, `_count"
    return f"| `{name}` | {metric.kind} | {labels} | {metric.text} |"
