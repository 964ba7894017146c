"""How long a replica is busy with what it took: the lab's workers and the request-level kernel draw from the same.

Fixed, exponential (queueing theory's own), lognormal, or by the size of the batch as measured on GPUs.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from forecasting.errors import BadSeries
from simulations.errors import BadSetting
from simulations.traces import traces_folder


class ServiceTime(Protocol):
    """``batch`` requests at most are served together; all of a batch leave when it is done."""

    @property
    def batch(self) -> int: ...

    @property
    def mean(self) -> float:
        """Seconds that one request alone takes, on average."""
        ...

    def draw(self, size: int, rng: np.random.Generator) -> float:
        """Seconds that a batch of ``size`` requests (1 to ``batch``) takes."""
        ...

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Seconds of ``count`` requests, each served alone; shape [count]."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same time for each request, one at a time."""

    seconds: float
    batch: int = 1

    def __post_init__(self) -> None:
        _require(0 < self.seconds < math.inf, "seconds", self.seconds, "more than 0 s")

    @property
    def mean(self) -> float:
        return self.seconds

    def draw(self, size: int, rng: np.random.Generator) -> float:
        return self.seconds

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return np.full(count, self.seconds)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Without memory, one request at a time."""

    mean: float  # s
    batch: int = 1

    def __post_init__(self) -> None:
        _require(0 < self.mean < math.inf, "mean", self.mean, "more than 0 s")

    def draw(self, size: int, rng: np.random.Generator) -> float:
        return float(rng.exponential(self.mean))

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.exponential(self.mean, count)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """``location + scale x exp(shape x N(0, 1))`` seconds, one request at a time."""

    location: float  # s
    scale: float  # s
    shape: float
    batch: int = 1

    def __post_init__(self) -> None:
        _require(0 <= self.location < math.inf, "location", self.location, "at least 0 s")
        _require(0 < self.scale < math.inf, "scale", self.scale, "more than 0 s")
        _require(0 <= self.shape < math.inf, "shape", self.shape, "at least 0")

    @property
    def mean(self) -> float:
        return self.location + self.scale * math.exp(self.shape**2 / 2)

    def draw(self, size: int, rng: np.random.Generator) -> float:
        return self.location + self.scale * math.exp(self.shape * rng.standard_normal())

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return self.location + self.scale * np.exp(self.shape * rng.standard_normal(count))


@dataclass(frozen=True, slots=True, eq=False)
class ByBatch:
    """Linear between the measured batch sizes."""

    sizes: NDArray[np.float64]  # shape [n], ascending
    seconds: NDArray[np.float64]  # shape [n]
    batch: int

    def __post_init__(self) -> None:
        shapes = (self.sizes.shape, self.seconds.shape)
        _require(self.sizes.ndim == 1 and shapes[0] == shapes[1] != (0,), "sizes", shapes, "one for each of seconds")
        ascending = bool(self.sizes[0] > 0 and (np.diff(self.sizes) > 0).all())
        _require(ascending, "sizes", self.sizes.tolist(), "above 0 and ascending")
        above = bool(((self.seconds > 0) & np.isfinite(self.seconds)).all())
        _require(above, "seconds", self.seconds.tolist(), "more than 0 s")
        _require(self.batch >= 1, "batch", self.batch, "at least 1")

    @property
    def mean(self) -> float:
        return float(self.by_size[0])

    @property
    def by_size(self) -> NDArray[np.float64]:
        """Seconds of a batch of 1, 2, ... ``batch`` requests; shape [batch]."""
        return np.interp(np.arange(1, self.batch + 1), self.sizes, self.seconds)

    def draw(self, size: int, rng: np.random.Generator) -> float:
        return float(np.interp(size, self.sizes, self.seconds))

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return np.full(count, self.mean)


def _require(fine: bool, field: str, found: object, allowed: str) -> None:
    if not fine:
        raise BadSetting(f"{field}: found {found}; allowed: {allowed}")


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FixedSpec(_Spec):
    kind: Literal["fixed"]
    seconds: float = Field(gt=0, lt=600)

    def build(self) -> ServiceTime:
        return Fixed(self.seconds)


class ExponentialSpec(_Spec):
    kind: Literal["exponential"]
    mean: float = Field(gt=0, lt=600)

    def build(self) -> ServiceTime:
        return Exponential(self.mean)


class LognormalSpec(_Spec):
    kind: Literal["lognormal"]
    location: float = Field(ge=0, lt=600)
    scale: float = Field(gt=0, lt=600)
    shape: float = Field(ge=0, le=3)

    def build(self) -> ServiceTime:
        return Lognormal(self.location, self.scale, self.shape)


class BatchSpec(_Spec):
    """One combination of the measured table; ``speed`` divides the times (compressed experiments)."""

    kind: Literal["batch"]
    batch: int = Field(gt=0, le=4096)
    model: str = "llama2-70b"
    hardware: str = "a100-80gb"
    tensor_parallel: int = 4
    prompt_size: int = 512
    token_size: int = 128
    speed: float = Field(default=1.0, gt=0)
    file: Path | None = None  # default: llm_batch_latency.csv in the traces' folder

    def build(self) -> ServiceTime:
        return read_batch_latency(self)


ServiceTimeSpec = Annotated[FixedSpec | ExponentialSpec | LognormalSpec | BatchSpec, Field(discriminator="kind")]

_KEYS = ("model", "hardware", "tensor_parallel", "prompt_size", "token_size")


def read_batch_latency(spec: BatchSpec) -> ByBatch:
    """Median end-to-end time of each batch size of one combination.

    Raises BadSeries naming file and line, or the combination that is not there, or a batch beyond what was measured.
    """
    path = spec.file or traces_folder() / "llm_batch_latency.csv"
    wanted = tuple(str(getattr(spec, key)) for key in _KEYS)
    seen: dict[int, list[float]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                if tuple(row.get(key) for key in _KEYS) == wanted:
                    size, milliseconds = _measured(f"{path}:{reader.line_num}", row)
                    seen[size].append(milliseconds)
    except (OSError, UnicodeDecodeError, csv.Error) as broken:
        raise BadSeries(f"{path}: cannot be read: {broken}") from broken
    if not seen:
        what = ", ".join(f"{key} {value}" for key, value in zip(_KEYS, wanted, strict=True))
        raise BadSeries(f"{path}: nothing was measured for {what}")
    sizes = sorted(seen)
    if spec.batch > sizes[-1]:
        raise BadSeries(f"{path}: a batch of {spec.batch} was not measured; the largest is {sizes[-1]}")
    seconds = np.array([median(seen[size]) for size in sizes]) / 1000 / spec.speed
    return ByBatch(np.array(sizes, dtype=np.float64), seconds, spec.batch)


def _measured(where: str, row: dict[str, str]) -> tuple[int, float]:
    try:
        size, milliseconds = int(row["batch_size"]), float(row["e2e_time"])
    except (KeyError, TypeError, ValueError):
        raise BadSeries(f"{where}: batch_size and e2e_time must be numbers") from None
    if size < 1 or not 0 < milliseconds < math.inf:
        raise BadSeries(f"{where}: batch_size {size} and e2e_time {milliseconds:g} must be above 0")
    return size, milliseconds
