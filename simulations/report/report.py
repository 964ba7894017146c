"""What the page is made of."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from simulations.measures import Measures
from simulations.picture import BoundPoint, FrontierPoint
from simulations.record import Record
from simulations.setting import Load

SHARES = (0.99, 0.999)  # for which the cheapest point of each policy is marked


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One page. ``records``: runs on the same load, one a policy; ``measures``: a row for each record's services.

    ``frontier`` and ``bound`` are over all services together; empty: no such chart line. Raises ValueError when
    ``measures`` is not one row for each service of each record.
    """

    title: str
    records: tuple[Record, ...]
    measures: tuple[tuple[Measures, ...], ...]
    data_hash: str  # of ``data_hash``
    configuration: str  # as text: what somebody needs to run it again
    version: str  # of lagcast
    seed: int
    frontier: tuple[FrontierPoint, ...] = ()
    bound: tuple[BoundPoint, ...] = ()

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("a report needs at least one record")
        have = [[m.uid for m in row] for row in self.measures]
        want = [[s.uid for s in record.services] for record in self.records]
        if have != want:
            raise ValueError(f"measures: found services {have}; allowed: one for each service of each record, {want}")

    @property
    def names(self) -> tuple[str, ...]:
        """One name a record: its policy, numbered from the second of the same name on."""
        seen: dict[str, int] = {}
        names = []
        for record in self.records:
            seen[record.policy] = seen.get(record.policy, 0) + 1
            number = seen[record.policy]
            names.append(record.policy if number == 1 else f"{record.policy} ({number})")
        return tuple(names)


def data_hash(loads: Iterable[Load]) -> str:
    """SHA-256 (hex) of the loads in order: start and arrivals of each, and its history where it has one.

    The same on every machine: little-endian doubles, every NaN the same one.
    """
    digest = hashlib.sha256()
    for load in loads:
        _add(digest, load.start, 1.0, load.arrivals)
        if load.history is not None:
            _add(digest, load.history.start, load.history.step, load.history.rates)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, start: float, step: float, values: np.typing.ArrayLike) -> None:
    column = np.array(values, dtype="<f8")  # a copy
    column[np.isnan(column)] = np.nan
    digest.update(struct.pack("<ddq", start, step, len(column)))
    digest.update(column.tobytes())
