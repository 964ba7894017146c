"""Where Lagcast is not ahead, told from the results: no line of it is written by hand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from simulations.bench import OTHERS, PEERS, CellResult
from simulations.bench_days import DayResult
from simulations.bench_pool_table import cost_at_each
from simulations.bench_tables import before, cost_of_foresight, cost_ratio, groups, name, over_static
from simulations.compare import geometric_mean
from simulations.scenarios import Cell
from simulations.table import Table, mean, number, percent

Line = tuple[str, ...]
TITLES = ("WHERE", "WHAT", "FIGURE", "COMMAND")


def not_ahead(results: Sequence[CellResult], share: float, options: Sequence[str], traces: Sequence[str] = ()) -> Table:
    """A line for each figure in which a cell is behind.

    ``options``: of `lagcast bench`, besides the cell's own; ``traces``: those that were asked for, none: all.
    """
    lines: list[Line] = []
    for group in groups(results):
        command = command_of(group[0].cell, len(group), options)
        lines += [(name(group[0]), what, figure, f"`{command}`") for what, figure in _behind(group, share)]
    days = [DayResult(r.cell, r.lagcast, r.past) for r in results]
    lines += _missed(days, share, options, traces)
    about = (
        "Every figure in which a cell is behind a peer, the declared share, the static peak or the same plan without "
        "forecasts, and the command that makes it."
    )
    return Table("where it is not ahead", about, TITLES, tuple(lines))


def days_not_ahead(
    results: Sequence[DayResult], share: float, options: Sequence[str], traces: Sequence[str] = ()
) -> Table:
    """The same of several scored days: each day below the share, and peers that miss on fewer or cost less."""
    lines: list[Line] = []
    for r in results:
        if r.lagcast.attainment < share:
            reach = [policy for policy, o in r.past.items() if o.attainment >= share]
            who = f"reached by {', '.join(reach)}" if reach else "reached by no peer as tuned before"
            figure = f"{percent(r.lagcast.attainment)}; {who}"
            own = command_of(r.cell, 1, options)
            lines.append((f"{r.cell.scenario} {r.cell.trace} {r.cell.day}, seed {r.cell.seed}", "day below the share",
                          figure, f"`{own}`"))  # fmt: skip
    lines += _missed(results, share, options, traces)
    about = "Each scored day below the declared share, and each peer that missed on fewer days, or cost less."
    return Table("where it is not ahead", about, TITLES, tuple(lines))


def command_of(cell: Cell, seeds: int, options: Sequence[str]) -> str:
    """The command that makes a cell's figures and no others, with the first ``seeds`` seeds."""
    kept = [word for word in options if not word.startswith("--seeds=")]
    if "--seeds" in kept:
        place = kept.index("--seeds")
        del kept[place : place + 2]
    count = max(seeds, cell.seed + 1)
    return shlex.join(
        ["lagcast", "bench", "--scenario", cell.scenario, "--trace", cell.trace, "--seeds", str(count), *kept]
    )


def _behind(group: Sequence[CellResult], share: float) -> list[tuple[str, str]]:
    found = []
    attained = mean(r.lagcast.attainment for r in group)
    if attained is not None and attained < share:
        found.append(("below the declared share", percent(attained)))
    reactive = mean(r.reactive.attainment for r in group)
    if attained is not None and reactive is not None and reactive > attained:
        found.append(("reaches less than without forecasts", f"{percent(attained)} against {percent(reactive)}"))
    costs = (
        ("costs more than the cheapest of HPA and KEDA", [cost_ratio(r, PEERS) for r in group]),
        (f"costs more than {OTHERS[0]}", [cost_ratio(r, OTHERS) for r in group]),
        ("costs more than without forecasts, at the same attainment", [cost_of_foresight(r) for r in group]),
        ("costs more than the static peak", [over_static(r, share) for r in group]),
    )
    several = len(group[0].lagcast.measures) > 1
    shared = tuple(
        (f"costs more than {policy}, each service at its own attainment", [cost_at_each(r, policy) for r in group])
        for policy in ((*PEERS, *OTHERS) if several else ())
    )
    for what, ratios in (*costs, *shared):
        ratio = geometric_mean(ratios)
        if ratio is not None and ratio > 1.0:
            found.append((what, number(ratio, ".3f")))
    return found


def _missed(days: Sequence[DayResult], share: float, options: Sequence[str], traces: Sequence[str]) -> list[Line]:
    lines: list[Line] = []
    asked = [word for trace in traces for word in ("--trace", trace)]
    for scenario, peer, count, ours, theirs, _, cost, _ in before(days, share).lines:
        command = shlex.join(["lagcast", "bench", "--scenario", scenario, *asked, *options])
        if int(ours) > int(theirs):
            figure = f"{ours} against {theirs} of {count}"
            lines.append((scenario, f"misses on more days than {peer} as tuned before", figure, f"`{command}`"))
        if cost != "-" and float(cost) > 1.0:
            lines.append((scenario, f"costs more than {peer} as tuned before", cost, f"`{command}`"))
    return lines
