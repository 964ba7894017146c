"""The state file: what runs, where it listens, where its files are. Everybody else reads the endpoints from here."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from simulations.lab import interrupts
from simulations.lab.errors import NotUp, StateUnreadable
from simulations.lab.process import Mark

FILE = "lab.json"
VERSION = 1


class ServerState(BaseModel):
    """One server process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str
    pid: int
    created: float
    command: tuple[str, ...]
    log: Path
    after: tuple[str, ...] = ()  # servers that this one leans on
    grace: float  # s from being told to end to being killed
    stopped: bool = False  # on purpose, by stop()

    @property
    def mark(self) -> Mark:
        return Mark(self.pid, self.created, self.command)


class LabState(BaseModel):
    """The whole file. ``endpoints`` is part -> name -> value, e.g. kafka -> bootstrap -> 127.0.0.1:15123."""

    model_config = ConfigDict(extra="forbid")

    version: int = VERSION
    ports: dict[str, int] = {}
    servers: dict[str, ServerState] = {}
    endpoints: dict[str, dict[str, str]] = {}

    def save(self, directory: Path) -> None:
        """Replace the file in one step; only its owner may read it (it points at keys and tokens)."""
        scratch = directory / f".{FILE}.{os.getpid()}"
        scratch.touch(mode=0o600)
        scratch.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        scratch.replace(directory / FILE)


def load(directory: Path) -> LabState:
    """The state in ``directory``. Raises NotUp when there is none, StateUnreadable when it is damaged."""
    path = directory / FILE
    try:
        state = LabState.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotUp(f"no lab in {directory}: start one with `lagcast lab up --dir {directory}`") from None
    except (ValidationError, UnicodeDecodeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise StateUnreadable(
            f"{path} is not a state file of the lab ({first}): end its servers and delete it"
        ) from None
    if state.version != VERSION:
        raise StateUnreadable(
            f"{path} has version {state.version}, this lagcast reads {VERSION}: run `lab down` with the old one"
        )
    return state


def default_directory() -> Path:
    """Where the lab lives when nobody says otherwise: the user's state folder (XDG)."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local" / "state") / "lagcast" / "lab"


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file ``path``: one `up`, `down` or build at a time. Waits for whoever holds it, and says so."""
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                interrupts.pause(0.2)
        yield
