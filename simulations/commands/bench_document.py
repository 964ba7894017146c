"""What `lagcast bench` writes as JSON: the main figures of every run, and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from simulations.bench import OTHERS, PEERS, CellResult
from simulations.bench_days import DayResult
from simulations.bench_slower import SlowerResult
from simulations.bench_tables import cost_of_foresight, cost_ratio
from simulations.commands.tables import known
from simulations.compare import Outcome
from simulations.table import Table
from simulations.version import version


def document(
    results: Sequence[CellResult] | Sequence[DayResult] | Sequence[SlowerResult], made: Sequence[Table]
) -> dict[str, Any]:
    """Cells in order, and the tables by name."""
    return {
        "version": version(),
        "cells": [_one(r) for r in results],
        "tables": {t.name: [dict(zip(t.titles, line, strict=True)) for line in t.lines] for t in made},
    }


def _one(result: CellResult | DayResult | SlowerResult) -> dict[str, Any]:
    match result:
        case CellResult():
            return _cell(result)
        case DayResult():
            return {**asdict(result.cell), "lagcast": _figures(result.lagcast), "tuned_before": _each(result.past)}
        case SlowerResult():
            as_is, longer = result.lagcast
            peers = {name: [None if o is None else _figures(o) for o in pair] for name, pair in result.peers.items()}
            return {**asdict(result.cell), "lagcast": _figures(as_is), "longer": _figures(longer), "peers": peers}


def _cell(result: CellResult) -> dict[str, Any]:
    return {
        **asdict(result.cell),
        "bound_gpu_hours": result.bound,
        "lagcast": _figures(result.lagcast),
        "lagcast_reactive": _figures(result.reactive),
        "sweeps": {policy: [_figures(o) for o in sweep] for policy, sweep in result.sweeps.items()},
        "tuned_before": _each(result.past),
        "cost_over_cheapest_peer": cost_ratio(result, PEERS),
        "cost_over_rate_and_lag": cost_ratio(result, OTHERS),
        "cost_over_without_forecasts": cost_of_foresight(result),
    }


def _each(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    return {policy: _figures(o) for policy, o in outcomes.items()}


def _figures(outcome: Outcome) -> dict[str, Any]:
    services = [
        {"uid": m.uid, "attainment": known(m.attainment), "gpu_hours": known(m.gpu_hours), "p99": known(m.p99),
         "changes": m.changes}
        for m in outcome.measures
    ]  # fmt: skip
    return {
        "options": dict(outcome.job.options),
        "attainment": known(outcome.attainment),
        "gpu_hours": known(outcome.gpu_hours),
        "services": services,
    }
