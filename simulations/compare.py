"""Several policies over one load: each swept over its own parameter, the frontier, and its best in hindsight.

A run comes to two numbers: attainment, and GPU-hours. With several services, attainment is the worst service's, and
GPU-hours are summed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scaler.errors import ConfigError
from scaler.plan.decision import GroupDecision
from scaler.plan.observation import GroupObservation
from simulations.errors import BadSetting
from simulations.executor import Done, Executor
from simulations.measures import Measures
from simulations.policies.catalog import Entry, PolicyMaker, entry
from simulations.record import Record
from simulations.setting import Load, Setting

OWN = "lagcast"
LEAST, MOST = 0.97, 0.9995  # attainments between which a sweep tries every value

Options = tuple[tuple[str, str], ...]  # of a policy: (name, value) as on the command line, sorted by name


@dataclass(frozen=True, slots=True)
class Job:
    """One run: a policy with its options. ``value``: of the policy's own parameter, where a sweep set it."""

    policy: str
    options: Options = ()
    value: float | None = None

    @property
    def name(self) -> str:
        """As in tables and messages, such as ``hpa_rate target=0.9``."""
        return " ".join([self.policy, *(f"{name}={value}" for name, value in self.options)])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job's run came to: one row of measures for each service."""

    job: Job
    measures: tuple[Measures, ...]

    @property
    def attainment(self) -> float:
        """Share of requests within the objective, of the service that does worst; NaN where none had a request."""
        known = [m.attainment for m in self.measures if not math.isnan(m.attainment)]
        return min(known) if known else math.nan

    @property
    def gpu_hours(self) -> float:
        """Of all services; without GPUs, replica-hours."""
        return sum(m.gpu_hours for m in self.measures)


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Runs a job over a setting and its loads. Raises ConfigError for an option that the policy does not know.

    ``declared``: how a resource, or a candidate for the defaults, makes the policy ``lagcast``; None: at its defaults.
    """

    setting: Setting
    loads: tuple[Load, ...]
    declared: PolicyMaker | None = None

    def __call__(self, job: Job) -> Outcome:
        """One run."""
        return self.recorded(job)[0]

    def recorded(
        self,
        job: Job,
        *,
        keep_decisions: bool = False,
        progress: Callable[[float], None] | None = None,
        told: Callable[[GroupObservation, GroupDecision], None] | None = None,
    ) -> tuple[Outcome, Record]:
        """One run, with all that it left. ``progress`` and ``told`` as in :func:`simulations.run.simulate`."""
        # Imported in the worker: a sweep's own process compiles nothing.
        from simulations.measures import measure
        from simulations.run import simulate

        policy = self.maker(job)([s.service for s in self.setting.services])
        record = simulate(
            self.setting,
            self.loads,
            policy,
            name=job.name,
            keep_decisions=keep_decisions,
            progress=progress,
            told=told,
        )
        return Outcome(job, measure(record)), record

    def maker(self, job: Job) -> PolicyMaker:
        """How the job's policy is made. Raises ConfigError for an unknown policy or option, or as ``playable``."""
        made = playable(job.policy).make(dict(job.options))
        return self.declared if self.declared is not None and job.policy == OWN and not job.options else made


@dataclass(frozen=True, slots=True, eq=False)
class BoundWork:
    """The least GPU-hours of a clairvoyant schedule over a setting and its loads, of all services together."""

    setting: Setting
    loads: tuple[Load, ...]

    def __call__(self, share: float) -> float | None:
        """With ``share`` to be attained by each service; None where no schedule attains it."""
        from simulations.bound import bounds

        services = tuple(replace(s, service=replace(s.service, share=share)) for s in self.setting.services)
        try:
            found = bounds(replace(self.setting, services=services), self.loads)
        except BadSetting:
            return None
        return sum(b.replica_hours * s.weight for b, s in zip(found, services, strict=True))


def options_of(options: Mapping[str, str]) -> Options:
    """Options in the form that a job keeps."""
    return tuple(sorted(options.items()))


def playable(policy: str) -> Entry:
    """The policy of that name. Raises ConfigError where there is none, or none that this simulation can judge."""
    found = entry(policy)
    if found.needs_latency:
        raise ConfigError(
            f"policy {policy!r} needs end-to-end latency or a total that services share, which"
            f" only the request-level simulation shows; run it with `python -m simulations.faro --policy {policy}`"
        )
    return found


