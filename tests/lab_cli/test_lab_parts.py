"""How a lab starts, mends and ends its parts: with small real servers in the place of the large ones."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from simulations.lab import lab as lab_module
from simulations.lab import ports, state, supervisor
from simulations.lab.errors import LabError, MissingProgram, NotUp, StartFailed
from simulations.lab.lab import Lab, delete_folder, what_is_missing, with_needs
from simulations.lab.part import Part, Server, Site
from simulations.lab.programs import Program, Progress, silent
from simulations.lab.requirements import Requirement

# Bare sockets, and below no site packages: such a server is there in a tenth of the time that http.server takes.
PAGES = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
    while True:
        with listening.accept()[0] as asked:
            asked.recv(65536)
            asked.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
"""
ABSENT = Requirement("Absent", "no-such-program", (), "", (3,), "install it")


@dataclasses.dataclass
class PagePart:
    """A part of one or two web servers; ``diary`` notes what the lab does with it."""

    name: str
    needs: tuple[str, ...] = ()
    codes: tuple[str, ...] = (PAGES,)
    requirements: tuple[Requirement, ...] = ()
    programs: tuple[Program, ...] = ()
    patience: float = 20.0
    grace: float = 0.5
    diary: list[str] = dataclasses.field(default_factory=list)

    @property
    def port_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}-{number}" for number in range(len(self.codes)))

    def prepare(self, site: Site, progress: Progress) -> None:
        self.diary.append("prepare")
        site.folder(self.name)

    def servers(self, site: Site) -> tuple[Server, ...]:
        return tuple(self._server(site, number) for number in range(len(self.codes)))

    def _server(self, site: Site, number: int) -> Server:
        name = self.port_names[number]
        port = site.ports[name]
        after = (*self.port_names[:number], *(f"{need}-0" for need in self.needs))
        command = (sys.executable, "-S", "-c", self.codes[number], str(port))

        def ready() -> str | None:
            try:
                with urllib.request.urlopen(f"http://{ports.HOST}:{port}/", timeout=0.3):
                    return None
            except OSError as error:
                return str(error)

        return Server(name, self.name, command, ready=ready, after=after, patience=self.patience, grace=self.grace)

    def finish(self, site: Site, progress: Progress) -> None:
        assert all(server.ready() is None for server in self.servers(site))
        self.diary.append("finish")

    def endpoints(self, site: Site) -> dict[str, str]:
        return {"url": f"http://{ports.HOST}:{site.ports[self.port_names[0]]}"}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    """The lab's parts: "ground" with two servers, "above" that needs it, and "apart"."""
    made: dict[str, Part] = {
        part.name: part
        for part in (PagePart("ground", codes=(PAGES, PAGES)), PagePart("above", needs=("ground",)), PagePart("apart"))
    }
    monkeypatch.setattr(lab_module, "PARTS", made)
    monkeypatch.setattr(supervisor, "SECOND_CHANCE", 0.5)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "lab"
    yield place
    if (place / state.FILE).exists():
        Lab.open(place).down()


def diary(part: Part) -> list[str]:
    assert isinstance(part, PagePart)
    return part.diary


def conditions(lab: Lab) -> dict[str, str]:
    return {line.server: line.condition for line in lab.status()}


def pids(lab: Lab) -> dict[str, int]:
    return {line.server: line.pid for line in lab.status() if line.pid is not None}


