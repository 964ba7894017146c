"""Tuning on a service's own past: Optuna over fields of the resource, with two objectives, attainment and GPU-hours.

The study lives in a storage (a SQLite file, or any that Optuna knows by URL) and is gone on with after a kill:

- Trials come in batches. A batch's values depend only on the seed, the batch's number and the trials of the batches
  before it, which are all done by then; each trial is stored whole before it is run. So a study that was killed, at
  whatever point, ends as one that was not, and the number of workers changes nothing.
- A trial that a dead process left running is run again with the values that it had.
- Several processes may share a study: each runs what is waiting. What the trials are then depends on who was first.

A study remembers the version, the data and the space it is for; another one's is refused with BadStudy.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaler.clock import Clock
from simulations.errors import BadStudy

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

BATCH = 16
LOST_AFTER = 3600.0  # s: a trial of another machine that has run so long is taken over
UNOWNED_AFTER = 60.0  # s: one that has no owner's name after so long was taken by a process that ended at once
POLL = 2.0  # s between looks at what other processes run
OWNER = "lagcast:owner"
ABOUT = "lagcast:about"
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What a study is for. ``data`` is a hash, ``space`` the parameters with their ranges, as text."""

    version: str
    data: str
    policy: str
    space: str
    seed: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that is done."""

    number: int
    values: Values
    attainment: float
    gpu_hours: float
    best: bool  # no other is both cheaper and at least as attaining


Run = Callable[[Sequence[Values], Callable[[int, tuple[float, float]], None]], None]
"""Runs every one of the values; calls the second for each that ended, with its place, attainment and GPU-hours."""


def open_study(url: str, name: str, about: About) -> Study:
    """The study of that name, made where there is none. Raises BadStudy when it is for something else or unreadable."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=url, study_name=name, directions=["maximize", "minimize"], load_if_exists=True
        )
        found = study.user_attrs.get(ABOUT)
    except Exception as error:  # whatever a database's driver raises
        text = str(error).strip().splitlines()[:1]
        raise BadStudy(f"{_shown(url)}: cannot be opened: {type(error).__name__}: {' '.join(text)}") from error
    wanted = {field: str(getattr(about, field)) for field in About.__dataclass_fields__}
    if found is None and not study.trials:
        study.set_user_attr(ABOUT, wanted)
    elif found is None:
        raise BadStudy(
            f"{_shown(url)}: study {name} was not made by `lagcast tune`; choose another --study or --storage"
        )
    else:
        differs = [field for field in wanted if found.get(field) != wanted[field]]
        if differs:
            what = "; ".join(f"{field}: found {found.get(field)}, now {wanted[field]}" for field in differs)
            raise BadStudy(
                f"{_shown(url)}: study {name} was made for something else ({what}); "
                "go on with what made it, or choose another --study or --storage"
            )
    return study


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. ``first``: the first trial's values, None for any; ``width``: trials run at a time."""

    space: Mapping[str, BaseDistribution]
    first: Values | None
    trials: int
    seed: int
    width: int = 1
    batch: int = BATCH