def sweep(policy: str, options: Mapping[str, str] | None = None) -> tuple[Job, ...]:
    """The policy's own parameter over its values; one job where it has none, or where ``options`` set it.

    Raises ConfigError for an unknown policy or option, or as ``playable``.
    """
    known, given = playable(policy), dict(options or {})
    known.make(given)  # a wrong option is said before anything runs
    if known.parameter is None or known.parameter in given or not known.sweep:
        return (Job(policy, options_of(given)),)
    return tuple(Job(policy, options_of({**given, known.parameter: f"{v:g}"}), v) for v in known.sweep)


def coarse(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """The part of a sweep that is run first: every third value, and the safest."""
    return tuple(job for place, job in enumerate(jobs) if place % 3 == 0 or place == len(jobs) - 1)


def refined(jobs: Sequence[Job], known: Iterable[Outcome]) -> tuple[Job, ...]:
    """What a sweep still lacks once ``coarse`` of it is known: every value in the stretch that matters.

    That is from the last value before attainment first comes to ``LEAST``, to the first that attains ``MOST``: what
    lies outside attains too little for anybody, or attains no more and costs more.
    """
    attained = {o.job: o.attainment for o in known}
    places = [place for place, job in enumerate(jobs) if job in attained]
    enough = next((place for place in places if attained[jobs[place]] >= LEAST), None)
    if enough is None:
        return ()
    begin = max((place for place in places if place < enough), default=enough)
    end = next((place for place in places if attained[jobs[place]] >= MOST), len(jobs) - 1)
    return tuple(job for job in jobs[begin : end + 1] if job not in attained)


def run_all(work: Work, jobs: Sequence[Job], executor: Executor, done: Done | None = None) -> tuple[Outcome, ...]:
    """Every job's outcome, in order. Raises JobFailed."""
    return tuple(executor.map(work, jobs, name=lambda job: job.name, done=done))


def by_policy(outcomes: Iterable[Outcome]) -> dict[str, tuple[Outcome, ...]]:
    """The outcomes of each policy, in order."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.job.policy, []).append(outcome)
    return {policy: tuple(group) for policy, group in groups.items()}


def frontier(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Those that no other one beats: from cheap to dear, each attaining more than the one before."""
    known = [o for o in outcomes if math.isfinite(o.attainment) and math.isfinite(o.gpu_hours)]
    kept: list[Outcome] = []
    for outcome in sorted(known, key=lambda o: (o.gpu_hours, -o.attainment)):
        if not kept or outcome.attainment > kept[-1].attainment:
            kept.append(outcome)
    return tuple(kept)


def cheapest(outcomes: Iterable[Outcome], share: float) -> Outcome | None:
    """The best in hindsight: the fewest GPU-hours with at least ``share`` attained; None when none attains it."""
    _share(share)
    return next((o for o in frontier(outcomes) if o.attainment >= share), None)


def highest(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The one that attains most; of equals the cheapest."""
    best = frontier(outcomes)
    return best[-1] if best else None


def hours_at(outcomes: Iterable[Outcome], attainment: float) -> float | None:
    """GPU-hours at which a policy's frontier reaches ``attainment``; None when it never does.

    Linear between neighbours on the frontier, in attainment: a schedule that spends a part of its time at one setting
    and the rest at the other reaches what lies between them, at what lies between their costs. Below the cheapest
    outcome's attainment nothing cheaper is known, so it is that outcome's cost.
    """
    _share(attainment)
    before: Outcome | None = None
    for outcome in frontier(outcomes):
        if outcome.attainment >= attainment:
            if before is None:
                return outcome.gpu_hours
            part = (attainment - before.attainment) / (outcome.attainment - before.attainment)
            return before.gpu_hours + part * (outcome.gpu_hours - before.gpu_hours)
        before = outcome
    return None


def geometric_mean(ratios: Iterable[float | None]) -> float | None:
    """Of those that there are; None when there is none."""
    logs = [math.log(r) for r in ratios if r is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None


def _share(share: float) -> None:
    if not 0 <= share <= 1:
        raise BadSetting(f"share: found {share}; allowed: 0 to 1")