class TestUp:
    def test_a_part_brings_what_it_needs_and_nothing_else(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["above"])
        assert conditions(lab) == dict.fromkeys(["ground-0", "ground-1", "above-0"], "serving")
        assert lab.all_endpoints().keys() == {"ground", "above"}
        assert diary(parts["apart"]) == []

    def test_servers_start_after_those_they_lean_on(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, parts)
        begun = {name: psutil.Process(pid).create_time() for name, pid in pids(lab).items()}
        assert begun["ground-0"] < begun["ground-1"]
        assert begun["ground-0"] < begun["above-0"]

    def test_another_process_reads_the_endpoints(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["apart"])
        assert Lab.open(folder).all_endpoints() == lab.all_endpoints()

    def test_again_changes_nothing(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, parts)
        before = pids(lab)
        said: list[str] = []
        again = Lab.up(folder, parts, said.append)
        assert pids(again) == before
        assert diary(parts["ground"]) == ["prepare", "finish"]
        assert not any("preparing" in line for line in said)

    def test_parts_can_be_added_later(self, parts: dict[str, Part], folder: Path) -> None:
        before = pids(Lab.up(folder, ["apart"]))
        after = pids(Lab.up(folder, ["ground"]))
        assert after.items() > before.items()
        assert after.keys() == {"apart-0", "ground-0", "ground-1"}

    def test_a_dead_server_is_started_again_alone(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, parts)
        before = pids(lab)
        psutil.Process(before["ground-1"]).kill()
        until = time.monotonic() + 5
        while conditions(lab)["ground-1"] != "dead":
            assert time.monotonic() < until
        after = pids(Lab.up(folder, parts))
        assert after.pop("ground-1") != before.pop("ground-1")
        assert after == before

    def test_a_server_that_hangs_is_replaced(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["apart"])
        before = pids(lab)["apart-0"]
        os.kill(before, signal.SIGSTOP)
        after = pids(Lab.up(folder, ["apart"]))["apart-0"]
        assert after != before
        assert not psutil.pid_exists(before)

    def test_a_port_taken_while_the_lab_was_down_is_changed(self, parts: dict[str, Part], folder: Path) -> None:
        import socket

        lab = Lab.up(folder, ["apart"])
        port = state.load(folder).ports["apart-0"]
        lab.down()
        with socket.create_server((ports.HOST, port), reuse_port=False):
            again = Lab.up(folder, ["apart"])
            assert state.load(folder).ports["apart-0"] != port
            assert conditions(again) == {"apart-0": "serving"}

    def test_an_unknown_part(self, parts: dict[str, Part], folder: Path) -> None:
        with pytest.raises(LabError, match="no part 'kafak': its parts are ground, above, apart"):
            Lab.up(folder, ["kafak"])

    def test_a_missing_program_stops_it_before_anything_starts(self, parts: dict[str, Part], folder: Path) -> None:
        parts["late"] = PagePart("late", requirements=(ABSENT,))
        with pytest.raises(MissingProgram, match="Absent 3 or later is not on PATH: install it"):
            Lab.up(folder, ["apart", "late"])
        assert diary(parts["apart"]) == []
        assert what_is_missing(["late"]) == ["Absent 3 or later is not on PATH: install it"]
        assert what_is_missing(["apart"]) == []


class TestFailure:
    def test_a_server_that_ends_is_told_with_its_last_words(self, parts: dict[str, Part], folder: Path) -> None:
        parts["broken"] = PagePart("broken", codes=("import sys; print('first'); sys.exit('the disk is full')",))
        with pytest.raises(
            StartFailed, match=r"broken-0 did not come up .*which ends with: the disk is full"
        ) as caught:
            Lab.up(folder, ["ground", "broken"])
        assert str(folder / "logs" / "broken-0.log") in str(caught.value)
        assert conditions(Lab.open(folder)) == {}, "what this up started is ended"

    def test_one_that_never_answers_is_given_up(self, parts: dict[str, Part], folder: Path) -> None:
        parts["mute"] = PagePart("mute", codes=("import time; time.sleep(60)",), patience=0.5)
        with pytest.raises(StartFailed, match="mute-0 did not come up"):
            Lab.up(folder, ["mute"])
        assert state.load(folder).servers == {}

    def test_servers_of_an_earlier_up_stay(self, parts: dict[str, Part], folder: Path) -> None:
        before = pids(Lab.up(folder, ["apart"]))
        parts["broken"] = PagePart("broken", codes=("raise SystemExit(1)",))
        with pytest.raises(StartFailed):
            Lab.up(folder, ["apart", "broken"])
        assert pids(Lab.open(folder)) == before

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_an_interrupt_ends_what_was_started(
        self, parts: dict[str, Part], folder: Path, number: signal.Signals
    ) -> None:
        parts["mute"] = PagePart("mute", codes=("import time; time.sleep(60)",))
        timer = threading.Timer(0.6, os.kill, (os.getpid(), number))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            Lab.up(folder, ["ground", "mute"])
        timer.join()
        assert state.load(folder).servers == {}
        assert not [line for line in _command_lines() if "time.sleep(60)" in line and "mute" in line]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_an_interrupt_during_stop_comes_after_it(self, parts: dict[str, Part], folder: Path) -> None:
        # The server itself interrupts us when it is told to end, so that no clock decides when that is.
        interrupt = f"import os, signal\ndef bye(*_):\n  os.kill({os.getpid()}, signal.SIGINT)\n  os._exit(0)\n"
        parts["rude"] = PagePart("rude", codes=(interrupt + "signal.signal(signal.SIGTERM, bye)\n" + PAGES,), grace=5.0)
        lab = Lab.up(folder, ["rude"])
        with pytest.raises(KeyboardInterrupt):
            lab.stop("rude-0")
        assert conditions(lab) == {"rude-0": "stopped"}


