"""The benchmark's tables: one row a cell, and what they come to.

**Cost against a policy** is Lagcast's GPU-hours over that policy's at the attainment Lagcast reached: read from its
frontier by linear interpolation (:func:`simulations.compare.hours_at`), at the attainment or ``MOST``, whichever is
lower, since no sweep goes on beyond that. "The cheapest peer" is the cheapest of the HPA on the arrival rate and KEDA
on the lag. There is no such figure where the policy never reaches so much. Over seeds and cells figures are averaged:
attainments and hours arithmetically, ratios geometrically.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from simulations.bench import OTHERS, PEERS, REACTIVE, STATIC, TUNED, CellResult
from simulations.bench_days import DayResult
from simulations.compare import MOST, Outcome, cheapest, geometric_mean, highest, hours_at
from simulations.scenarios import Cell
from simulations.table import Table, mean, number, percent

SMOOTH, CROWDED = "azfunc_diurnal", "worldcup98"  # traces with a daily cycle: alone, and with flash crowds


class OfCell(Protocol):
    """What a cell came to, with one seed."""

    @property
    def cell(self) -> Cell:
        """Which one."""
        ...


R = TypeVar("R", bound=OfCell)


def cost_ratio(result: CellResult, policies: Sequence[str]) -> float | None:
    """Lagcast's cost over the cheapest of ``policies`` at the attainment Lagcast reached; None: none reaches it."""
    return _ratio(result.lagcast, [result.sweeps[policy] for policy in policies])


def cost_of_foresight(result: CellResult) -> float | None:
    """The same over Lagcast without forecasts, at any headroom."""
    return _ratio(result.lagcast, [without(result)])


def without(result: CellResult) -> tuple[Outcome, ...]:
    """All runs without forecasts: the default one, and those at other headrooms."""
    return (result.reactive, *result.sweeps[REACTIVE])


def _ratio(outcome: Outcome, sweeps: Iterable[Sequence[Outcome]]) -> float | None:
    hours = [hours_at(sweep, min(outcome.attainment, MOST)) for sweep in sweeps]
    least = min((h for h in hours if h is not None), default=None)
    return None if not least else outcome.gpu_hours / least


def over_static(result: CellResult, share: float) -> float | None:
    """Lagcast's cost over that of the least constant count that attains ``share``, or attains most."""
    peak = cheapest(result.sweeps[STATIC], share) or highest(result.sweeps[STATIC])
    return None if peak is None else result.lagcast.gpu_hours / peak.gpu_hours


def reached(result: CellResult, share: float) -> bool:
    """Whether one of the peers attains ``share`` at any setting."""
    return any(cheapest(result.sweeps[policy], share) is not None for policy in PEERS)


def most_of_peers(result: CellResult) -> float | None:
    """The highest attainment of all peers, at any setting; None where none was run."""
    most = [highest(result.sweeps[policy]) for policy in TUNED]
    return max((m.attainment for m in most if m is not None), default=None)


def tables(results: Sequence[CellResult], share: float) -> tuple[Table, ...]:
    """All of them."""
    a = (_cells(results, share), _hindsight(results, share), _unreached(results, share))
    days = [DayResult(r.cell, r.lagcast, r.past) for r in results]
    return (*a, before(days, share), _same_attainment(results), _own_attainment(results), _over_bound(results))


def _cells(results: Sequence[CellResult], share: float) -> Table:
    titles = ("CELL", "BOUND h", "LAGCAST", "x BOUND", "REACTIVE", "x BOUND",
              *(f"{policy} x BOUND" for policy in TUNED),
              "COST / PEER", f"COST / {OTHERS[0]}", "COST / REACTIVE")  # fmt: skip
    lines = []
    for group in groups(results):
        bound = mean(r.bound for r in group)
        lines.append(
            (
                name(group[0]),
                number(bound, ".0f"),
                percent(mean(r.lagcast.attainment for r in group)),
                number(geometric_mean(over_bound(r.lagcast, r) for r in group)),
                percent(mean(r.reactive.attainment for r in group)),
                number(geometric_mean(over_bound(r.reactive, r) for r in group)),
                *(_best(group, policy, share) for policy in TUNED),
                number(geometric_mean(cost_ratio(r, PEERS) for r in group)),
                number(geometric_mean(cost_ratio(r, OTHERS) for r in group)),
                number(geometric_mean(cost_of_foresight(r) for r in group)),
            )
        )
    about = (
        f"Attainment and GPU-hours in multiples of the bound. Peers: the cheapest setting that reached {share:.4g} in "
        "hindsight, or their highest attainment in brackets. COST / PEER: Lagcast over the cheapest of HPA and KEDA at "
        f"the attainment Lagcast reached; COST / {OTHERS[0]} and COST / REACTIVE (Lagcast without forecasts, at any "
        "headroom) likewise. `-`: it never reaches so much."
    )
    return Table("cells", about, titles, tuple(lines))


