"""Services on one pool: what each of them reached, and what its peers pay when each service reaches as much."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.bench import TUNED, CellResult
from simulations.compare import MOST, Outcome, cheapest, geometric_mean, highest
from simulations.table import Table, mean, number, percent


def pool_table(results: Sequence[CellResult], share: float) -> Table | None:
    """A line for each service, and one of costs; None where no cell has several services."""
    shared = [r for r in results if len(r.lagcast.measures) > 1]
    if not shared:
        return None
    lines = []
    for uid in dict.fromkeys(m.uid for r in shared for m in r.lagcast.measures):
        own = percent(mean(_attained(r.lagcast, uid) for r in shared))
        theirs = (percent(mean(_attained(_shown(r, policy, share), uid) for r in shared)) for policy in TUNED)
        lines.append((uid, own, *theirs))
    hours = mean(r.lagcast.gpu_hours for r in shared)
    shown = (mean(_shown(r, policy, share).gpu_hours for r in shared) for policy in TUNED)
    lines.append(("GPU-hours", number(hours, ".0f"), *(number(h, ".0f") for h in shown)))
    ratios = (geometric_mean(ratio for r in shared if (ratio := cost_at_each(r, policy))) for policy in TUNED)
    lines.append(("COST, each as here", "1.00", *(number(ratio) for ratio in ratios)))
    about = (
        "Services on one pool, each for itself. Peers: the cheapest setting at which every service reached "
        f"{share:.4g}, or the one that reached most. Last line: Lagcast's cost over the cheapest setting at which "
        "every service reached what it reached under Lagcast; `-`: there is none."
    )
    return Table("i", about, ("SERVICE", "LAGCAST", *TUNED), tuple(lines))


def cost_at_each(result: CellResult, policy: str) -> float | None:
    """Lagcast's cost over the cheapest setting at which each service attains what it does under Lagcast."""
    wanted = {m.uid: min(m.attainment, MOST) for m in result.lagcast.measures}
    fit = [
        o.gpu_hours
        for o in result.sweeps[policy]
        if all(m.attainment >= wanted[m.uid] for m in o.measures if m.requests > 0)
    ]
    return result.lagcast.gpu_hours / min(fit) if fit else None


def _shown(result: CellResult, policy: str, share: float) -> Outcome:
    found = cheapest(result.sweeps[policy], share) or highest(result.sweeps[policy])
    return result.sweeps[policy][-1] if found is None else found


def _attained(outcome: Outcome, uid: str) -> float | None:
    return next((m.attainment for m in outcome.measures if m.uid == uid), None)
