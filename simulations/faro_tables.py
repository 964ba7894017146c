"""Faro's evaluation as a table of results: what was run here, and beside it what that paper's artifact reports."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import fmean

from simulations.faro_input import Published
from simulations.faro_run import FaroResult
from simulations.table import Table, percent

_REPEAT = re.compile(r"_\d+$")  # a real cluster's runs are numbered
_BASELINES = {"aiad": "AIAD", "mark": "MArk"}


def evaluation(results: Sequence[FaroResult], published: Sequence[Published]) -> Table:
    """A line for each total and policy: ours, then the published simulated ones, then those of a real cluster."""
    lines: list[tuple[str, ...]] = []
    for total in dict.fromkeys(r.run.total for r in results):
        for policy in dict.fromkeys(r.run.policy for r in results):
            runs = [r for r in results if (r.run.policy, r.run.total) == (policy, total)]
            if runs:
                lines.append(_line(total, policy, "here", [r.missed for r in runs]))
        for simulated in (True, False):
            theirs = _families(published, total, simulated)
            where = f"published, {'simulated' if simulated else 'a real cluster'}"
            for family, name in _BASELINES.items():
                if family in theirs:
                    lines.append(_line(total, name, where, theirs[family]))
            best = min((f for f in theirs if f.startswith("faro")), key=lambda f: fmean(theirs[f]), default=None)
            if best is not None:
                lines.append(_line(total, "Faro, its best", where, theirs[best]))
    about = (
        "Share of requests that were not answered within 720 ms, the refused among them, over all services: the mean "
        "over the runs, and the least and the most of them. Published: what the artifact of Faro (EuroSys 2025) "
        "reports of its own runs, the best of its policies by their mean; they are not run here."
    )
    return Table("f", about, ("TOTAL", "POLICY", "WHERE", "RUNS", "MISSED", "LEAST", "MOST"), tuple(lines))


def _line(total: int, policy: str, where: str, missed: Sequence[float]) -> tuple[str, ...]:
    shares = (fmean(missed), min(missed), max(missed))
    return (str(total), policy, where, str(len(missed)), *(_missed(share) for share in shares))


def _missed(share: float) -> str:
    """Rounded up, so that nothing looks better than it was."""
    return percent(math.ceil(share * 10_000 - 1e-6) / 10_000)


def _families(published: Sequence[Published], total: int, simulated: bool) -> dict[str, list[float]]:
    """Shares that missed in the published runs of each policy, repeats together."""
    found: dict[str, list[float]] = {}
    for one in published:
        if (one.total, one.simulated) == (total, simulated):
            name = one.policy.partition("(")[0] if simulated else _REPEAT.sub("", one.policy)
            found.setdefault(name, []).append(one.missed)
    return found