def tune(study: Study, search: Search, run: Run, clock: Clock, done: Callable[[int], None] | None = None) -> None:
    """Run the study until ``search.trials`` are done. ``done`` is told how many there are, after each."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    me = _owner()
    while True:
        known = _propose(study, search)
        complete = sum(t.state is TrialState.COMPLETE for t in known)
        if complete >= search.trials:
            return
        batch = [t for t in known if _is_left(t, me, clock.now())]
        waiting = sum(t.state is TrialState.WAITING for t in known)
        for _ in range(min(search.width - len(batch), waiting)):
            asked = study.ask()
            if not asked.params:  # another process was faster, and this trial is an empty one
                study.tell(asked, state=TrialState.FAIL)
                break
            # SQLite locks no row: two processes may take one trial at once, and the other may have ended it by now.
            with contextlib.suppress(UpdateFinishedTrialError):
                asked.set_user_attr(OWNER, me)
                batch.append(study.get_trials(deepcopy=False)[asked.number])
        if not batch:  # others run what is left, or have just ended it
            clock.wait(POLL, threading.Event())
            continue

        counter = itertools.count(complete + 1)

        def ended(
            place: int, result: tuple[float, float], batch: list[FrozenTrial] = batch, counter: Iterator[int] = counter
        ) -> None:
            # Another process may have taken it over and been first: with the same values, to the same result.
            with contextlib.suppress(UpdateFinishedTrialError):
                study.tell(batch[place].number, list(result), skip_if_finished=True)
            if done is not None:
                done(next(counter))

        run([dict(t.params) for t in batch], ended)


def _known(study: Study) -> list[FrozenTrial]:
    """All trials that are done or to be done: not those that failed, nor the empty ones of a race for the last."""
    from optuna.trial import TrialState

    return [t for t in study.get_trials(deepcopy=False) if t.params and t.state is not TrialState.FAIL]


def _propose(study: Study, search: Search) -> list[FrozenTrial]:
    """Add the newest batch's trials where they are not all there, or the next batch's when all before are done.

    They have no owner: who takes one to run it writes its own name. Returns all trials, with those that were added.
    """
    from optuna.trial import TrialState, create_trial

    known = _known(study)
    number, there = divmod(len(known), search.batch)
    if any(not t.state.is_finished() for t in known[: number * search.batch]):
        return known  # the batch before is not done
    size = min(search.batch, search.trials - number * search.batch)
    if there >= size:
        return known
    values = _batch(known[: number * search.batch], search, number, size)
    for place in range(there, size):
        waiting, space = TrialState.WAITING, dict(search.space)
        study.add_trial(create_trial(state=waiting, params=values[place], distributions=space))
        known = _known(study)
        if len(known) > number * search.batch + place + 1:
            break  # another process adds them too
    return known


def _batch(before: Sequence[FrozenTrial], search: Search, number: int, size: int) -> list[Values]:
    """The values of one batch: a function of the trials before it, the seed and its number."""
    import optuna

    state = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=state, n_startup_trials=search.batch, multivariate=True, constant_liar=True
        )
    scratch = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    scratch.add_trials(before)
    if number == 0 and search.first is not None:
        scratch.enqueue_trial(search.first)
    return [dict(scratch.ask(dict(search.space)).params) for _ in range(size)]


def _is_left(trial: FrozenTrial, me: str, now: float) -> bool:
    """Whether a running trial has nobody who runs it: its process is gone, or long silent on another machine."""
    from optuna.trial import TrialState

    if trial.state is not TrialState.RUNNING:
        return False
    owner = str(trial.user_attrs.get(OWNER, ""))
    if owner == me:
        return True  # of this process, and between two batches none of its trials runs
    host, _, process = owner.rpartition(":")
    if host == socket.gethostname() and process.isdigit():
        return not _lives(int(process))
    after = LOST_AFTER if owner else UNOWNED_AFTER
    return trial.datetime_start is None or now - trial.datetime_start.timestamp() > after


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def results(study: Study) -> tuple[Trial, ...]:
    """All trials that are done, in order."""
    from optuna.trial import TrialState

    complete = [t for t in study.get_trials(deepcopy=False) if t.state is TrialState.COMPLETE]
    best = {t.number for t in study.best_trials} if complete else set()
    return tuple(
        Trial(t.number, dict(t.params), float(t.values[0]), float(t.values[1]), t.number in best) for t in complete
    )


def choose(trials: Sequence[Trial], share: float, margin: float) -> Trial | None:
    """The cheapest trial whose late share is at most ``1 - margin`` times what ``share`` allows; None: no trial."""
    allowed = (1.0 - share) * (1.0 - margin)
    fit = [t for t in trials if 1.0 - t.attainment <= allowed + 1e-12]
    return min(fit, key=lambda t: (t.gpu_hours, -t.attainment, t.number), default=None)


def describe(space: Mapping[str, BaseDistribution]) -> str:
    """A space as text, the same for the same space."""
    return "; ".join(f"{name} {space[name]}" for name in sorted(space))


def _shown(url: str) -> str:
    """A storage's URL without its password."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
