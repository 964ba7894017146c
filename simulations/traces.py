"""Load traces: read from CSV, made from a seed, and turned into arrivals.

A trace file is named ``NAME__STEPs.csv`` (or ``.csv.gz``) and has the columns ``t_s,value``: the second at which a
step begins, and the number of requests in it. What is missing stays missing: a step without a row, or with an empty
value, is NaN. A row that is broken is refused with its file and line, never dropped.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries
from forecasting.series import Series
from simulations.load_text import check_separator, filled, open_text

Values = Literal["counts", "rates"]
Gaps = Literal["refuse", "silent", "interpolate"]

HEADER = ["t_s", "value"]
MOST = 1e12  # requests in a step, or in a second: more is a broken row
MOST_STEPS = 20_000_000  # a jump in time beyond this is a broken row, not a gap
RATE_TRACES = frozenset({"servegen_llm_large"})  # of the shared traces: their values are requests/s, not counts

_NAME = re.compile(r"(?P<name>.+)__(?P<step>\d+)s\.csv(\.gz)?")
_CHECKOUT = Path(__file__).resolve().parent.parent


def traces_folder() -> Path:
    """Where traces are looked for by name: ``LAGCAST_TRACES``, else ``../shared/traces`` beside the checkout."""
    given = os.environ.get("LAGCAST_TRACES")
    return Path(given) if given else _CHECKOUT.parent / "shared" / "traces"


def is_trace_name(path: Path) -> bool:
    """Whether the file is named as traces are: NAME__STEPs.csv, or with .gz."""
    return _NAME.fullmatch(path.name) is not None


def find_trace(name: str) -> Path:
    """The file of a trace given by path or by name. Raises BadSeries, listing what is there."""
    if Path(name).is_file():
        return Path(name)
    folder = traces_folder()
    known = {m["name"]: p for p in sorted(folder.glob("*__*")) if (m := _NAME.fullmatch(p.name))}
    if name not in known:
        have = ", ".join(known) or "no trace at all"
        raise BadSeries(f"{name}: no such file, and no such trace in {folder} (there: {have}); see LAGCAST_TRACES")
    return known[name]


def read_trace(path: Path, values: Values | None = None) -> Series:
    """Read a trace file into arrival rates (requests/s) whose start is the file's first ``t_s``.

    ``values``: whether the file holds counts a step or requests/s; by default counts, except for RATE_TRACES.
    Raises BadSeries naming file and line.
    """
    named = _NAME.fullmatch(path.name)
    if named is None or int(named["step"]) < 1:
        raise BadSeries(f"{path}: a trace is named NAME__STEPs.csv or NAME__STEPs.csv.gz, STEP in whole seconds")
    step = int(named["step"])
    if values is None:
        values = "rates" if named["name"] in RATE_TRACES else "counts"
    try:
        with open_text(path) as file:
            start, column = _read_rows(path, step, file)
    except csv.Error as broken:
        raise BadSeries(f"{path}: cannot be read: {broken}") from broken
    return Series(start, float(step), column if values == "rates" else column / step)


def _read_rows(path: Path, step: int, file: TextIO) -> tuple[float, NDArray[np.float64]]:
    """First time, and the values at every step from there."""
    reader = csv.reader(file, strict=True)
    header = next(reader, None)
    if header != HEADER:
        check_separator(header or [], path)
        found = ",".join(header or []) or "missing"
        raise BadSeries(
            f"{path}:1: the header is {found}; of a file that is named NAME__STEPs.csv it must be t_s,value, unless "
            "--form requests says that each row is one request"
        )
    column: list[float] = []
    distances: Counter[int] = Counter()  # of rows to the row before, in steps
    first_wide = ""
    start = expected = 0.0
    for line, row in filled(((reader.line_num, row) for row in reader), path):
        where = f"{path}:{line}"
        if len(row) != len(HEADER):
            raise BadSeries(f"{where}: {len(row)} fields ({','.join(row)!r}); a row is t_s,value")
        at, value = _number(where, "t_s", row[0]), _value(where, row[1])
        if not column:
            if at % step:
                raise BadSeries(f"{where}: the first t_s is {row[0]}; it must be a multiple of the step, {step} s")
            start = expected = at
        missing = _steps_missing(where, step, at, expected)
        if len(column) + missing >= MOST_STEPS:
            raise BadSeries(
                f"{where}: t_s {row[0]} is {missing} steps after the row before; a trace has < {MOST_STEPS}"
            )
        if column:
            distances[missing + 1] += 1
            first_wide = first_wide or (where if missing else "")
        column.extend([math.nan] * missing)
        column.append(value)
        expected = at + step
    if not column:
        raise BadSeries(f"{path}: empty: there is no row below the header")
    wide = regular_distance(distances)
    if wide > 1:
        raise BadSeries(
            f"{first_wide}: most rows are {wide * step} s apart, and the file's name says steps of {step} s: are they "
            f"counts of {wide * step} s? Then name it __{wide * step}s; time that is really unknown takes empty values"
        )
    return start, np.array(column, dtype=np.float64)


def regular_distance(distances: Counter[int]) -> int:
    """How many steps most neighbours are apart where that is more than one: a wrong step, not gaps. Else 1."""
    steps, often = max(distances.items(), key=lambda item: item[1], default=(1, 0))
    return steps if often >= 3 and 2 * often > distances.total() else 1


def _steps_missing(where: str, step: int, at: float, expected: float) -> int:
    """How many steps lie between the row before and this one; 0 when it follows at once."""
    ahead = (at - expected) / step
    if ahead == -1:
        raise BadSeries(f"{where}: t_s {at:.13g} is there twice")
    if ahead < 0 and ahead == int(ahead):
        raise BadSeries(f"{where}: t_s {at:.13g} is before the row above it; rows must be in order of time")
    if ahead != int(ahead):
        raise BadSeries(
            f"{where}: t_s {at:.13g} does not fit the step of {step} s that the file's name says (mixed steps?)"
        )
    return int(ahead)


def _number(where: str, field: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise BadSeries(f"{where}: {field} is {text!r}, not a number") from None
    if not math.isfinite(number):
        raise BadSeries(f"{where}: {field} is {text!r}; it must be finite")
    return number


def _value(where: str, text: str) -> float:
    if text.strip().lower() in ("", "nan"):
        return math.nan
    value = _number(where, "value", text)
    if value < 0:
        raise BadSeries(f"{where}: value is {text}; a number of requests cannot be negative")
    if value > MOST:
        raise BadSeries(f"{where}: value is {text}; allowed: at most {MOST:.0e}")
    return value


@dataclass(frozen=True, slots=True)
class Spike:
    """Load that jumps to ``height`` times its base for ``length`` s, ``at`` s into every ``every`` s."""

    every: float
    at: float
    length: float
    height: float


@dataclass(frozen=True, slots=True)
class Pattern:
    """A made-up load: a cycle, a spike that returns, and noise.

    Rate = mean x (1 - amplitude cos(2 pi t / period)) x height within a spike x noise, where noise is a lognormal
    AR(1) process of mean 1, standard deviation ``noise`` in the logarithm, correlated over ``noise_time`` s.
    """

    mean: float  # requests/s, without the spikes
    period: float = 86_400.0  # s
    amplitude: float = 0.5  # in [0, 1]
    spike: Spike | None = None
    noise: float = 0.0
    noise_time: float = 300.0  # s

    def __post_init__(self) -> None:
        spike = self.spike
        if self.mean <= 0 or self.period <= 0 or self.noise < 0 or self.noise_time <= 0:
            raise BadSeries("a pattern's mean, period and noise_time must be above 0, its noise not below 0")
        if not 0 <= self.amplitude <= 1:
            raise BadSeries(f"a pattern's amplitude must be between 0 and 1; it is {self.amplitude:g}")
        if spike and not (0 < spike.length <= spike.every and 0 <= spike.at < spike.every and spike.height >= 0):
            raise BadSeries(f"a spike must lie within the time after which it returns, and not be negative: {spike}")

    def make(self, seconds: float, step: float, seed: int) -> Series:
        """The first ``seconds`` of the pattern, from time 0, in steps of ``step`` s. The same seed, the same load."""
        count = math.ceil(seconds / step)
        if seconds <= 0 or step <= 0 or count > MOST_STEPS:
            raise BadSeries(f"cannot make {seconds:g} s in steps of {step:g} s: 1 to {MOST_STEPS} steps")
        at = (np.arange(count) + 0.5) * step
        rates = self.mean * (1 - self.amplitude * np.cos(2 * np.pi * at / self.period))
        if self.spike:
            inside = np.mod(at - self.spike.at, self.spike.every) < self.spike.length
            rates = np.where(inside, rates * self.spike.height, rates)
        if self.noise:
            rates = rates * self._noise(count, step, np.random.default_rng(seed))
        return Series(0.0, step, rates)

    def _noise(self, count: int, step: float, rng: np.random.Generator) -> NDArray[np.float64]:
        kept = math.exp(-step / self.noise_time)
        log = rng.normal(0.0, self.noise, count)
        log[1:] *= math.sqrt(1 - kept * kept)
        for k in range(1, count):
            log[k] += kept * log[k - 1]
        return np.exp(log - self.noise**2 / 2)


def scaled(series: Series, *, mean: float | None = None, scale: float | None = None) -> Series:
    """The same shape with another ``mean`` (requests/s, over what is known), or times ``scale``."""
    if (mean is None) == (scale is None):
        raise ValueError("give either mean or scale")
    if mean is not None:
        now = np.nanmean(series.rates) if np.isfinite(series.rates).any() else 0.0
        if not now > 0:
            raise BadSeries("a trace without any request cannot be scaled to a mean")
        scale = float(mean / now)
    factor = cast(float, scale)
    if not 0 <= factor < math.inf:
        raise BadSeries(f"load cannot be scaled by {factor:g}")
    return Series(series.start, series.step, series.rates * factor)


def compressed(series: Series, speed: float) -> Series:
    """The same shape played ``speed`` times as fast from time 0; the rates per second stay what they are."""
    if not 0 < speed < math.inf:
        raise BadSeries(f"speed must be above 0; it is {speed:g}")
    return Series(0.0, series.step / speed, series.rates)


def without_gaps(series: Series, how: Gaps) -> Series:
    """Decide what is sent where the trace knows nothing: refuse, send nothing, or interpolate over time."""
    gap = ~np.isfinite(series.rates)
    if not gap.any():
        return series
    if how == "refuse" or gap.all():
        at = series.start + series.step * int(np.argmax(gap))
        raise BadSeries(
            f"the trace has {int(gap.sum())} steps without a value, the first at {at:.13g} s; choose whether they are "
            "sent as silence or interpolated (gaps: silent, interpolate)"
        )
    rates = series.rates.copy()
    places = np.arange(len(rates))
    rates[gap] = 0.0 if how == "silent" else np.interp(places[gap], places[~gap], rates[~gap])
    return Series(series.start, series.step, rates)


def rates_at(series: Series, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rates (requests/s) at ``times`` (s), linear between the centres of the steps; float64, as long as ``times``.

    NaN inside a gap and outside the series. Beside a gap, and in the outer halves of the first and last step, a step
    keeps its own value.
    """
    count = len(series.rates)
    place = (np.asarray(times, dtype=np.float64) - series.start) / series.step
    own = np.floor(place)
    outside = (own < 0) | (own >= count)
    own = np.clip(own, 0, count - 1).astype(np.int64)
    left = np.clip(np.floor(place - 0.5), 0, count - 1).astype(np.int64)
    right = np.clip(left + 1, 0, count - 1)
    share = np.clip(place - 0.5 - left, 0.0, 1.0)
    between = series.rates[left] * (1 - share) + series.rates[right] * share
    rates = np.where(np.isfinite(between), between, series.rates[own])
    return np.where(outside, np.nan, rates)


