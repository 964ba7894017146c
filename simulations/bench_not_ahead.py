"""Where Lagcast is not ahead, told from the results: no line of it is written by hand."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from simulations.bench import OTHERS, PEERS, TUNED, CellResult
from simulations.bench_days import DayResult
from simulations.bench_pool_table import cost_at_each
from simulations.bench_slower import SlowerResult, increase
from simulations.bench_tables import (
    R,
    against_before,
    by_scenario,
    cost_of_foresight,
    cost_ratio,
    groups,
    most_of_peers,
    name,
    over_static,
    reached,
    seed_name,
)
from simulations.compare import geometric_mean
from simulations.scenarios import Cell
from simulations.table import Table, mean, number, percent

Line = tuple[str, ...]
Figures = list[tuple[str, str]]  # what is behind, and by which figure
TITLES = ("WHERE", "WHAT", "FIGURE", "COMMAND")
SEEDS = "A cell's figure is its seeds' mean; a seed has its own line where it is behind and the mean is not."


def not_ahead(results: Sequence[CellResult], share: float, options: Sequence[str], traces: Sequence[str] = ()) -> Table:
    """A line for each figure in which a cell, or one of its seeds, is behind.

    ``options``: of `lagcast bench`, besides the cell's own; ``traces``: those that were asked for, none: all.
    """
    lines = _cells(results, lambda group: _behind(group, share), options)
    days = [DayResult(r.cell, r.lagcast, r.past) for r in results]
    lines += _missed(days, share, options, traces)
    about = (
        "Every figure in which a cell is behind a peer, the declared share, the static peak or the same plan without "
        f"forecasts, and the command that makes it. {SEEDS}"
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
            lines.append((seed_name(r), "day below the share", figure, f"`{own}`"))
    lines += _missed(results, share, options, traces)
    about = (
        "Each scored day below the declared share, and each peer that missed on fewer days, or cost less: where both "
        "reach it, or on all days."
    )
    return Table("where it is not ahead", about, TITLES, tuple(lines))


def slower_not_ahead(
    results: Sequence[SlowerResult], share: float, options: Sequence[str], traces: Sequence[str] = ()
) -> Table:
    """The same of longer lead times: what is below the share, and costs that rise by more than a peer's, or are higher.

    A cell's seeds together, and a scenario's cells as table G has them.
    """
    lines = _cells(results, lambda group: _behind_when_slower(group, share), options)
    for scenario, every in by_scenario(results).items():
        command = _command_of_all(scenario, traces, options)
        found = [*_below(every, share), *_raised(every)]
        lines += [(scenario, what, figure, f"`{command}`") for what, figure in found]
    about = (
        "Every figure in which a cell, or a scenario as in table G, is below the declared share, its cost rises by "
        "more than a peer's with the lead times, or is higher than a peer's at the longer ones, and the command that "
        f"makes it. Peers' costs as in table G, cells. {SEEDS}"
    )
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


def _command_of_all(scenario: str, traces: Sequence[str], options: Sequence[str]) -> str:
    asked = [word for trace in traces for word in ("--trace", trace)]
    return shlex.join(["lagcast", "bench", "--scenario", scenario, *asked, *options])


def _cells(results: Sequence[R], behind: Callable[[Sequence[R]], Figures], options: Sequence[str]) -> list[Line]:
    lines: list[Line] = []
    for group in groups(results):
        command = command_of(group[0].cell, len(group), options)
        found = behind(group)
        lines += [(name(group[0]), what, figure, f"`{command}`") for what, figure in found]
        told = {what for what, _ in found}
        for r in group:
            own = command_of(r.cell, 1, options)
            lines += [(seed_name(r), what, figure, f"`{own}`") for what, figure in behind([r]) if what not in told]
    return lines


def _behind(group: Sequence[CellResult], share: float) -> Figures:
    found = []
    attained = mean(r.lagcast.attainment for r in group)
    if attained is not None and attained < share:
        found.append(("below the declared share", percent(attained)))
    reactive = mean(r.reactive.attainment for r in group)
    if attained is not None and reactive is not None and reactive > attained:
        found.append(("reaches less than without forecasts", f"{percent(attained)} against {percent(reactive)}"))
    alone = [r for r in group if not reached(r, share)]
    ours, most = mean(r.lagcast.attainment for r in alone), mean(most_of_peers(r) for r in alone)
    if ours is not None and most is not None and ours < most:
        what = "attains less than a peer does at some setting, where none of HPA and KEDA reaches the share"
        found.append((what, f"{percent(ours)} against {percent(most)}"))
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


def _behind_when_slower(group: Sequence[SlowerResult], share: float) -> Figures:
    found = [*_below(group, share), *_raised(group)]
    for policy in TUNED:
        both = [(r.lagcast[1], theirs) for r in group if (theirs := r.peers[policy][1]) is not None]
        ours, least = mean(o.gpu_hours for o, _ in both), mean(o.gpu_hours for _, o in both)
        if ours is not None and least is not None and ours > least:
            what = f"costs more than {policy} at the longer lead times"
            found.append((what, f"{number(ours, '.0f')} h against {number(least, '.0f')} h"))
    return found


def _below(results: Sequence[SlowerResult], share: float) -> Figures:
    found = []
    for k, when in enumerate(("at lead times as they are", "at the longer lead times")):
        attained = mean(r.lagcast[k].attainment for r in results)
        if attained is not None and attained < share:
            found.append((f"below the declared share {when}", percent(attained)))
    return found


def _raised(results: Sequence[SlowerResult]) -> Figures:
    found = []
    ours = increase(r.lagcast for r in results)
    for policy in TUNED:
        theirs = increase(r.peers[policy] for r in results)
        if ours is not None and theirs is not None and ours > theirs:
            figure = f"{number(ours, '.3f')} against {number(theirs, '.3f')}"
            found.append((f"cost rises by more than {policy}'s with the lead times", figure))
    return found


def _missed(days: Sequence[DayResult], share: float, options: Sequence[str], traces: Sequence[str]) -> list[Line]:
    lines: list[Line] = []
    for b in against_before(days, share):
        command = _command_of_all(b.scenario, traces, options)
        if b.missed > b.missed_by_peer:
            figure = f"{b.missed} against {b.missed_by_peer} of {b.days}"
            lines.append((b.scenario, f"misses on more days than {b.peer} as tuned before", figure, f"`{command}`"))
        costs = (("", b.cost), (" on all days, whatever each reached", b.on_all_days))
        for where, cost in costs:
            if cost is not None and cost > 1.0:
                what = f"costs more than {b.peer} as tuned before{where}"
                lines.append((b.scenario, what, number(cost, ".3f"), f"`{command}`"))
    return lines
