"""KEDA's Kafka trigger: what it tells the HPA, and whether it is active.

Follows keda pkg/scalers/kafka_scaler.go (``apache-kafka`` is the same in this) in behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from scaler.plan.observation import TopicOffsets
from simulations.policies.hpa_settings import HpaSettings
from simulations.policies.windows import total

THRESHOLD = 10  # messages: KEDA's own


class OffsetReset(StrEnum):
    """Where a group that has committed nothing begins."""

    LATEST = "latest"
    EARLIEST = "earliest"


@dataclass(frozen=True, slots=True)
class KafkaSettings(HpaSettings):
    """The trigger's metadata, with KEDA's own defaults, beside the options of the HPA.

    The lag that one replica may have is ``threshold`` in messages, or ``seconds`` of a replica's work, which need not
    be whole messages; neither: KEDA's own 10 messages. ``exclude_persistent_lag`` compares with the tick before; with a
    least of 0 the real one compares with its own polls, too, and those may come too soon after a sync for any to move.
    """

    threshold: int | None = None  # lagThreshold
    seconds: float | None = None
    activation_threshold: int = 0
    offset_reset: OffsetReset = OffsetReset.LATEST
    allow_idle_consumers: bool = False
    limit_to_partitions_with_lag: bool = False
    ensure_even_distribution: bool = False
    exclude_persistent_lag: bool = False
    scale_to_zero_on_invalid_offset: bool = False

    def __post_init__(self) -> None:
        HpaSettings.__post_init__(self)
        wrong = {
            f"threshold: found {self.threshold}; allowed: more than 0": (
                self.threshold is not None and self.threshold <= 0
            ),
            "threshold: found beside seconds; allowed: one of them": (
                self.threshold is not None and self.seconds is not None
            ),
            f"seconds: found {self.seconds}; allowed: more than 0": self.seconds is not None and not self.seconds > 0,
            f"activation_threshold: found {self.activation_threshold}; allowed: at least 0": (
                self.activation_threshold < 0
            ),
            "limit_to_partitions_with_lag: found beside allow_idle_consumers; allowed: one of them": (
                self.limit_to_partitions_with_lag and self.allow_idle_consumers
            ),
            "limit_to_partitions_with_lag: found beside ensure_even_distribution; allowed: one of them": (
                self.limit_to_partitions_with_lag and self.ensure_even_distribution
            ),
        }
        faults = [text for text, is_so in wrong.items() if is_so]
        if faults:
            raise ValueError("; ".join(faults))

    def target(self, service_rate: float) -> int:
        """The metric's target in thousandths of a message, for replicas that serve ``service_rate`` (requests/s)."""
        if self.seconds is not None:
            return max(round(self.seconds * service_rate * 1000), 1)
        return (THRESHOLD if self.threshold is None else self.threshold) * 1000


@dataclass(frozen=True, slots=True)
class Lag:
    """What KEDA tells the HPA, and whether the trigger is active."""

    total: int  # thousandths of a message, cut to what the partitions can use
    active: bool
    capped: bool  # whether the cut took something away


def kafka_lag(offsets: TopicOffsets, previous: Mapping[int, int], settings: KafkaSettings, target: int) -> Lag:
    """The trigger's metric.

    ``previous`` is the committed offset of each partition at the poll before, ``target`` the lag threshold in
    thousandths of a message. Offsets are read at slightly different times: what is negative by that is not cut.
    """
    scaling, real, upper = _sums(offsets, previous, settings)
    metric, uncut = scaling * 1000, scaling * 1000
    if settings.ensure_even_distribution:
        metric = target * _even(upper, metric, target)
    if settings.limit_to_partitions_with_lag:
        upper = sum(lag > 0 for lag in _lags(offsets, previous, settings)[0])
    if not settings.allow_idle_consumers and metric // target > upper:
        metric = upper * target
    return Lag(metric, real > settings.activation_threshold, metric < uncut)


def _sums(offsets: TopicOffsets, previous: Mapping[int, int], settings: KafkaSettings) -> tuple[int, int, int]:
    """(lag for scaling, lag for activation, partitions)."""
    partitions = len(offsets.end)
    if not settings.exclude_persistent_lag and int(np.minimum.reduce(offsets.committed)) >= 0:
        lag = total(offsets.end) - total(offsets.committed)
        return lag, lag, partitions
    scaling, real = _lags(offsets, previous, settings)
    return sum(scaling), sum(real), partitions


def _lags(offsets: TopicOffsets, previous: Mapping[int, int], settings: KafkaSettings) -> tuple[list[int], list[int]]:
    """Each partition's lag: for scaling, and for activation."""
    scaling, real = [], []
    for partition, begin, end, committed in zip(
        offsets.partitions.tolist(),
        offsets.begin.tolist(),
        offsets.end.tolist(),
        offsets.committed.tolist(),
        strict=True,
    ):
        if committed < 0:
            lag, stuck = _uncommitted(begin, end, settings), False
        else:
            lag = end - committed
            stuck = settings.exclude_persistent_lag and previous.get(partition) == committed
        real.append(lag)
        scaling.append(0 if stuck else lag)
    return scaling, real


def _uncommitted(begin: int, end: int, settings: KafkaSettings) -> int:
    if settings.scale_to_zero_on_invalid_offset:
        return 0
    # One keeps a consumer alive that will commit; `earliest` counts what is there, without what retention has deleted.
    return 1 if settings.offset_reset is OffsetReset.LATEST else max(end - begin, 0)


def _even(partitions: int, metric: int, target: int) -> int:
    """The smallest divisor of ``partitions`` whose replicas could take ``metric``; all partitions when none could."""
    divisors = (n for n in range(1, partitions + 1) if partitions % n == 0)
    return next((n for n in divisors if n * target >= metric), partitions)
