"""The lab: starts its parts, leaves alone what serves, starts again what died, and ends what it started."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulations.lab import endpoints, interrupts, ports, state
from simulations.lab.cluster_api import ClusterApiPart
from simulations.lab.errors import LabError, NotUp
from simulations.lab.kafka import KafkaPart
from simulations.lab.karpenter import KarpenterPart
from simulations.lab.keda import KedaPart
from simulations.lab.kubernetes import KubernetesPart
from simulations.lab.kwok import KwokPart
from simulations.lab.part import Part, Server, Site
from simulations.lab.process import find
from simulations.lab.programs import Progress, build, silent
from simulations.lab.prometheus import PrometheusPart
from simulations.lab.requirements import locate, missing
from simulations.lab.state import LabState
from simulations.lab.supervisor import Supervisor

USUAL: tuple[Part, ...] = (KafkaPart(), KubernetesPart(), KwokPart(), PrometheusPart())
# These take long to build or act on everybody's pods: they start when they are named.
PARTS: dict[str, Part] = {part.name: part for part in (*USUAL, KedaPart(), KarpenterPart(), ClusterApiPart())}
DEFAULT = tuple(part.name for part in USUAL)


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One line of `lagcast lab status`."""

    part: str
    server: str
    condition: str  # serving | not serving | dead | stopped
    pid: int | None
    detail: str  # what is wrong; empty when it serves
    log: str


def with_needs(names: Iterable[str]) -> list[str]:
    """The parts named, and those that they cannot do without, in the order in which they start.

    Raises LabError for an unknown name.
    """
    wanted = set(names)
    unknown = sorted(wanted - PARTS.keys())
    if unknown:
        raise LabError(f"the lab has no part {unknown[0]!r}: its parts are {', '.join(PARTS)}")
    wanted |= {need for name in wanted for need in PARTS[name].needs}
    return [name for name in PARTS if name in wanted]


def what_is_missing(names: Iterable[str] = DEFAULT) -> list[str]:
    """One sentence for each program to be installed before these parts can start; what is built needs no builder."""
    parts = [PARTS[name] for name in with_needs(names)]
    needed = [requirement for part in parts for requirement in part.requirements]
    needed += [program.tool for part in parts for program in part.programs if not program.is_built()]
    return missing(dict.fromkeys(needed))


