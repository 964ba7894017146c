"""Sends a load into a topic: what is due goes out when it is due, with that time as its timestamp."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from numpy.typing import NDArray

from forecasting.series import Series
from simulations.lab.keys import Keys
from simulations.lab.topics import ensure_topic
from simulations.traces import arrival_times

BUNCH = 0.02  # s; a message that leaves later than this after it was due is counted as late
LINGER = 5  # ms
BLOCK = 5.0  # s of load drawn ahead
GIVE_UP = 60.0  # s for the broker to take what was sent: longer than an outage that a run is to live through


@dataclass(frozen=True, slots=True)
class Sent:
    """What a run sent. Times in s; a lateness is how long after its due time a message was handed to the producer."""

    messages: int
    failed: int  # not taken by the broker
    start: float | None  # unix s, due time of the first message
    end: float | None  # unix s, due time of the last
    seconds: float  # that the load covers
    rate: float | None  # messages/s over ``seconds``
    late_p50: float | None  # of the live part; None where nothing was live
    late_p99: float | None
    late_max: float | None
    late: int  # messages later than BUNCH
    finished: bool  # False: stop was set before all was sent


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    due: NDArray[np.float64]  # unix s, ascending
    key: NDArray[np.int64]


class LoadRun:
    """One load into one topic. ``series`` says the rates from its own start; the seed, the arrivals and keys.

    ``write_past`` (optional, once) lays the load's beginning into the past and writes it in bulk up to this moment;
    ``run`` goes on from there in real time, so that past and present are one load. Raises KafkaException when the
    broker cannot be reached or refuses.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        series: Series,
        *,
        partitions: int | None = None,
        keys: Keys | None = None,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """``partitions`` are made when the topic is missing; None: it must exist.

        ``progress`` is called now and then with the seconds of the load that are sent.
        """
        self._topic = topic
        self._series = series
        self._keys = keys or Keys()
        self._seed = seed
        self._progress = progress or (lambda seconds: None)
        self._partitions = ensure_topic(bootstrap, topic, partitions)
        self._failed = 0
        self._number = 0
        self._anchor: float | None = None  # unix s at which the series begins
        self._blocks: Iterator[_Block] = iter(())
        self._left: _Block | None = None
        self._settle = 0
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": f"load-{topic}",
                "enable.idempotence": True,
                "linger.ms": LINGER,
                "queue.buffering.max.messages": 100_000,
                "delivery.report.only.error": True,
                "on_delivery": self._not_delivered,
                "log_level": 2,
            }
        )

    @property
    def partitions(self) -> int:
        return self._partitions

    @property
    def anchor(self) -> float | None:
        """Unix s at which the series' own start lies; None until something was sent."""
        return self._anchor

    def write_past(self, seconds: float, stop: threading.Event | None = None) -> Sent:
        """Write the first ``seconds`` of the load as the past that ends now, in order of time and in bulk."""
        if self._anchor is not None:
            raise RuntimeError("the past can be written only once, and before the load runs")
        if not 0 < seconds <= self._length:
            raise ValueError(f"a past of {seconds:g} s does not fit into a load of {self._length:g} s")
        self._begin(time.time() - seconds)
        self._settle = 2  # to wait for the broker takes time, in which more falls due; twice is enough
        return self._send(stop or threading.Event(), live=False, until=None)

    def run(self, stop: threading.Event, duration: float | None = None) -> Sent:
        """Send in real time until the load ends, ``duration`` s have passed, or ``stop`` is set."""
        if self._anchor is None:
            self._begin(time.time())
        return self._send(stop, live=True, until=None if duration is None else time.time() + duration)

    @property
    def _length(self) -> float:
        return self._series.end - self._series.start

    def _begin(self, anchor: float) -> None:
        self._anchor = anchor
        self._blocks = self._draw(anchor - self._series.start)

    def _draw(self, shift: float) -> Iterator[_Block]:
        arrivals, keys = (np.random.default_rng(child) for child in np.random.SeedSequence(self._seed).spawn(2))
        for due in arrival_times(self._series, arrivals, BLOCK):
            yield _Block(due + shift, self._keys.draw(len(due), keys))

    def _send(self, stop: threading.Event, *, live: bool, until: float | None) -> Sent:
        """Send what is due: live, wait for each; else only what is due already."""
        begun, failed, count = time.time(), self._failed, self._number
        assert self._anchor is not None  # noqa: S101 - both callers begin first
        first = last = None
        lateness: list[float] = []
        done = False
        while not done:
            block = self._left or next(self._blocks, None)
            self._left = None
            if block is None:
                break
            for place, (due, key) in enumerate(zip(block.due.tolist(), block.key.tolist(), strict=True)):
                if self._ends(stop, due, live=live, until=until):
                    self._left = _Block(block.due[place:], block.key[place:])
                    done = True
                    break
                self._produce(due, key)
                first, last = due if first is None else first, due
                if live:
                    lateness.append(time.time() - due)
            self._producer.poll(0)
            self._progress((block.due[-1] if len(block.due) else begun) - self._anchor)
        self._flush()
        return self._sent(count, failed, first, last, begun if live else self._anchor, lateness, not stop.is_set())

    def _ends(self, stop: threading.Event, due: float, *, live: bool, until: float | None) -> bool:
        """Wait until ``due``; True when it is not to be sent in this call."""
        if not live:
            if due > time.time() and self._settle > 0:
                self._settle -= 1
                self._flush()
            return stop.is_set() or due > time.time()
        if until is not None and due > until:
            return stop.wait(max(0.0, until - time.time())) or True
        ahead = due - time.time()
        return stop.wait(ahead) if ahead > 0 else stop.is_set()

    def _produce(self, due: float, key: int) -> None:
        value = json.dumps({"id": self._number, "due": round(due, 3)})
        refused_since = time.monotonic()
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value,
                    f"k{key}",
                    partition=key % self._partitions,
                    timestamp=int(due * 1000),
                )
                break
            except BufferError:  # as fast as the broker takes it
                self._producer.poll(0.05)
                if time.monotonic() - refused_since > GIVE_UP:
                    raise self._not_taken(len(self._producer)) from None
        self._number += 1
        if self._number % 256 == 0:
            self._producer.poll(0)

    def _not_delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed += 1

    def _flush(self) -> None:
        left = self._producer.flush(GIVE_UP)
        if left:
            raise self._not_taken(left)

    def _not_taken(self, left: int) -> KafkaException:
        said = f"{left} messages were not taken by the broker within {GIVE_UP:g} s"
        return KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT, said))

    def _sent(
        self,
        count: int,
        failed: int,
        first: float | None,
        last: float | None,
        begun: float,
        lateness: list[float],
        finished: bool,
    ) -> Sent:
        messages, seconds = self._number - count, time.time() - begun
        late = np.array(lateness)
        p50, p99, worst = (float(v) for v in np.quantile(late, [0.5, 0.99, 1.0])) if late.size else (None, None, None)
        return Sent(
            messages=messages,
            failed=self._failed - failed,
            start=first,
            end=last,
            seconds=seconds,
            rate=messages / seconds if seconds > 0 else None,
            late_p50=p50,
            late_p99=p99,
            late_max=worst,
            late=int((late > BUNCH).sum()),
            finished=finished,
        )