class TestStopAndStart:
    def test_one_server_stops_and_comes_back_where_it_was(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, parts)
        before, endpoints = pids(lab), lab.all_endpoints()
        lab.stop("ground-0")
        assert conditions(lab)["ground-0"] == "stopped"
        lab.start("ground-0")
        assert set(conditions(lab).values()) == {"serving"}
        assert lab.all_endpoints() == endpoints
        after = pids(lab)
        assert after.pop("ground-0") != before.pop("ground-0")
        assert after == before

    def test_start_of_a_serving_server_changes_nothing(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["apart"])
        before = pids(lab)
        lab.start("apart-0")
        assert pids(lab) == before

    def test_up_starts_a_stopped_server(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["apart"])
        lab.stop("apart-0")
        assert conditions(Lab.up(folder, ["apart"])) == {"apart-0": "serving"}

    def test_a_server_that_fails_to_come_back_can_be_started_later(self, parts: dict[str, Part], folder: Path) -> None:
        import socket

        lab = Lab.up(folder, ["apart"])
        lab.stop("apart-0")
        with socket.create_server((ports.HOST, state.load(folder).ports["apart-0"])), pytest.raises(StartFailed):
            lab.start("apart-0")
        assert conditions(lab) == {"apart-0": "stopped"}
        lab.start("apart-0")
        assert conditions(lab) == {"apart-0": "serving"}

    def test_an_unknown_server(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["apart"])
        for act in (lab.stop, lab.start):
            with pytest.raises(NotUp, match="has no server 'kafka': apart-0"):
                act("kafka")

    def test_endpoints_of_a_part_that_is_not_up(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["apart"])
        with pytest.raises(NotUp, match=f"kafka is not up in {folder}"):
            _ = lab.kafka


class TestDown:
    def test_nothing_runs_afterwards(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, parts)
        before = pids(lab)
        assert lab.down() == 4
        assert not any(psutil.pid_exists(pid) for pid in before.values())
        assert lab.all_endpoints() == {}
        assert Lab.open(folder).down() == 0

    def test_ports_and_files_stay_for_the_next_up(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["apart"])
        endpoints = lab.all_endpoints()
        (folder / "apart" / "data").write_text("kept")
        lab.down()
        assert Lab.up(folder, ["apart"]).all_endpoints() == endpoints
        assert (folder / "apart" / "data").read_text() == "kept"

    def test_a_process_that_took_over_an_id_is_left_alone(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["apart"])
        noted = state.load(folder)
        mine = noted.servers["apart-0"]
        stale = mine.model_copy(update={"created": mine.created - 86_400})
        noted.model_copy(update={"servers": {"apart-0": stale}}).save(folder)
        try:
            assert lab.down() == 0
            assert psutil.pid_exists(mine.pid)
        finally:
            noted.save(folder)

    def test_a_folder_is_deleted_only_when_nothing_runs(self, parts: dict[str, Part], folder: Path) -> None:
        lab = Lab.up(folder, ["apart"])
        with pytest.raises(LabError, match="lagcast lab down"):
            delete_folder(lab)
        lab.down()
        delete_folder(lab)
        assert not folder.exists()


def test_the_real_parts_start_in_an_order_that_serves_their_needs() -> None:
    assert with_needs(["kwok"]) == ["kubernetes", "kwok"]
    assert with_needs(["prometheus", "kafka"]) == ["kafka", "prometheus"]
    assert with_needs([]) == []


def test_a_silent_progress_takes_anything() -> None:
    silent("building")


def _command_lines() -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            yield " ".join(process.cmdline())
        except psutil.Error:
            continue