class Lab:
    """One running lab. Make it with :meth:`up`, or with :meth:`open` when somebody else started it."""

    def __init__(self, directory: Path, lab_state: LabState) -> None:
        self.directory = directory
        self._supervisor = Supervisor(directory, lab_state)

    @classmethod
    def up(cls, directory: Path, parts: Iterable[str] = DEFAULT, progress: Progress = silent) -> Lab:
        """Build what is not built, start what does not serve; servers that serve are left alone.

        On an error or Ctrl-C the servers that this call started are ended. Raises MissingProgram, BuildFailed,
        StartFailed, LabError for an unknown part, KeyboardInterrupt.
        """
        chosen = [PARTS[name] for name in with_needs(parts)]
        directory = directory.absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        waiting = functools.partial(progress, f"waiting for another command on the lab in {directory}")
        # A signal after the last check comes after the end: everything serves, and nobody is told that it does not.
        with interrupts.deferred(late=False), state.locked(directory / "lab.lock", waiting):
            try:
                lab_state = state.load(directory)
            except NotUp:
                lab_state = LabState()
            lab = cls(directory, lab_state)
            for requirement in dict.fromkeys(need for part in chosen for need in part.requirements):
                locate(requirement)
            for part in chosen:
                for program in part.programs:
                    build(program, progress)
            lab._bring_up(chosen, progress)
            return lab

    @classmethod
    def open(cls, directory: Path) -> Lab:
        """The lab in ``directory``, as its state file has it. Raises NotUp, StateUnreadable."""
        directory = directory.absolute()
        return cls(directory, state.load(directory))

    def down(self) -> int:
        """End every server of this lab; how many were running. Data, logs and ports stay for the next `up`."""
        with interrupts.deferred(), state.locked(self.directory / "lab.lock"):
            self._reload()
            ended = self._supervisor.end(list(self._state.servers))
            self._state.servers.clear()
            self._state.endpoints.clear()
            self._state.save(self.directory)
            return ended

    def stop(self, *servers: str) -> None:
        """End single servers; their ports and data stay theirs. Raises NotUp for one that this lab does not have."""
        with interrupts.deferred(), state.locked(self.directory / "lab.lock"):
            self._reload()
            self._known(servers)
            self._supervisor.end(servers)
            for name in servers:
                self._state.servers[name] = self._state.servers[name].model_copy(update={"stopped": True})
            self._state.save(self.directory)

    def start(self, *servers: str) -> None:
        """Start single servers again, and wait until they serve. Raises NotUp, StartFailed, KeyboardInterrupt."""
        with interrupts.deferred(), state.locked(self.directory / "lab.lock"):
            self._reload()
            self._known(servers)
            with self._supervisor.undone_on_error() as started:
                lacking = [
                    server
                    for server in self._servers()
                    if server.name in servers and not self._supervisor.serves(server)
                ]
                self._supervisor.end([server.name for server in lacking])
                self._supervisor.start(lacking, silent, started)

    def status(self) -> list[ServerStatus]:
        """How each server of this lab is now."""
        self._reload()
        lines = []
        for server in self._servers():
            known = self._state.servers[server.name]
            process = find(known.mark)
            fault = server.ready() if process is not None else f"process {known.pid} has ended"
            if process is not None:
                condition = "not serving" if fault else "serving"
            else:
                condition = "stopped" if known.stopped else "dead"
            pid = known.pid if process is not None else None
            detail = "" if condition == "stopped" else fault or ""
            lines.append(ServerStatus(server.part, server.name, condition, pid, detail, str(known.log)))
        return lines

    def server_names(self) -> list[str]:
        """The servers that this lab has started, running or not."""
        return list(self._state.servers)

    def all_endpoints(self) -> dict[str, dict[str, str]]:
        """Part -> name -> value, as in the state file."""
        return {part: dict(values) for part, values in self._state.endpoints.items()}

    @property
    def kafka(self) -> endpoints.Kafka:
        return endpoints.Kafka(self, self.directory, **self._endpoints("kafka"))

    @property
    def kubernetes(self) -> endpoints.Kubernetes:
        return endpoints.Kubernetes(self, self.directory, **self._endpoints("kubernetes"))

    @property
    def kwok(self) -> endpoints.Kwok:
        return endpoints.Kwok(self, self.directory, **self._endpoints("kwok"))

    @property
    def prometheus(self) -> endpoints.Prometheus:
        return endpoints.Prometheus(self, self.directory, **self._endpoints("prometheus"))

    def _bring_up(self, parts: Sequence[Part], progress: Progress) -> None:
        for part in parts:
            self._choose_ports(part)
        self._state.save(self.directory)
        site = self._site()
        with self._supervisor.undone_on_error() as started:
            for part in parts:
                if self._is_healthy(part, site):
                    continue
                progress(f"preparing {part.name}")
                part.prepare(site, progress)
                self._state.endpoints.pop(part.name, None)  # until it is finished again
            unfinished = [part for part in parts if part.name not in self._state.endpoints]
            servers = [server for part in unfinished for server in part.servers(site)]
            lacking = [server for server in servers if not self._supervisor.serves(server)]
            self._supervisor.end([server.name for server in lacking])  # those that run but do not serve
            self._supervisor.start(lacking, progress, started)
            for part in unfinished:
                part.finish(site, progress)
                self._state.endpoints[part.name] = part.endpoints(site)
            self._state.save(self.directory)
            interrupts.check()

    def _is_healthy(self, part: Part, site: Site) -> bool:
        names = {name for name, known in self._state.servers.items() if known.part == part.name}
        if not names or part.name not in self._state.endpoints:
            return False
        return all(self._supervisor.serves(server) for server in part.servers(site))

    def _choose_ports(self, part: Part) -> None:
        """New ports for a part that has none, or whose ports somebody took while none of it ran."""
        anything_runs = any(
            self._supervisor.runs(name) for name, known in self._state.servers.items() if known.part == part.name
        )
        for name in part.port_names:
            port = self._state.ports.get(name)
            if port is None or not (anything_runs or ports.is_free(port)):
                self._state.ports[name] = ports.free_port(self._state.ports.values())

    def _site(self) -> Site:
        return Site(self.directory, self._state.ports)

    def _servers(self) -> list[Server]:
        """All servers that this lab has, as they would be started."""
        parts = [part for part in PARTS.values() if set(part.port_names) <= self._state.ports.keys()]
        every = [server for part in parts for server in part.servers(self._site())]
        return [server for server in every if server.name in self._state.servers]

    def _known(self, servers: Iterable[str]) -> None:
        for name in servers:
            if name not in self._state.servers:
                raise NotUp(
                    f"the lab in {self.directory} has no server {name!r}: {', '.join(self._state.servers) or 'none'}"
                )

    def _endpoints(self, part: str) -> dict[str, str]:
        try:
            return self._state.endpoints[part]
        except KeyError:
            raise NotUp(f"{part} is not up in {self.directory}: `lagcast lab up --only {part}`") from None

    @property
    def _state(self) -> LabState:
        return self._supervisor.state

    def _reload(self) -> None:
        """Read the file again: another process may have started or stopped something."""
        self._supervisor.state = state.load(self.directory)


def delete_folder(lab: Lab) -> None:
    """Delete the folder of a lab that is down. Raises LabError while one of its servers runs."""
    if any(line.pid is not None for line in lab.status()):
        raise LabError(f"servers of the lab in {lab.directory} run: end them with `lagcast lab down`")
    shutil.rmtree(lab.directory)
