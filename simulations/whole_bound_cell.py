"""`python -m simulations.whole_bound_cell`: a benchmark's cell in whole replicas and nodes, beside its linear bound.

A command of its own, as it is neither quick nor for any load: the mixed-integer program of a day is stopped in time,
and what it proves holds for schedules that change at its steps, which are longer than a policy's ticks.
"""

from __future__ import annotations

from typing import Any

import click

from simulations.bound import Excuse, bound, terms_of
from simulations.commands.shell import told
from simulations.commands.tables import as_json, as_table
from simulations.errors import BadSetting
from simulations.scenarios import Cell, Scenario, cells, make
from simulations.whole_bound import Nodes, whole_bound


@click.command()
@click.option("--scenario", type=click.Choice(["pods", "nodes"]), default="nodes", show_default=True)
@click.option("--trace", default="azfunc_bursty", show_default=True, metavar="NAME", help="Of the benchmark.")
@click.option("--step", type=click.IntRange(15, 3600), default=300, show_default=True, help="s between two changes.")
@click.option("--hours", type=click.IntRange(1, 24), default=24, show_default=True, help="Of the day, from its begin.")
@click.option("--seconds", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Stop after as many.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def whole(scenario: Scenario, trace: str, step: int, hours: int, seconds: float, output: str) -> None:
    """The fewest GPU-hours of a clairvoyant schedule in whole replicas and nodes, as far as it is proven in time.

    \b
    Exit codes: 0 done; 1 no schedule was found in time; 2 wrong usage, or a trace that is not there.
    """
    with told():
        found = whole_cell(scenario, trace, step, hours, seconds)
        if output == "json":
            as_json(found)
        else:
            as_table(("", "GPU-HOURS"), [(name, f"{found[key]:.1f}") for name, key in _SHOWN])
            click.echo(f"gap: {found['gap']:.1%}, the part of the schedule found that is not proven to be needed")


_SHOWN = (
    ("linear bound, in the same steps", "linear"),
    ("whole, proven", "proven"),
    ("whole, a schedule", "schedule"),
)


def whole_cell(scenario: Scenario, trace: str, step: int, hours: int, seconds: float) -> dict[str, Any]:
    """The cell's hours: of the linear program, proven in whole ones, and of a schedule. Raises as ``whole_bound``."""
    days = {c.trace: c.day for c in cells((0,)) if c.scenario == scenario}
    if trace not in days:
        raise BadSetting(f"--trace: found {trace}; allowed: {', '.join(days)}")
    setting, (load,) = make(Cell(scenario, trace, days[trace]))
    arrivals, (one,), pool = load.arrivals[: hours * 3600], setting.services, setting.pool
    terms = terms_of(one, None, float(step))  # the replica's own lead time: nodes have theirs
    nodes = None
    if pool is not None:
        mean = (pool.lead_time.low + pool.lead_time.high) / 2
        nodes = Nodes(pool.size, mean, one.service.gpus, pool.max_nodes)
    linear = bound(arrivals, terms_of(one, pool, float(step)), Excuse.OVERDUE)
    found = whole_bound(arrivals, terms, nodes, time_limit=seconds)
    return {
        "scenario": scenario,
        "trace": trace,
        "step": step,
        "hours": hours,
        "linear": linear.replica_hours,
        "proven": found.least_hours,
        "schedule": found.replica_hours,
        "gap": found.gap,
    }


if __name__ == "__main__":
    whole()
