"""The annotations with which an operator holds a scaler, as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scaler.api.describe import found

PAUSED = "lagcast.io/paused"
PAUSED_REPLICAS = "lagcast.io/paused-replicas"
PAUSED_SCALE_IN = "lagcast.io/paused-scale-in"
PAUSES = (PAUSED, PAUSED_REPLICAS, PAUSED_SCALE_IN)
MOST = 100_000  # as spec.replicas.max


@dataclass(frozen=True, slots=True)
class Pause:
    """What an operator asks to be held."""

    everything: bool = False  # nothing is changed
    replicas: int | None = None  # the target is brought to this count, and held there
    scale_in: bool = False  # nothing is taken away
    faults: tuple[str, ...] = ()  # values that cannot be read, and what stands in for each

    @property
    def any(self) -> bool:
        """Whether anything is held."""
        return self.everything or self.scale_in or self.replicas is not None


def read_pause(annotations: Mapping[str, str]) -> Pause:
    """The pause that annotations ask for. A value that is not understood holds more, never less: somebody who wrote it
    wanted something held.
    """
    faults: list[str] = []

    def switch(name: str, else_: str) -> bool:
        value = annotations.get(name, "false")
        if value not in ("true", "false"):
            faults.append(f'{name}: found {found(value)}; allowed: "true" or "false"; {else_}')
        return value != "false"

    everything = switch(PAUSED, "nothing is changed")
    scale_in = switch(PAUSED_SCALE_IN, "nothing is taken away")
    text, replicas = annotations.get(PAUSED_REPLICAS), None
    if text is not None:
        if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= MOST:
            replicas = int(text)
        else:
            faults.append(
                f"{PAUSED_REPLICAS}: found {found(text)}; allowed: a whole number from 0 to {MOST}; nothing is changed"
            )
            everything = True
    return Pause(everything, replicas, scale_in, tuple(faults))
