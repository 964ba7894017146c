"""Longer lead times, side by side: what they cost the peers, and what they cost Lagcast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulations.bench import LAGCAST, TUNED, outcome, swept
from simulations.bench_jobs import BenchJob, Kind
from simulations.bench_runner import Runner, Show
from simulations.bench_tables import by_scenario, groups, name
from simulations.compare import Outcome, cheapest, geometric_mean
from simulations.scenarios import Cell
from simulations.table import Table, mean, number, percent

Pair = tuple[Outcome | None, Outcome | None]


@dataclass(frozen=True, slots=True, eq=False)
class SlowerResult:
    """One cell with one seed, at lead times as they are and longer. ``peers``: the cheapest that reached the share."""

    cell: Cell
    lagcast: tuple[Outcome, Outcome]
    peers: dict[str, Pair]


@dataclass(frozen=True, slots=True, eq=False)
class Slower:
    """The cells at two lead times. ``runners``: as they are, and longer."""

    cells: Sequence[Cell]
    runners: tuple[Runner, Runner]

    def seconds(self) -> float:
        """About how long what is left of it takes."""
        return sum(runner.seconds(self._jobs()) for runner in self.runners)

    def run(self, show: Show) -> tuple[SlowerResult, ...]:
        """All cells. Raises JobFailed."""
        phases = ("lead times as they are", "lead times longer")
        one, two = (r.results(phase, self._jobs(), show) for phase, r in zip(phases, self.runners, strict=True))
        share = self.runners[0].parameters.share
        return tuple(
            SlowerResult(
                c,
                (outcome(one, BenchJob(Kind.RUN, c, LAGCAST)), outcome(two, BenchJob(Kind.RUN, c, LAGCAST))),
                {p: (cheapest(swept(one, c, p), share), cheapest(swept(two, c, p), share)) for p in TUNED},
            )
            for c in self.cells
        )

    def _jobs(self) -> list[BenchJob]:
        runs = [BenchJob(Kind.RUN, c, LAGCAST) for c in self.cells]
        return runs + [BenchJob(Kind.SWEEP, c, policy) for policy in TUNED for c in self.cells]


def slower_tables(results: Sequence[SlowerResult], factor: float, share: float) -> tuple[Table, ...]:
    """Cells side by side, and what they come to."""
    longer = f"x {factor:g}"
    titles = ("CELL", "LAGCAST", longer, "LAGCAST h", longer, "RATIO",
              *(title for policy in TUNED for title in (f"{policy} h", longer, "RATIO")))  # fmt: skip
    lines = []
    for group in groups(results):
        at = [[r.lagcast[k] for r in group] for k in (0, 1)]
        line = [name(group[0]), *(percent(mean(o.attainment for o in some)) for some in at)]
        line += _side_by_side([r.lagcast for r in group])
        for policy in TUNED:
            line += _side_by_side([r.peers[policy] for r in group])
        lines.append(tuple(line))
    about = (
        f"Lead times of pods and nodes as they are, and times {factor:g}: GPU-hours side by side. Peers: the cheapest "
        f"setting that reached {share:.4g} in hindsight at those lead times; `-`: none did. Lagcast at its defaults, "
        "told of its lead times as they are declared: by their largest."
    )
    summary = []
    for scenario, every in by_scenario(results).items():
        pairs: list[list[Pair]] = [[r.lagcast for r in every], *([r.peers[policy] for r in every] for policy in TUNED)]
        lows = (percent(mean(r.lagcast[k].attainment for r in every)) for k in (0, 1))
        lost = (str(sum(a is not None and b is None for a, b in some)) for some in pairs[1:])
        ratios = (number(increase(some)) for some in pairs)
        summary.append((scenario, str(len(every)), *lows, *ratios, *lost))
    heads = ("SCENARIO", "CELLS", "LAGCAST", longer, "COST, LAGCAST", *(f"COST, {p}" for p in TUNED),
             *(f"LOST, {p}" for p in TUNED))  # fmt: skip
    what = (
        "What longer lead times multiply the cost by, as a geometric mean. LOST: cells in which a peer reached the "
        "share before, and no longer does at any setting; they are not in its mean."
    )
    return Table("g", what, heads, tuple(summary)), Table("g, cells", about, titles, tuple(lines))


def _side_by_side(pairs: Sequence[Pair]) -> list[str]:
    hours = [mean(None if pair[k] is None else pair[k].gpu_hours for pair in pairs) for k in (0, 1)]  # type: ignore[union-attr]
    ratio = increase(pairs) if None not in hours else None
    return [number(hours[0], ".0f"), number(hours[1], ".0f"), number(ratio)]


def increase(pairs: Iterable[Pair]) -> float | None:
    """What longer lead times multiply the cost by, as a geometric mean of those known at both; None: there is none."""
    return geometric_mean(two.gpu_hours / one.gpu_hours for one, two in pairs if one is not None and two is not None)
