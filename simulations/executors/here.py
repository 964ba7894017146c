"""Jobs in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from simulations.executor import Done, failed

J = TypeVar("J")
R = TypeVar("R")


class Here:
    """For one worker: nothing to start, nothing to pickle."""

    def map(
        self, work: Callable[[J], R], jobs: Sequence[J], *, name: Callable[[J], str] = str, done: Done | None = None
    ) -> list[R]:
        """See simulations.executor.Executor."""
        results: list[R] = []
        for place, job in enumerate(jobs):
            try:
                result = work(job)
            except Exception as error:
                raise failed(name(job), error) from error
            results.append(result)
            if done is not None:
                done(place, result)
        return results

    @property
    def width(self) -> int:
        """One."""
        return 1

    def close(self) -> None:
        """Nothing was started."""

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
