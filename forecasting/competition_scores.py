"""How a model stands against the newest level: sums that forget, a test whose error is known, and what follows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from forecasting.competition_strays import Strays, closeness
from forecasting.compiled import compiled
from forecasting.ordered import ascend

Floats = NDArray[np.float64]

# Quantiles whose pinball losses are averaged. The upper ones are those that capacity is bought for.
TAUS: Floats = np.array([0.1, 0.5, 0.9, 0.95, 0.99])
_LOW, _MIDDLE, _HIGH = 0, 1, 2
_USUAL = 0.31  # mean error of a normal distribution, over the width of its middle four fifths
_PRIOR = 10.0  # scores that what naive thinks of itself counts for
_LEAST = 0.05
_LEAST_RATIO = 0.02  # a model's loss over naive's: less is chance
_WIDTHS: Floats = np.array([0.125, 0.25, 0.5, 1.0, 2.0])  # of naive's errors, over what it thinks that they are
_REMEMBERED = 0.98  # of what a width said, from one outcome to the next: a load's character changes
_MOST_TOLD = 1.5  # nats that one outcome tells at most: nobody is out for few surprises, however great
_HOUR = 3600.0


class State(StrEnum):
    """What is believed of a model."""

    UNPROVEN = "Unproven"  # not better than naive beyond doubt
    PROVEN = "Proven"  # better beyond doubt, and not worse since
    DEMOTED = "Demoted"  # was worse beyond doubt; has to prove itself again, for longer
    FAILED = "Failed"  # raised, or drew what is no rate; until the next fit


@dataclass(frozen=True, slots=True)
class Rules:
    """When a model is believed. Tests are in standard errors, of blocks that hardly overlap.

    ``long``, ``short``: half-lives (s) of what is remembered. Bad news counts at once, so the short memory demotes;
    good news has to last. ``prove`` after ``settle`` s of scores, ``promote`` after ``again`` s of them where the model
    was demoted. A loss demotes when it is beyond doubt (``demote``), more than ``worse`` of naive's and of naive's
    usual one: in calm hours small losses are no news. So does, far sooner, what outcomes told against it, ``refute``
    nats and ``borne`` for each outcome: see :class:`Told`. A model that was proven is so until it is worse by
    ``unprove``. A trial on history counts for ``trial`` of as much live load. ``sharpness``: how much more
    pinball loss, as a share of the best model's, makes a weight e times smaller.
    """

    long: float = 24 * _HOUR
    short: float = 1 * _HOUR
    prove: float = 2.0
    promote: float = 2.5
    settle: float = 2 * _HOUR
    again: float = 6 * _HOUR
    demote: float = 2.8
    worse: float = 0.1
    refute: float = 6.0
    borne: float = 0.25
    unprove: float = 1.1
    trial: float = 1 / 6
    sharpness: float = 0.07


@dataclass(slots=True)
class Sums:
    """Exponentially forgotten sums over blocks of a model's and naive's losses."""

    half_life: float  # s
    blocks: float = 0.0
    model: float = 0.0
    naive: float = 0.0
    squares: float = 0.0  # of differences, forgotten twice as fast: weights squared
    of_model: float = 0.0  # the same of each, and of their product
    of_naive: float = 0.0
    of_both: float = 0.0

    def add(self, model: float, naive: float, seconds: float) -> None:
        """One block of ``seconds``."""
        keep = 0.5 ** (seconds / self.half_life)
        self.blocks = keep * self.blocks + 1
        self.model = keep * self.model + model
        self.naive = keep * self.naive + naive
        keep *= keep
        self.squares = keep * self.squares + (model - naive) ** 2
        self.of_model = keep * self.of_model + model * model
        self.of_naive = keep * self.of_naive + naive * naive
        self.of_both = keep * self.of_both + model * naive

    def weigh(self, share: float) -> None:
        """Let what there is count for ``share`` of itself beside what comes."""
        for name in ("blocks", "model", "naive"):
            setattr(self, name, share * getattr(self, name))
        for name in ("squares", "of_model", "of_naive", "of_both"):
            setattr(self, name, share * share * getattr(self, name))

    @property
    def doubt(self) -> float:
        """Sum of differences in standard errors, below 0 where the model is better: self-normalised, so that one huge
        difference counts for no more than 1, and n blocks for no more than sqrt(n)."""
        return (self.model - self.naive) / math.sqrt(self.squares) if self.squares > 0 else 0.0

    @property
    def ratio(self) -> float:
        """The model's loss over naive's; NaN when naive has none."""
        return self.model / self.naive if self.naive > 0 else math.nan

    @property
    def error(self) -> float:
        """Standard error of the ratio, by the delta method; NaN when naive has no loss."""
        if not self.naive > 0:
            return math.nan
        r = self.ratio
        return math.sqrt(max(self.of_model - 2 * r * self.of_both + r * r * self.of_naive, 0.0)) / self.naive


@dataclass(slots=True)
class Doubt:
    """How far naive errs, over how far it thinks that it does: what it thinks comes from the history, which may be of
    another load, or wrong; and nobody is to be measured by a referee who is out of his mind.

    ``half_life`` in scores. The usual error of a normal distribution is 0.31 of its middle four fifths' width.
    """

    half_life: float
    erred: float = 0.0
    thought: float = 0.0
    scores: float = 0.0
    factor: float = 1.0  # on the distance of each quantile from the middle

    def learn(self, outcome: float, said: Floats) -> None:
        """What came, and the quantiles ``TAUS`` as they were corrected."""
        keep = 0.5 ** (1.0 / self.half_life)
        self.erred = keep * self.erred + abs(outcome - float(said[_MIDDLE]))
        self.thought = keep * self.thought + _USUAL * float(said[_HIGH] - said[_LOW]) / self.factor
        self.scores = keep * self.scores + 1.0
        if self.thought > 0:
            prior = _PRIOR * self.thought / self.scores
            self.factor = max((self.erred + prior) / (self.thought + prior), _LEAST)

    def corrected(self, said: Floats) -> Floats:
        """The quantiles, each nearer to the middle or farther from it."""
        middle = said[_MIDDLE]
        wide: Floats = np.maximum(middle + (said - middle) * self.factor, 0.0)
        return wide


@dataclass(slots=True)
class Told:
    """What outcomes told of models beside naive at several widths of its errors, each width weighted by what it said of
    the outcomes before (Bayes' rule): naive's errors come from the history, which may be of another load, or wrong.

    Losses of n outcomes tell no more than sqrt(n) standard errors, however wrong a model is; a likelihood ratio tells
    more. Where outcomes do not overlap, a sound model's rises by x nats from any of them on with a chance of at most
    e^-x, whenever one looks (Ville's inequality).
    """

    weights: Floats = field(default_factory=lambda: np.full(len(_WIDTHS), 1 / len(_WIDTHS)))

    def nats(self, outcome: float, seconds: float, naive: Floats, models: list[Floats]) -> list[float]:
        """For each of ``models`` how much better naive's paths [n] said ``outcome`` (requests/s, the mean over
        ``seconds``) than the model's did."""
        said = math.log(_naive_said(naive, outcome, seconds, self.weights))
        told = [said - math.log(_said(model, outcome, seconds)) for model in models]
        return [min(max(nats, -_MOST_TOLD), _MOST_TOLD) for nats in told]


@compiled
def _naive_said(naive: Floats, outcome: float, seconds: float, weights: Floats) -> float:
    """The share of paths that came true, at each of the widths by its weight; ``weights`` [widths] follow."""
    calm = 1.0 / seconds
    close, came = closeness(outcome, seconds), math.log(outcome + calm)
    logs = np.log(naive + calm)
    ascend(logs)
    middle, said, total = logs[len(logs) // 2], 0.0, 0.0
    for w in range(len(weights)):
        near = 0
        for log in logs:
            near += abs(_WIDTHS[w] * (log - middle) + (middle - came)) <= close
        likely = (near + 0.5) / (len(logs) + 1.0)
        said += weights[w] * likely
        weights[w] = weights[w] ** _REMEMBERED * likely
        total += weights[w]
    for w in range(len(weights)):
        weights[w] /= total
    return said


@compiled
def _said(paths: Floats, outcome: float, seconds: float) -> float:
    """The share of ``paths`` that came true; never 0, as another one might have."""
    calm, near = 1.0 / seconds, 0
    close, came = closeness(outcome, seconds), math.log(outcome + calm)
    for path in paths:
        near += abs(math.log(path + calm) - came) <= close
    return (near + 0.5) / (len(paths) + 1.0)


@dataclass(slots=True)
class Standing:
    """One model's. ``scored``: seconds of scores since it last fell, or since the beginning."""

    rules: Rules
    state: State = State.UNPROVEN
    scored: float = 0.0
    long: Sums = field(init=False)
    short: Sums = field(init=False)
    refuted: float = 0.0  # nats: by how much naive said better what came, since that was least
    strays: Strays = field(default_factory=Strays)
    _fell: bool = False
    _usual: float = 0.0  # naive's losses over the long memory, kept when the rest is forgotten
    _usual_blocks: float = 0.0

    def __post_init__(self) -> None:
        self._forget()

    def add(self, model: float, naive: float, seconds: float) -> None:
        """Losses of one block of ``seconds``; the state follows."""
        self.scored += seconds
        self.long.add(model, naive, seconds)
        self.short.add(model, naive, seconds)
        keep = 0.5 ** (seconds / self.rules.long)
        self._usual = keep * self._usual + naive
        self._usual_blocks = keep * self._usual_blocks + 1
        rules = self.rules
        if self.state is State.PROVEN:
            if self._much_worse():
                self._demote()
                self.short = Sums(rules.short)
            elif self.long.doubt > self.rules.unprove:
                self.state = State.UNPROVEN
        elif self.state in (State.UNPROVEN, State.DEMOTED):
            if self._much_worse():
                self._demote()
            after, needed = (rules.again, rules.promote) if self._fell else (rules.settle, rules.prove)
            if self.scored >= after and self.long.doubt < -needed:
                self.state, self._fell = State.PROVEN, False

    def hear(self, nats: float) -> bool:
        """What one more outcome told, see :class:`Told`; whether the model is demoted by it: when the sum since it was
        least is too high (CUSUM; Page, "Continuous inspection schemes", Biometrika 41, 1954)."""
        self.refuted = max(self.refuted + nats - self.rules.borne, 0.0)
        if self.refuted <= self.rules.refute or self.state is State.FAILED:
            return False
        self._demote()
        return True

    def fail(self) -> None:
        """It raised, or drew what is no rate."""
        self.state, self._fell = State.FAILED, True
        self._forget()

    @property
    def out(self) -> bool:
        """Whether it has no paths."""
        return self.strays.lost or self.state in (State.DEMOTED, State.FAILED)

    @property
    def fell(self) -> bool:
        """Whether it was found to be wrong, and has not proven itself since."""
        return self._fell

    def fitted(self) -> None:
        """It was fitted anew: a failure may be over, and has to be seen to be; what was told was of another fit."""
        self.refuted = 0.0
        if self.state is State.FAILED:
            self.state = State.DEMOTED

    def go_live(self) -> None:
        """What was scored so far was a trial on history. It stands, but what live load is like, and whether this
        model is good at it, is seen afresh: the history may be wrong."""
        self.long.weigh(self.rules.trial)
        self.short = Sums(self.rules.short)
        self._usual = self._usual_blocks = self.refuted = 0.0

    def _much_worse(self) -> bool:
        short, rules = self.short, self.rules
        lost = short.model - short.naive
        return (
            short.doubt > rules.demote
            and lost > rules.worse * short.naive
            and lost > rules.worse * short.blocks * self._usual / max(self._usual_blocks, 1.0)
        )

    def _demote(self) -> None:
        """The time in which it proves itself begins anew."""
        self.state, self._fell = State.DEMOTED, True
        self.scored, self.long, self.refuted = 0.0, Sums(self.rules.long), 0.0

    def _forget(self) -> None:
        self.scored = self.refuted = 0.0
        self.long, self.short = Sums(self.rules.long), Sums(self.rules.short)


def weights_of(standings: list[Standing], rules: Rules) -> Floats:
    """Shares of paths [models + 1], the last one naive's: multiples of 1/20, so that they seldom change.

    By loss over naive's, plus its standard error; nothing for what is demoted, lost, failed, or not scored for
    ``settle`` s. Naive has its own by the same measure: a pool of forecasts that err in different ways is better than
    each of them.
    """
    ratios = np.array([_handicapped(s) if s.scored >= rules.settle else math.inf for s in standings] + [1.0])
    ratios[np.isnan(ratios)] = math.inf
    raw = np.exp((1.0 - ratios / max(float(ratios.min()), _LEAST_RATIO)) / rules.sharpness)
    twentieths = np.floor(20 * raw / raw.sum() + 0.5)
    return np.asarray(twentieths / twentieths.sum(), dtype=np.float64)


def _handicapped(standing: Standing) -> float:
    if standing.out:
        return math.inf
    return standing.long.ratio + standing.long.error


@compiled
def quantiles_of(values: Floats) -> Floats:
    """The quantiles ``TAUS`` [taus] of a sample [n], as numpy's default has them."""
    ordered = values.copy()
    ascend(ordered)
    found = np.empty(len(TAUS))
    for k in range(len(TAUS)):
        at = TAUS[k] * (len(ordered) - 1)
        low = int(at)
        high = min(low + 1, len(ordered) - 1)
        found[k] = ordered[low] + (at - low) * (ordered[high] - ordered[low])
    return found


@compiled
def pinball(outcome: float, quantiles: Floats) -> float:
    """Mean pinball loss (requests/s) of the quantiles ``TAUS``; a quantile beyond a number costs no end."""
    total = 0.0
    for k in range(len(TAUS)):
        error = outcome - quantiles[k]
        total += max(TAUS[k] * error, (TAUS[k] - 1) * error)
    return total / len(TAUS)


def said_of(standing: Standing, failure: str) -> str:
    """How a model stands, in words; ``failure``: what went wrong with it, where anything did."""
    if standing.state is State.FAILED:
        return f"failed, {failure}"
    if standing.strays.lost and standing.state is not State.DEMOTED:
        return "too often what comes is what it says is hardly possible"
    ratio, hours, state = standing.long.ratio, standing.scored / 3600, standing.state.lower()
    if standing.state is State.DEMOTED:  # as it is not to come back before it has been better for a while
        since = "" if math.isnan(ratio) else f", {ratio:.2f} +- {standing.long.error:.2f} of its pinball loss lately"
        return f"{state} {hours:.1f} h ago{since}"
    if math.isnan(ratio):
        return f"{state}, not scored yet"
    return f"{state}, {ratio:.2f} +- {standing.long.error:.2f} of its pinball loss over {hours:.1f} h"