def _best(group: Sequence[CellResult], policy: str, share: float) -> str:
    found = [(cheapest(r.sweeps[policy], share), r) for r in group]
    if any(outcome is None for outcome, _ in found):
        most = [highest(r.sweeps[policy]) for r in group]
        return f"({percent(mean(None if m is None else m.attainment for m in most))})"
    return number(geometric_mean(over_bound(outcome, r) for outcome, r in found if outcome is not None))


def over_bound(outcome: Outcome, result: CellResult) -> float | None:
    """Cost in multiples of the bound; None without one."""
    return outcome.gpu_hours / result.bound if result.bound else None


def _hindsight(results: Sequence[CellResult], share: float) -> Table:
    lines = []
    for scenario, every in by_scenario(results).items():
        fit = [r for r in every if reached(r, share)]
        ratios = [cost_ratio(r, PEERS) for r in fit]
        attained = [r.lagcast.attainment for r in fit]
        lines.append(
            (
                scenario,
                str(len(fit)),
                percent(mean(attained)),
                percent(min(attained, default=None)),
                number(geometric_mean(ratios)),
                number(max((x for x in ratios if x is not None), default=None)),
                number(geometric_mean(cost_ratio(r, OTHERS) for r in fit)),
            )
        )
    titles = ("SCENARIO", "CELLS", "MEAN IN TIME", "LOWEST", "COST / PEER", "HIGHEST", f"COST / {OTHERS[0]}")
    return Table("a", "Against the peers in hindsight, where one of them reaches the share.", titles, tuple(lines))


def _unreached(results: Sequence[CellResult], share: float) -> Table:
    lines = []
    for r in (r for r in results if not reached(r, share)):
        attained, most = percent(r.lagcast.attainment), percent(most_of_peers(r))
        lines.append((seed_name(r), attained, most, number(over_static(r, share))))
    titles = ("CELL", "LAGCAST", "HIGHEST OF ALL PEERS", "COST / STATIC PEAK")
    return Table("a, unreached", "Where neither HPA nor KEDA reaches the share at any setting.", titles, tuple(lines))


@dataclass(frozen=True, slots=True)
class Before:
    """Lagcast beside one peer as tuned before: days, and how its cost is to the peer's as a geometric mean."""

    scenario: str
    peer: str
    days: int
    missed: int  # by Lagcast
    missed_by_peer: int
    both_reach: int
    cost: float | None  # where both reach the share; None: on no day
    on_all_days: float | None  # whatever each reached


def against_before(results: Sequence[DayResult], share: float) -> list[Before]:
    """Against the peers as tuned before; a day with one seed counts as a day."""
    found = []
    for scenario, every in by_scenario(results).items():
        for policy in TUNED:
            pairs = [(r.lagcast, r.past[policy]) for r in every]
            both = [(ours, theirs) for ours, theirs in pairs if min(ours.attainment, theirs.attainment) >= share]
            found.append(
                Before(
                    scenario,
                    policy,
                    len(pairs),
                    sum(ours.attainment < share for ours, _ in pairs),
                    sum(theirs.attainment < share for _, theirs in pairs),
                    len(both),
                    geometric_mean(ours.gpu_hours / theirs.gpu_hours for ours, theirs in both),
                    geometric_mean(ours.gpu_hours / theirs.gpu_hours for ours, theirs in pairs),
                )
            )
    return found


def before(results: Sequence[DayResult], share: float) -> Table:
    """See :func:`against_before`."""
    lines = [
        (
            b.scenario,
            b.peer,
            *map(str, (b.days, b.missed, b.missed_by_peer, b.both_reach)),
            *map(number, (b.cost, b.on_all_days)),
        )
        for b in against_before(results, share)
    ]
    about = (
        "Against the peers as tuned on the three days before. COST: Lagcast's over the peer's, where both reach the "
        "share; in the last column on all days, whatever each reached."
    )
    titles = (
        "SCENARIO",
        "PEER",
        "DAYS",
        "MISSED BY LAGCAST",
        "MISSED BY THE PEER",
        "BOTH REACH",
        "COST",
        "ON ALL DAYS",
    )
    return Table("b", about, titles, tuple(lines))


