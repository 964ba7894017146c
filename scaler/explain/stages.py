"""The stages of one decision, made from a tick's facts: pure, and only when somebody looks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from scaler.explain.explanation import VERSION, Explanation, Quantity, Stage, StageName, figure
from scaler.explain.facts import Facts, Pool, Source, lead_time
from scaler.explain.others import others
from scaler.explain.reasons import of_stage, said
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from scaler.plan.schedule import Schedule

UNKNOWN = "?"


def explain(facts: Facts) -> Explanation:
    """How the decision of a tick came about. The same facts give the same explanation."""
    decision = facts.decision
    return Explanation(
        version=VERSION,
        namespace=facts.namespace,
        name=facts.name,
        uid=decision.uid,
        target=facts.target,
        mode=facts.mode,
        time=decision.time,
        current=decision.current,
        desired=decision.desired,
        reasons=decision.reasons,
        outcome=facts.outcome,
        summary=_summary(facts),
        stages=(
            _inputs(facts),
            _load(facts),
            _capacity(facts),
            _lead_time(facts),
            _forecast(facts),
            _demand(facts),
            _floor(facts),
            _scale_in(facts),
            _limits(facts),
            *(() if facts.pool is None else (_nodes(facts.pool),)),
            _outcome(facts),
            _others(facts),
        ),
    )


def _summary(facts: Facts) -> str:
    decision = facts.decision
    first = said(decision.reasons[0]).sentence if decision.reasons else "No reason was given."
    if decision.desired is None:
        return f"No count is wanted. {first}"
    if decision.desired == decision.current:
        return f"{_replicas(decision.current)} {_one(decision.current, 'stays', 'stay')}. {first}"
    return f"From {_count(decision.current)} to {_replicas(decision.desired)}. {first}"


def _stage(facts: Facts, name: StageName, numbers: Iterable[Quantity], sentence: str) -> Stage:
    return Stage(name, tuple(numbers), of_stage(name, (*facts.decision.reasons, facts.outcome)), sentence)


# --- what was read


def _inputs(facts: Facts) -> Stage:
    now = facts.decision.time
    numbers = [Quantity(f"{s.name} age", round(_age(s, now), 3), "s", f"{s.freshness}") for s in facts.sources]
    seen = facts.offsets
    if seen is not None:
        numbers += [
            Quantity("partitions", seen.partitions),
            Quantity("end offsets", seen.end, "messages", "sum over the partitions"),
            Quantity("committed offsets", seen.committed, "messages", "sum over the partitions"),
            Quantity("largest backlog of a partition", seen.largest_backlog, "messages"),
        ]
        if seen.without_commit:
            numbers.append(Quantity("partitions without a commit", seen.without_commit))
    if facts.latency is not None:
        window = facts.latency.window
        note = "" if window is None else f"over the last {window:g} s"
        quantiles = (("p50", facts.latency.p50), ("p95", facts.latency.p95), ("p99", facts.latency.p99))
        numbers += [Quantity(f"latency {name}", value, "s", note) for name, value in quantiles]
        numbers.append(Quantity("requests served", facts.latency.count, "requests", note))
    pods = facts.replicas
    if pods is not None:
        numbers += [
            Quantity("replicas asked for", pods.desired, "replicas"),
            Quantity("ready", pods.ready, "replicas"),
            Quantity("pods not ready", pods.pending, "replicas"),
            Quantity("terminating", pods.terminating, "replicas"),
        ]
        if pods.oldest_pending is not None:
            numbers.append(Quantity("longest pending", round(max(now - pods.oldest_pending, 0.0), 3), "s"))
    wrong = [s for s in facts.sources if s.freshness is not Freshness.FRESH]
    ages = ", ".join(f"{s.name} {figure(_age(s, now))} s old" for s in facts.sources if s not in wrong)
    parts = [f"{ages[:1].upper()}{ages[1:]}: fresh."] if ages else []
    parts += [f"{s.name.capitalize()} is {s.freshness}{f' ({s.detail})' if s.detail else ''}." for s in wrong]
    return _stage(facts, StageName.INPUTS, numbers, " ".join(parts) or "Nothing was read.")


def _load(facts: Facts) -> Stage:
    n = facts.decision.numbers
    numbers = (
        Quantity("arrival rate", n.arrival_rate, "requests/s", "since the tick before"),
        Quantity("level", n.level, "requests/s", "at which the present is held"),
        Quantity("backlog", n.backlog, "messages"),
        Quantity("time lag", n.time_lag, "s", "age of the oldest unconsumed message"),
    )
    arriving = "How much arrives is not known"
    if n.arrival_rate is not None:
        arriving = f"{figure(n.arrival_rate)} requests/s arrive"
    if n.backlog is None:
        waiting = "what waits is not known"
    elif n.backlog < 1:
        waiting = "nothing waits"
    else:
        age = "" if n.time_lag is None else f", the oldest {figure(n.time_lag)} s old"
        count = round(n.backlog)
        waiting = f"{count} {_one(count, 'message waits', 'messages wait')}{age}"
    return _stage(facts, StageName.LOAD, numbers, f"{arriving}; {waiting}.")


def _capacity(facts: Facts) -> Stage:
    n, declared = facts.decision.numbers, facts.service.service_rate
    assignor = None if facts.offsets is None else facts.offsets.assignor
    numbers = [
        Quantity("service rate", n.service_rate, "requests/s", f"of one replica; declared {figure(declared, 4)}"),
        Quantity("planned rate", n.planned_rate, "requests/s", "of it, so that queues stay short"),
        Quantity("ready", n.ready, "replicas"),
        Quantity("pending", n.pending, "replicas", "asked for, not serving"),
        Quantity("partitions", n.partitions),
        Quantity("assignor", assignor, "", "how the group splits them, as Kafka tells"),
        Quantity("useful replicas", n.useful_replicas, "replicas", "more could not be given work"),
    ]
    if n.waiting_for_node is not None:
        numbers.append(Quantity("waiting for a node", n.waiting_for_node, "replicas", "of the pending ones"))
    if n.service_rate is None:
        parts = [f"One replica is taken to serve {figure(declared)} requests/s, as declared"]
    else:
        parts = [f"One replica serves {figure(n.service_rate)} requests/s (declared {figure(declared)})"]
        if n.ready is not None:
            parts.append(f"{n.ready} ready {_one(n.ready, 'one', 'ones')} {figure(n.ready * n.service_rate)}")
    coming = (n.pending or 0) - (n.waiting_for_node or 0)
    if coming > 0:
        parts.append(f"{coming} more {_one(coming, 'is', 'are')} on the way")
    if n.waiting_for_node:
        parts.append(f"{n.waiting_for_node} {_one(n.waiting_for_node, 'waits', 'wait')} for room on a node")
    useful = n.useful_replicas
    if useful is not None:
        parts.append(f"more than {useful} could not be given work")
    elif n.partitions is not None and n.partitions < facts.service.max_replicas:
        give = _one(n.partitions, "partition gives", "partitions give")
        parts.append(f"{n.partitions} {give} work to no more replicas than that")
    return _stage(facts, StageName.CAPACITY, numbers, "; ".join(parts) + ".")


# --- what was foreseen


def _lead_time(facts: Facts) -> Stage:
    learned, declared = facts.decision.numbers.lead_time, facts.service.pod_lead_time
    node = facts.service.node_lead_time
    where = f" where a node has room; a node takes {node:.0f} s more" if node else ""
    numbers = (Quantity("lead time", learned, "s", f"95 % point of what was learned; declared {declared:g} s{where}"),)
    if learned is None:
        sentence = f"A replica asked for now is taken to serve in {declared:.0f} s, as declared{where}."
    else:
        sentence = f"A replica asked for now serves in {learned:.0f} s (declared {declared:.0f} s){where}."
    return _stage(facts, StageName.LEAD_TIME, numbers, sentence)


def _forecast(facts: Facts) -> Stage:
    f = facts.decision.numbers.forecast
    if f is None:
        return _stage(facts, StageName.FORECAST, (), "Nothing was forecast.")
    quantiles = (("5 %", f.p05), ("50 %", f.p50), ("95 %", f.p95), ("99 %", f.p99))
    numbers = [Quantity("forecast at", f.at, "s", f"ahead of now, by {f.model or UNKNOWN}")]
    numbers += [Quantity(f"forecast {share}", value, "requests/s") for share, value in quantiles]
    sentence = (
        f"In {f.at:.0f} s, {f.model or 'the forecaster'} expects {figure(f.p50)} requests/s, "
        f"and with 95 % at most {figure(f.p95)}."
    )
    return _stage(facts, StageName.FORECAST, numbers, sentence)


def _demand(facts: Facts) -> Stage:
    n = facts.decision.numbers
    rate = n.planned_rate or n.service_rate or facts.service.service_rate
    numbers = [Quantity("cheapest", n.forecast_replicas, "replicas", "over the sample paths")]
    if n.forecast is not None:
        for share, value in (("50 %", n.forecast.p50), ("95 %", n.forecast.p95)):
            note = f"forecast over {figure(rate)} requests/s a replica"
            numbers.append(Quantity(f"for the {share} forecast", math.ceil(value / rate - 1e-9), "replicas", note))
    if n.late_share is not None:
        numbers.append(Quantity("expected late share", n.late_share, "", f"allowed {figure(1 - facts.service.share)}"))
    wanted = n.forecast_replicas
    sentence = "Nothing was planned ahead." if wanted is None else f"Planning ahead asks for {_replicas(wanted)}."
    if n.pool_replicas is not None:
        note = "nodes that are paid for are filled, by what a GPU is worth to each service"
        numbers.append(Quantity("by the pool's plan", n.pool_replicas, "replicas", note))
        sentence += f" The pool's plan gives it {_replicas(n.pool_replicas)}."
    return _stage(facts, StageName.DEMAND, numbers, sentence)


def _floor(facts: Facts) -> Stage:
    floor = facts.decision.numbers.floor_replicas
    numbers = (
        Quantity("floor", floor, "replicas", "arrivals at their newest level, pending counted, backlog drained"),
    )
    sentence = "What the present needs is not known." if floor is None else f"The present needs {_replicas(floor)}."
    return _stage(facts, StageName.FLOOR, numbers, sentence)


# --- what bounded it


def _scale_in(facts: Facts) -> Stage:
    n, hold = facts.decision.numbers, facts.service.scale_in_hold
    note = "a lower count must have been the answer for so long"
    if n.pool_replicas is not None:
        hold, note = 0.0, "the pool's plan itself holds what was lately needed"
    numbers = (
        Quantity("hold", hold, "s", note),
        Quantity("lately needed", n.held_replicas, "replicas", "at most, within four lead times"),
        Quantity("after scale-in rules", n.bounded_replicas, "replicas"),
    )
    held = of_stage(StageName.SCALE_IN, facts.decision.reasons)
    sentence = " ".join(one.sentence for one in held) or "Nothing held the count up."
    return _stage(facts, StageName.SCALE_IN, numbers, sentence)


def _limits(facts: Facts) -> Stage:
    s = facts.service
    numbers = [Quantity("min", s.min_replicas, "replicas"), Quantity("max", s.max_replicas, "replicas")]
    steps = (("max scale-out", s.max_scale_out), ("max scale-in", s.max_scale_in))
    numbers += [Quantity(name, step, "replicas", "a tick") for name, step in steps if step is not None]
    if s.schedule:
        ahead = s.surely_after(lead_time(facts.decision, s))
        now = Schedule(s.min_replicas, s.max_replicas, s.schedule).limits(facts.decision.time, ahead)
        numbers.append(Quantity("min now", now.least, "replicas", f"by the schedule, {ahead:.0f} s ahead"))
        numbers.append(Quantity("max now", now.most, "replicas", "by the schedule"))
    room = facts.decision.numbers.pool_room
    if room is not None:
        numbers.append(Quantity("room in the pool", room, "replicas", "its part of a full pool"))
    moved = of_stage(StageName.LIMITS, facts.decision.reasons)
    sentence = " ".join(one.sentence for one in moved) or "No limit binds."
    return _stage(facts, StageName.LIMITS, numbers, sentence)


def _nodes(pool: Pool) -> Stage:
    """What the plan of the whole pool came to: for all services on it together."""
    d, age = pool.decision, _age(pool.source, pool.decision.time)
    middle, high = (None, None) if d.needed is None else (round(gpus, 1) for gpus in d.needed)
    numbers = (
        Quantity("pool", pool.name),
        Quantity(f"{pool.source.name} age", round(age, 3), "s", f"{pool.source.freshness}"),
        Quantity("ready nodes", pool.ready, "nodes"),
        Quantity("pending nodes", pool.pending, "nodes", "asked for, not Ready"),
        Quantity("empty nodes", pool.empty, "nodes", "Ready, without a pod"),
        Quantity("nodes to keep", d.kept, "nodes", "of the Ready ones"),
        Quantity("needed then", middle, "GPUs", "by all services when a node ordered now serves: the median path"),
        Quantity("needed at most", high, "GPUs", "95 % of the paths"),
        Quantity("nodes to order", d.ordered, "nodes", "for what comes within the node lead time"),
        Quantity("least nodes written", pool.written, "nodes", "until now"),
        Quantity("least nodes", d.floor, "nodes", "to be written"),
        Quantity("node lead time", d.lead_time, "s", "95 % point, from asked for to Ready"),
    )
    reasons = tuple(said(reason) for reason in dict.fromkeys(d.reasons))
    if d.floor is None:
        sentence = f"No count is written for pool {pool.name}."
    else:
        kept = "" if d.kept is None else f"keeps {d.kept} of {_count(pool.ready)} Ready nodes, "
        ordered = f"orders {d.ordered} more and " if d.ordered else ""
        sentence = f"The plan of pool {pool.name} {kept}{ordered}wants {d.floor} at least."
    if pool.source.freshness is not Freshness.FRESH:
        sentence += f" Its nodes are not known now ({pool.source.detail or pool.source.freshness})."
    if d.vacate:
        sentence += " Pods are marked such that the emptiest node is emptied first."
    return Stage(StageName.NODES, numbers, reasons, sentence)


def _outcome(facts: Facts) -> Stage:
    decision = facts.decision
    numbers = (Quantity("current", decision.current, "replicas"), Quantity("desired", decision.desired, "replicas"))
    # Where the decision was that no count may be written, its own reason comes back as the outcome.
    became = of_stage(StageName.OUTCOME, (*decision.reasons, facts.outcome))
    if became:
        sentence = " ".join(one.sentence for one in became)
    elif decision.desired is None:
        sentence = "No count was written."
    else:
        sentence = "What became of the decision is not recorded."
    if facts.outcome is not None and _tells(facts):
        sentence += f" {facts.detail[:1].upper()}{facts.detail[1:]}."
    return _stage(facts, StageName.OUTCOME, numbers, sentence)


def _tells(facts: Facts) -> bool:
    """Whether the outcome's detail says more than the decision's own numbers, which it repeats where it was written."""
    return bool(facts.detail) and facts.outcome not in (Reason.APPLIED, Reason.RECOMMENDED)


def _others(facts: Facts) -> Stage:
    numbers = others(facts)
    known = [f"{q.name} {q.value}" for q in numbers if q.value is not None]
    sentence = f"Bare rules would have said: {', '.join(known)}." if known else "No other rule has what it needs."
    return _stage(facts, StageName.OTHERS, numbers, sentence)


def _age(source: Source, now: float) -> float:
    return max(now - source.time, 0.0)


def _count(count: int | None) -> str:
    return UNKNOWN if count is None else str(count)


def _replicas(count: int | None) -> str:
    return f"{_count(count)} {_one(count, 'replica', 'replicas')}"


def _one(count: int | None, singular: str, plural: str) -> str:
    return singular if count == 1 else plural
