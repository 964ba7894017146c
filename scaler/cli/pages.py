"""What the running controller says of itself over HTTP."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from scaler.clock import SteadyClock
from scaler.controller import Controller
from scaler.explain.encode import to_json
from scaler.explain.stages import explain as explained
from scaler.journal_rows import facts_of
from scaler.leadership import Leadership
from scaler.status import as_dict, pool_as_dict

LATE_TICKS = 10  # without an end: the process is to be started anew


class _Known(Protocol):
    @property
    def missing(self) -> str | None: ...


class Pages:
    """Asked from the server's threads."""

    def __init__(
        self, controller: Controller, leadership: Leadership, scalers: _Known, clock: SteadyClock, tick: float
    ) -> None:
        self.warm = threading.Event()
        self._controller = controller
        self._leadership = leadership
        self._scalers = scalers
        self._clock = clock
        self._tick = tick
        self._started = clock.elapsed()

    def healthy(self) -> str | None:
        """None, or what is wrong."""
        ended = self._controller.last_tick
        late = self._clock.elapsed() - (self._started if ended is None else ended)
        return f"no tick has ended for {late:.0f} s" if late > LATE_TICKS * self._tick else None

    def ready(self) -> str | None:
        """None, or what is missing. A standby is ready when it is warm: it is there to take over."""
        if not self.warm.is_set() or self._controller.last_tick is None:
            return "warming up"
        return self._scalers.missing

    def rows(self) -> list[dict[str, Any]]:
        """Every scaler's newest tick."""
        return [as_dict(row, self._clock.now()) for row in self._controller.rows.values()]

    def pools(self) -> list[dict[str, Any]]:
        """Every pool's newest tick."""
        return [pool_as_dict(row, self._clock.now()) for row in self._controller.pool_rows.values()]

    def explain(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Why a scaler is decided as it is; None: no tick of it has ended."""
        for row in self._controller.rows.values():
            if (row.resource.metadata.namespace, row.resource.metadata.name) == (namespace, name):
                return to_json(explained(facts_of(row, self._tick)))
        return None

    def leader(self) -> dict[str, Any]:
        """Whether this replica leads, and who else does."""
        return self._leadership.page()
