"""A decision in words: made only when someone looks (an Event, a log line, the status page)."""

from __future__ import annotations

from scaler.plan.decision import Numbers, ServiceDecision


def change(decision: ServiceDecision) -> str:
    """One sentence with the numbers, for example "4 -> 9: Forecast; 55 requests/s ..."."""
    return f"{_count(decision.current)} -> {_count(decision.desired)}: {because(decision)}"


def because(decision: ServiceDecision) -> str:
    """The reasons and the numbers."""
    return f"{', '.join(decision.reasons)}; {numbers(decision.numbers)}"


def numbers(n: Numbers) -> str:
    """The numbers that are known, in the order in which they were used."""
    parts = []
    if n.arrival_rate is not None:
        parts.append(f"arrivals {n.arrival_rate:.3g} requests/s")
    if n.backlog:
        lag = "" if n.time_lag is None else f" ({n.time_lag:.3g} s old)"
        parts.append(f"backlog {n.backlog:.0f}{lag}")
    if n.forecast is not None:
        f = n.forecast
        parts.append(f"forecast in {f.at:.0f} s {f.p50:.3g} (95 %: {f.p95:.3g}) requests/s")
    if n.service_rate is not None:
        parts.append(f"{n.service_rate:.3g} requests/s a replica")
    if n.lead_time is not None:
        parts.append(f"lead time {n.lead_time:.0f} s")
    if n.forecast_replicas is not None:
        parts.append(f"forecast asks for {n.forecast_replicas}")
    if n.floor_replicas is not None:
        parts.append(f"the present needs {n.floor_replicas}")
    return ", ".join(parts) or "no numbers yet"


def _count(count: int | None) -> str:
    return "?" if count is None else str(count)