def arrivals_per_second(
    series: Series, rng: np.random.Generator, start: float | None = None, seconds: int | None = None
) -> NDArray[np.float64]:
    """Poisson counts of each whole second (float64, so that a second inside a gap can be NaN).

    From ``start`` (unix s) on, for ``seconds``; None: those of the whole series.
    """
    start = series.start if start is None else start
    seconds = int((series.end - start) // 1) if seconds is None else seconds
    rates = rates_at(series, start + 0.5 + np.arange(seconds, dtype=np.float64))
    known = np.isfinite(rates)
    counts = np.full(seconds, np.nan)
    counts[known] = rng.poisson(rates[known])
    return counts


def arrival_times(series: Series, rng: np.random.Generator, block: float = 1.0) -> Iterator[NDArray[np.float64]]:
    """Arrival times (s, ascending) of a Poisson process with the series' rates, one array for each ``block`` s.

    Drawn bin by bin: a bin is a second, or a step where steps are shorter; within it the rate is constant. The draw
    does not depend on how far it is read. A gap raises BadSeries: see :func:`without_gaps`.
    """
    width = min(1.0, series.step)
    total = series.end - series.start
    bins = max(1, round(block / width))
    for first in range(0, math.ceil(total / width), bins):
        edges = series.start + np.arange(first, first + bins) * width
        edges = edges[edges < series.end - 1e-9]
        widths = np.minimum(width, series.end - edges)
        rates = rates_at(series, edges + widths / 2)
        if not np.isfinite(rates).all():
            raise BadSeries(f"the trace has a gap at {edges[~np.isfinite(rates)][0]:g} s")
        counts = rng.poisson(rates * widths)
        times = np.repeat(edges, counts) + rng.random(int(counts.sum())) * np.repeat(widths, counts)
        yield np.sort(times)
