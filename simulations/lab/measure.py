"""Whether requests left in time, from the messages' own timestamps and from what the workers finished."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from numpy.typing import NDArray

from simulations.lab.results import Finished

TIMEOUT = 30.0  # s without any message while some are still to be read


@dataclass(frozen=True, slots=True, eq=False)
class Produced:
    """Messages of a topic. Arrays of shape [n]; a message is told by its partition and offset."""

    partition: NDArray[np.int64]
    offset: NDArray[np.int64]
    arrival: NDArray[np.float64]  # unix s, the message's own timestamp


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of the requests that arrived in a window. Times in s; None where there is nothing to tell from."""

    start: float  # unix s
    end: float  # unix s
    requests: int
    unfinished: int  # at the time of measuring; they count as late
    duplicates: int  # served more than once
    attainment: float | None  # share of the requests that left within the objective
    latency_p50: float | None  # from arrival to finish, of the finished
    latency_p95: float | None
    latency_p99: float | None
    latency_max: float | None
    longest_lag: int  # most messages that were there and unfinished at one moment in the window
    longest_time_lag: float  # greatest age of an unfinished message at one moment in the window


def read_produced(bootstrap: str, topic: str, start: float | None = None) -> Produced:
    """The messages that are in the topic now, from the first whose timestamp is ``start`` (unix s; None: all).

    Raises KafkaException when the topic is missing, or when the broker stops answering.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "lagcast-lab-measure",  # never joined, never committed to
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "log_level": 2,
        }
    )
    try:
        return _read(consumer, _spans(consumer, topic, start))
    finally:
        consumer.close()


def _spans(consumer: Consumer, topic: str, start: float | None) -> dict[int, tuple[int, int]]:
    """First and end offset to read of each partition that has something to read."""
    described = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic]
    if described.error is not None:
        raise KafkaException(described.error)
    spans = {}
    for number in described.partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=TIMEOUT)
        if start is not None:
            asked = TopicPartition(topic, number, int(start * 1000))
            low = consumer.offsets_for_times([asked], timeout=TIMEOUT)[0].offset
        if 0 <= low < high:  # below 0: no message is that young
            spans[number] = (low, high)
    consumer.assign([TopicPartition(topic, number, low) for number, (low, _) in spans.items()])
    return spans


def _read(consumer: Consumer, spans: dict[int, tuple[int, int]]) -> Produced:
    rows: list[tuple[int, int, float]] = []
    open_ends = {number: high for number, (_, high) in spans.items()}
    heard = time.monotonic()
    while open_ends:
        messages = consumer.consume(10_000, 0.2)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > TIMEOUT:
            raise TimeoutError(f"nothing read for {TIMEOUT:g} s; still open: partitions {sorted(open_ends)}")
        for message in messages:
            failed = message.error()
            if failed is not None:
                raise KafkaException(failed)
            number, offset = message.partition(), message.offset()
            if number is None or offset is None or number not in open_ends:
                continue
            if offset < open_ends[number]:
                rows.append((number, offset, message.timestamp()[1] / 1000))
            if offset >= open_ends[number] - 1:
                del open_ends[number]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return Produced(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2])


def measure(
    produced: Produced,
    finished: Finished,
    within: float,
    start: float = -np.inf,
    end: float = np.inf,
    now: float | None = None,
) -> Measured:
    """Judge the requests that arrived in [start, end) (unix s) by the objective ``within`` (s).

    A request served twice left when it was finished first. One that was never finished is late, and its age counts up
    to ``now`` (unix s, default the clock's). Lag counts every request that is unfinished within the window, also those
    that arrived before it.
    """
    now = time.time() if now is None else now
    left, served = _left(produced, finished)
    inside = (produced.arrival >= start) & (produced.arrival < end)
    latency = left[inside] - produced.arrival[inside]
    done = np.isfinite(latency)
    quantiles: list[float] | list[None] = [None] * 4
    if done.any():
        quantiles = [float(q) for q in np.quantile(latency[done], [0.5, 0.95, 0.99, 1.0])]
    first = max(start, float(produced.arrival.min())) if len(produced.arrival) else start
    most, oldest = _lags(produced.arrival, np.minimum(left, now), first, min(end, now))
    return Measured(
        start=start,
        end=end,
        requests=int(inside.sum()),
        unfinished=int((~done).sum()),
        duplicates=int(np.maximum(served[inside] - 1, 0).sum()),
        attainment=float((latency <= within).mean()) if inside.any() else None,
        latency_p50=quantiles[0],
        latency_p95=quantiles[1],
        latency_p99=quantiles[2],
        latency_max=quantiles[3],
        longest_lag=most,
        longest_time_lag=oldest,
    )


def by_window(
    produced: Produced, finished: Finished, within: float, start: float, end: float, width: float
) -> list[Measured]:
    """The same for each ``width`` s of [start, end)."""
    edges = np.arange(start, end, width)
    return [measure(produced, finished, within, float(edge), min(float(edge) + width, end)) for edge in edges]


def _left(produced: Produced, finished: Finished) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """When each produced message was finished first (inf: never), and how often it was served."""
    left = np.full(len(produced.offset), np.inf)
    served = np.zeros(len(produced.offset), dtype=np.int64)
    if not len(produced.offset) or not len(finished.offset):
        return left, served
    places = {
        (number, offset): place
        for place, (number, offset) in enumerate(
            zip(produced.partition.tolist(), produced.offset.tolist(), strict=True)
        )
    }
    ends = zip(finished.partition.tolist(), finished.offset.tolist(), finished.finished.tolist(), strict=True)
    for number, offset, at in ends:
        place = places.get((number, offset))
        if place is not None:
            left[place] = min(left[place], at)
            served[place] += 1
    return left, served


def _lags(arrival: NDArray[np.float64], gone: NDArray[np.float64], start: float, end: float) -> tuple[int, float]:
    """Most unfinished messages at one moment of [start, end), and the greatest age of one of them in it."""
    held = (arrival < end) & (gone > start) & (gone > arrival)
    if not held.any():
        return 0, 0.0
    came, went = np.maximum(arrival[held], start), np.minimum(gone[held], end)
    moments = np.concatenate([came, went])
    steps = np.concatenate([np.ones(len(came), dtype=np.int64), -np.ones(len(went), dtype=np.int64)])
    order = np.lexsort((steps, moments))  # at one moment, first who leaves
    return int(np.cumsum(steps[order]).max()), float((went - arrival[held]).max())