def each_day(results: Sequence[DayResult]) -> Table:
    """What each scored day came to, with each seed."""
    lines = []
    for r in results:
        line = [percent(r.lagcast.attainment), number(r.lagcast.gpu_hours, ".0f")]
        for policy in TUNED:
            theirs = r.past[policy]
            line += [percent(theirs.attainment), number(r.lagcast.gpu_hours / theirs.gpu_hours)]
        lines.append((seed_name(r), *line))
    titles = ("DAY", "LAGCAST", "GPU-HOURS", *(title for policy in TUNED for title in (policy, "COST")))
    about = (
        "Each scored day: what was in time, and Lagcast's cost over each peer's as tuned before, whatever each reached."
    )
    return Table("b, each day", about, titles, tuple(lines))


def _same_attainment(results: Sequence[CellResult]) -> Table:
    lines = []
    for scenario, every in by_scenario(results).items():
        ratios = [cost_of_foresight(r) for r in every]
        left = [r for r, ratio in zip(every, ratios, strict=True) if ratio is None]
        most = [highest(without(r)) for r in left]
        known = [ratio for ratio in ratios if ratio is not None]
        lines.append(
            (
                scenario,
                str(len(every)),
                number(geometric_mean(known)),
                number(max(known, default=None)),
                str(len(left)),
                percent(mean(r.lagcast.attainment for r in left)),
                percent(mean(None if m is None else m.attainment for m in most)),
            )
        )
    about = (
        "Lagcast over Lagcast without forecasts, at the attainment that Lagcast reached: read from the frontier of the "
        "same plan without forecasts, over its headroom. NOT REACHED: cells in which it comes to that attainment at no "
        "headroom; they are left out of the mean, and the last columns say what each of the two reached there."
    )
    titles = ("SCENARIO", "CELLS", "COST", "HIGHEST", "NOT REACHED", "THERE LAGCAST", "THERE WITHOUT")
    return Table("c", about, titles, tuple(lines))


def _own_attainment(results: Sequence[CellResult]) -> Table:
    lines = []
    for scenario, every in by_scenario(results).items():
        ours, theirs = [r.lagcast.attainment for r in every], [r.reactive.attainment for r in every]
        lines.append(
            (
                scenario,
                str(len(every)),
                percent(mean(ours)),
                percent(mean(theirs)),
                str(sum(a > b for a, b in zip(ours, theirs, strict=True))),
                str(sum(a < b for a, b in zip(ours, theirs, strict=True))),
                number(geometric_mean(r.lagcast.gpu_hours / r.reactive.gpu_hours for r in every)),
            )
        )
    about = "The same, both at their defaults, each at the attainment it reached, and in how many cells it was more."
    titles = ("SCENARIO", "CELLS", "IN TIME", "WITHOUT", "MORE WITH", "MORE WITHOUT", "COST")
    return Table("c, each at its own", about, titles, tuple(lines))


def _over_bound(results: Sequence[CellResult]) -> Table:
    lines = []
    for trace in (SMOOTH, CROWDED):
        for scenario, every in by_scenario([r for r in results if r.cell.trace == trace]).items():
            ratio = geometric_mean(over_bound(r.lagcast, r) for r in every)
            lines.append((trace, scenario, str(len(every)), number(ratio)))
    about = (
        f"Against the bound, on the traces with a daily cycle. The bound of figure e is asked of {SMOOTH}, whose load "
        f"is the cycle alone; {CROWDED} has flash crowds, too."
    )
    return Table("e", about, ("TRACE", "SCENARIO", "CELLS", "x BOUND"), tuple(lines))


def by_scenario(results: Sequence[R]) -> dict[str, list[R]]:
    """The results of each scenario, in order."""
    found: dict[str, list[R]] = {}
    for result in results:
        found.setdefault(result.cell.scenario, []).append(result)
    return found


def groups(results: Sequence[R]) -> list[list[R]]:
    """The seeds of each cell together."""
    found: dict[str, list[R]] = {}
    for result in results:
        found.setdefault(name(result), []).append(result)
    return list(found.values())


def name(result: OfCell) -> str:
    """Without the seed."""
    cell = result.cell
    return f"{cell.scenario} {cell.trace} {cell.day}"


def seed_name(result: OfCell) -> str:
    """With the seed."""
    return f"{name(result)}, seed {result.cell.seed}"
