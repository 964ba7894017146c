"""Server processes of one lab: started in their order, watched until they serve, ended; each noted at once."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from simulations.lab import interrupts
from simulations.lab.errors import StartFailed
from simulations.lab.part import Server
from simulations.lab.process import end_all, find, spawn
from simulations.lab.programs import Progress
from simulations.lab.state import LabState, ServerState

SECOND_CHANCE = 10.0  # s that a running server has to answer before `up` starts it anew


class Supervisor:
    """Starts and ends servers, and writes each change into ``state`` and its file at once."""

    def __init__(self, directory: Path, state: LabState) -> None:
        self.directory = directory
        self.state = state

    def start(self, servers: Sequence[Server], progress: Progress, started: list[str]) -> None:
        """Start ``servers``, each once those before it serve; ``started`` is told of each process at once."""
        waiting = list(servers)
        coming: dict[str, tuple[Server, float]] = {}  # name -> server, until when
        while waiting or coming:
            held_up = {server.name for server in waiting} | coming.keys()
            for server in [each for each in waiting if not held_up & set(each.after)]:
                self._spawn(server)
                started.append(server.name)
                waiting.remove(server)
                coming[server.name] = (server, time.monotonic() + server.patience)
            progress(f"starting {', '.join(coming)}")
            for server, until in list(coming.values()):
                ended = find(self.state.servers[server.name].mark) is None
                fault = None if ended else server.ready()
                if ended or (fault is not None and time.monotonic() > until):
                    raise StartFailed(self._what_happened(server.name, fault or "it ended at once"))
                if fault is None:
                    del coming[server.name]
            interrupts.pause(0.05 if coming else 0.0)

    def _spawn(self, server: Server) -> None:
        if server.first is not None:
            server.first()
        log = self.directory / "logs" / f"{server.name}.log"
        log.parent.mkdir(exist_ok=True)
        try:
            mark = spawn(server.command, log=log, directory=self.directory, env=server.env)
        except OSError as error:
            raise StartFailed(f"{server.name} could not be started: {error}") from None
        self.state.servers[server.name] = ServerState(
            part=server.part,
            pid=mark.pid,
            created=mark.created,
            command=mark.command,
            log=log,
            after=server.after,
            grace=server.grace,
        )
        self.state.save(self.directory)

    @contextlib.contextmanager
    def undone_on_error(self) -> Iterator[list[str]]:
        """Servers named in the list are ended when the block fails or is interrupted."""
        started: list[str] = []
        before = dict(self.state.servers)
        try:
            yield started
        except BaseException:
            self.end(started)
            for name in started:
                self.state.servers.pop(name, None)
                if name in before:  # dead or stopped it was, and is again
                    self.state.servers[name] = before[name]
            self.state.save(self.directory)
            raise

    def end(self, servers: Iterable[str]) -> int:
        """End what runs of ``servers``, in the reverse of the order in which they start; how many ran."""
        left = {name: known for name in servers if (known := self.state.servers.get(name)) is not None}
        ended = 0
        while left:
            leaned_on = {name for known in left.values() for name in known.after}
            wave = [name for name in left if name not in leaned_on] or list(left)
            ended += end_all({left[name].mark: left[name].grace for name in wave})
            for name in wave:
                del left[name]
        return ended

    def serves(self, server: Server) -> bool:
        """Whether it runs and answers; one that runs gets a second chance."""
        until = time.monotonic() + SECOND_CHANCE
        while self.runs(server.name):
            if server.ready() is None:
                return True
            if time.monotonic() > until:
                break
            interrupts.pause(0.2)
        return False

    def runs(self, name: str) -> bool:
        known = self.state.servers.get(name)
        return known is not None and find(known.mark) is not None

    def _what_happened(self, name: str, fault: str) -> str:
        log = self.state.servers[name].log
        with log.open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - 4096, 0))
            lines = file.read().decode(errors="replace").strip().splitlines()
        return f"{name} did not come up ({fault}): see {log}, which ends with: {lines[-1] if lines else 'nothing'}"
