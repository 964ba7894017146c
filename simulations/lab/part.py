"""What the lab knows of each part: the programs it needs, its servers in their order, its endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from simulations.lab.process import GRACE
from simulations.lab.programs import Program, Progress
from simulations.lab.requirements import Requirement


@dataclass(frozen=True, slots=True)
class Server:
    """One process: how to start it and how to tell that it serves."""

    name: str
    part: str
    command: tuple[str, ...]
    ready: Callable[[], str | None]  # None when it serves, else what is still missing
    after: tuple[str, ...] = ()  # servers that must serve before this one starts
    env: Mapping[str, str] = field(default_factory=dict)
    patience: float = 60.0  # s from start to serving
    grace: float = GRACE  # s from being told to end to being killed
    first: Callable[[], None] | None = None  # done before each start, once those before it serve


@dataclass(frozen=True, slots=True)
class Site:
    """Where one lab lives: its folder and its ports by name."""

    directory: Path
    ports: Mapping[str, int]

    def folder(self, name: str) -> Path:
        """``directory``/``name``, made if need be, readable by its owner only."""
        path = self.directory / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


class Part(Protocol):
    """One selectable part of the lab."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Parts without which this one cannot work."""
        ...

    @property
    def port_names(self) -> tuple[str, ...]: ...

    @property
    def programs(self) -> tuple[Program, ...]:
        """Built by the lab."""
        ...

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """Installed by the user, needed at each start."""
        ...

    def prepare(self, site: Site, progress: Progress) -> None:
        """Write settings, keys and empty data folders; whatever is there already stays."""
        ...

    def servers(self, site: Site) -> tuple[Server, ...]: ...

    def finish(self, site: Site, progress: Progress) -> None:
        """What can only be done once the servers serve; done again after each start, so it must be repeatable."""
        ...

    def endpoints(self, site: Site) -> dict[str, str]: ...
