"""The benchmark's tables: one row a cell, and what they come to.

**Cost against a peer** is Lagcast's GPU-hours over that peer's at the attainment Lagcast reached: read from the peer's
frontier by linear interpolation (:func:`simulations.compare.hours_at`), at the attainment or ``MOST``, whichever is
lower, since no sweep goes on beyond that. "The cheapest peer" is the cheapest of the HPA on the arrival rate and KEDA
on the lag. There is no such figure where no peer reaches so much. Over seeds and cells figures are averaged:
attainments and hours arithmetically, ratios geometrically.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulations.bench import OTHERS, PEERS, STATIC, TUNED, CellResult
from simulations.compare import MOST, Outcome, cheapest, geometric_mean, highest, hours_at

DIURNAL = "azfunc_diurnal"


@dataclass(frozen=True, slots=True)
class Table:
    """Text to be shown as it is."""

    name: str
    about: str
    titles: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def cost_ratio(result: CellResult, policies: Sequence[str]) -> float | None:
    """Lagcast's cost over the cheapest of ``policies`` at the attainment Lagcast reached; None: none reaches it."""
    return _ratio(result.lagcast, [result.sweeps[policy] for policy in policies])


def _ratio(outcome: Outcome, sweeps: Iterable[Sequence[Outcome]]) -> float | None:
    hours = [hours_at(sweep, min(outcome.attainment, MOST)) for sweep in sweeps]
    least = min((h for h in hours if h is not None), default=None)
    return None if not least else outcome.gpu_hours / least


def reached(result: CellResult, share: float) -> bool:
    """Whether one of the peers attains ``share`` at any setting."""
    return any(cheapest(result.sweeps[policy], share) is not None for policy in PEERS)


def tables(results: Sequence[CellResult], share: float) -> tuple[Table, ...]:
    """All of them."""
    return (_cells(results, share), *_summaries(results, share))


def _cells(results: Sequence[CellResult], share: float) -> Table:
    titles = ("CELL", "BOUND h", "LAGCAST", "x BOUND", "REACTIVE", "x BOUND",
              *(f"{policy} x BOUND" for policy in TUNED), "COST / PEER", f"COST / {OTHERS[0]}")  # fmt: skip
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
            )
        )
    about = (
        f"Attainment and GPU-hours in multiples of the bound. Peers: the cheapest setting that reached {share:.4g} in "
        "hindsight, or their highest attainment in brackets. COST / PEER: Lagcast over the cheapest of HPA and KEDA at "
        "the attainment Lagcast reached."
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


def _summaries(results: Sequence[CellResult], share: float) -> tuple[Table, ...]:
    scenarios = list(dict.fromkeys(r.cell.scenario for r in results))
    titles = ("SCENARIO", "CELLS", "MEAN IN TIME", "LOWEST", "COST / PEER", "HIGHEST", f"COST / {OTHERS[0]}")
    a, unreached, b, c, e = [], [], [], [], []
    for scenario in scenarios:
        every = [r for r in results if r.cell.scenario == scenario]
        fit = [r for r in every if reached(r, share)]
        ratios = [cost_ratio(r, PEERS) for r in fit]
        attained = [r.lagcast.attainment for r in fit]
        a.append(
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
        unreached += [_unreached(r, share) for r in every if not reached(r, share)]
        b += [_before(scenario, every, policy, share) for policy in TUNED]
        own = [r.lagcast.attainment for r in every], [r.reactive.attainment for r in every]
        hours = geometric_mean(r.lagcast.gpu_hours / r.reactive.gpu_hours for r in every)
        c.append((scenario, str(len(every)), percent(mean(own[0])), percent(mean(own[1])), number(hours)))
        day = [r for r in every if r.cell.trace == DIURNAL]
        e.append((scenario, str(len(day)), number(geometric_mean(over_bound(r.lagcast, r) for r in day))))
    return (
        Table("a", "Against the peers in hindsight, where one of them reaches the share.", titles, tuple(a)),
        Table(
            "a, unreached",
            "Where neither HPA nor KEDA reaches the share at any setting.",
            ("CELL", "LAGCAST", "HIGHEST OF ALL PEERS", "COST / STATIC PEAK"),
            tuple(unreached),
        ),
        Table(
            "b",
            "Against the peers as tuned on the three days before. COST: where both reach the share.",
            ("SCENARIO", "PEER", "DAYS", "MISSED BY LAGCAST", "MISSED BY THE PEER", "BOTH REACH", "COST"),
            tuple(b),
        ),
        Table(
            "c",
            "Lagcast over Lagcast without forecasts, each at the attainment it reached.",
            ("SCENARIO", "CELLS", "IN TIME", "WITHOUT", "COST"),
            tuple(c),
        ),
        Table("e", f"Against the bound on {DIURNAL}.", ("SCENARIO", "CELLS", "x BOUND"), tuple(e)),
    )


def _unreached(result: CellResult, share: float) -> tuple[str, ...]:
    most = [highest(result.sweeps[policy]) for policy in TUNED]
    peak = cheapest(result.sweeps[STATIC], share) or highest(result.sweeps[STATIC])
    return (
        f"{name(result)}, seed {result.cell.seed}",
        percent(result.lagcast.attainment),
        percent(max((m.attainment for m in most if m is not None), default=None)),
        number(None if peak is None else result.lagcast.gpu_hours / peak.gpu_hours),
    )


def _before(scenario: str, results: Sequence[CellResult], policy: str, share: float) -> tuple[str, ...]:
    pairs = [(r.lagcast, r.past[policy]) for r in results]
    both = [(ours, theirs) for ours, theirs in pairs if min(ours.attainment, theirs.attainment) >= share]
    return (
        scenario,
        policy,
        str(len(pairs)),
        str(sum(ours.attainment < share for ours, _ in pairs)),
        str(sum(theirs.attainment < share for _, theirs in pairs)),
        str(len(both)),
        number(geometric_mean(ours.gpu_hours / theirs.gpu_hours for ours, theirs in both)),
    )


def groups(results: Sequence[CellResult]) -> list[list[CellResult]]:
    """The seeds of each cell together."""
    found: dict[str, list[CellResult]] = {}
    for result in results:
        found.setdefault(name(result), []).append(result)
    return list(found.values())


def name(result: CellResult) -> str:
    """Without the seed."""
    cell = result.cell
    return f"{cell.scenario} {cell.trace} {cell.day}"


def mean(values: Iterable[float | None]) -> float | None:
    """None when one is not known."""
    known = list(values)
    return None if not known or any(v is None for v in known) else sum(v for v in known if v is not None) / len(known)


def number(value: float | None, spec: str = ".2f") -> str:
    """``-`` for what is not known."""
    return "-" if value is None else format(value, spec)


def percent(share: float | None) -> str:
    """Rounded down, so that nothing looks attained that was not."""
    return "-" if share is None else f"{int(share * 10_000 + 1e-6) / 100:.2f}%"


def markdown(made: Sequence[Table], command: str, version: str, about: str) -> str:
    """A page of docs: what was run, by which command, and the tables."""
    parts = [
        "# Results\n",
        f"Every number on this page is made by `{command}` (version {version}). {about}\n",
    ]
    for table in made:
        parts.append(f"## {table.name[0].upper()}{table.name[1:]}\n")
        parts.append(f"{table.about}\n")
        rule = "|".join("---" for _ in table.titles)
        rows = [f"| {' | '.join(line)} |" for line in (table.titles, *table.lines)]
        parts.append("\n".join([rows[0], f"|{rule}|", *rows[1:]]) + "\n")
    return "\n".join(parts)
