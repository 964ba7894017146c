"""Two replicas of `lagcast run` on one scaler that never has enough: killed, stopped, ended, and never two that write.

The record is the API server's own, its audit log: who asked (each process names itself in its User-Agent), when, and
which version of the store came of it. Versions order all changes of the cluster, whoever's clock is wrong.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from scaler.errors import TargetError
from scaler.kube import connect
from simulations.lab.bench_observe import commit
from simulations.lab.lab import Lab
from simulations.lab.ports import free_port
from simulations.lab.topics import ensure_topic
from tests.lab.test_bad_input import deployment

pytestmark = pytest.mark.lab

NAME = "led"
PARTITIONS = 250
LOAD = 600.0  # requests/s, at 2 a replica: more than the partitions allow; one replica more at each tick till then
ROUNDS = 5
KILLED = 20.0  # s, at most, from kill -9 to the new leader's patch
ENDED = 5.0  # s, at most, from SIGTERM
SPEC: dict[str, Any] = {
    "target": {"name": NAME},
    "objective": {"within": "5s", "share": "99%"},
    "replicas": {"min": 1, "max": PARTITIONS, "maxScaleOut": 1, "serviceRate": "2", "leadTime": "3s"},
    "forecast": {"history": "0s", "model": "none"},
    "mode": "Enforce",
}


@dataclass(frozen=True)
class Change:
    """One line of the record."""

    time: float  # unix s at which it was answered
    version: int  # of the store; 0 where nothing was changed
    code: int
    who: str  # the process that asked
    what: str  # resource/subresource
    body: dict[str, Any]


class Record:
    """The audit log, from when the test began."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.begun = file.stat().st_size

    def lines(self) -> list[dict[str, Any]]:
        """As the API server wrote them."""
        with self.file.open("rb") as log:
            log.seek(self.begun)
            return [json.loads(line) for line in log.read().split(b"\n")[:-1]]

    def changes(self) -> list[Change]:
        return sorted(map(change, self.lines()), key=lambda c: c.version)

    def holders(self) -> list[tuple[int, float, str]]:
        """(version, time, holder) each time that the Lease changed hands."""
        found: list[tuple[int, float, str]] = []
        for one in self.changes():
            if one.what == "leases" and one.version:
                holder = str(one.body["spec"].get("holderIdentity") or "")
                if not found or found[-1][2] != holder:
                    found.append((one.version, one.time, holder))
        return found

    def of(self, what: str) -> list[Change]:
        return [one for one in self.changes() if one.what == what]


def change(line: dict[str, Any]) -> Change:
    ref, body, code = line["objectRef"], line.get("responseObject") or {}, line["responseStatus"]["code"]
    what = "/".join(part for part in (ref["resource"], ref.get("subresource")) if part)
    version = int(body.get("metadata", {}).get("resourceVersion") or 0) if code < 300 else 0
    told = datetime.fromisoformat(line["stageTimestamp"]).timestamp()
    return Change(told, version, code, line["userAgent"].removeprefix("lagcast/"), what, body)


class Process:
    """One replica."""

    def __init__(self, lab: Lab, folder: Path, name: str) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / f"{name}.log"
        self._file = self.log.open("wb")
        command = [sys.executable, "-W", "error", "-m", "scaler.cli", "run", "--tick", "2s"]
        command += ["--listen", self.url.removeprefix("http://"), "--kubeconfig", lab.kubernetes.controller_kubeconfig]
        environment = os.environ | {"POD_NAME": name, "POD_NAMESPACE": "lagcast-system"}
        self.process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.STDOUT, env=environment)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=5)

    def ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except requests.RequestException:
            return False

    def metric(self, name: str) -> float | None:
        for line in self.get("/metrics").text.splitlines():
            if line.startswith((name + " ", name + "{")):
                return float(line.rpartition(" ")[2])
        return None

    def signal(self, number: int) -> float:
        """When it was sent, unix s."""
        sent = time.time()
        self.process.send_signal(number)
        return sent

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._file.close()


class Load:
    """Requests without end, each committed at once."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        ensure_topic(bootstrap, NAME, PARTITIONS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 2})
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        begun, sent = time.monotonic(), 0
        while not self._stop.wait(0.5):
            passed = time.monotonic() - begun
            due = int(LOAD * passed)
            for number in range(sent, due):
                producer.produce(NAME, b"x", partition=number % PARTITIONS)
            sent = due
            producer.flush(20)
            ends = [TopicPartition(NAME, p, len(range(p, sent, PARTITIONS))) for p in range(PARTITIONS)]
            commit(admin, NAME, ConsumerGroupTopicPartitions(NAME, ends))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


class Pair:
    """Two replicas, and another for each that is killed."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.record = Record(lab.kubernetes.audit_log)
        self.processes: list[Process] = []
        self.waited: dict[str, list[float]] = {}

    def start(self) -> Process:
        made = Process(self.lab, self.folder, f"replica-{len(self.processes)}")
        self.processes.append(made)
        return made

    def until(self, is_so: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = is_so()
            if found:
                return found
            time.sleep(0.05)
        logs = "\n".join(f"--- {p.name}\n{p.log.read_text()[-2500:]}" for p in self.processes[-3:])
        raise AssertionError(f"not within {seconds:.0f} s: {what}; {self.record.holders()}\n{logs}")

    def running(self) -> list[Process]:
        return [process for process in self.processes if process.process.poll() is None]

    def leader(self) -> Process:
        """Who leads, when both are warm and it has patched."""

        def settled() -> Process | None:
            holders = self.record.holders()
            if not holders or not holders[-1][2] or not all(process.ready() for process in self.running()):
                return None
            leader = next((p for p in self.running() if holders[-1][2].startswith(p.name + "_")), None)
            return leader if leader is not None and self.patches(leader) else None

        found: Process = self.until(settled, "two are ready, and one leads and patches")
        return found

    def other(self, than: Process) -> Process:
        (found,) = [process for process in self.running() if process is not than]
        return found

    def patches(self, process: Process, *, by_others: bool = False) -> list[Change]:
        """The changes of the count that it made, or that others did."""
        made = [one for one in self.record.of("deployments/scale") if one.version]
        return [one for one in made if one.who.startswith(process.name + "_") is not by_others]

    def renewed(self, process: Process) -> None:
        """Wait until it renews the Lease, which it holds: the whole of its time is before it."""
        since = time.time()

        def again() -> bool:
            leases = [one for one in self.record.of("leases") if one.version and one.time > since]
            return any(str(one.body["spec"].get("holderIdentity")).startswith(process.name + "_") for one in leases)

        self.until(again, f"{process.name} renews the lease", 10.0)

    def taken_over(self, leader: Process, since: float, how: str, limit: float) -> float:
        """s from ``since`` to the first patch of another: of the standby, or of one begun since that looked sooner."""

        def others() -> list[float]:
            return [one.time for one in self.patches(leader, by_others=True) if one.time > since]

        took = float(min(self.until(others, f"another than {leader.name} patches", limit + 20)) - since)
        self.waited.setdefault(how, []).append(took)
        assert took < limit, f"{how}: {took:.1f} s"
        return took


@contextmanager
def declared(lab: Lab) -> Iterator[None]:
    kafka = {"bootstrapServers": lab.kafka.bootstrap, "topic": NAME, "consumerGroup": NAME}
    scaler = {
        "apiVersion": "lagcast.io/v1alpha1",
        "kind": "PredictiveScaler",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {**SPEC, "kafka": kafka},
    }
    lab.kubernetes.run("apply", "--server-side", "-f", str(Path(__file__).parents[2] / "manifests" / "crd"))
    lab.kubernetes.run("wait", "--for=condition=Established", "crd/predictivescalers.lagcast.io", "--timeout=30s")
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": [deployment(NAME), scaler]})
    done = lab.kubernetes.run("apply", "-f", "-", stdin=items)
    assert done.code == 0, done.output
    try:
        yield
    finally:
        for kind in ("predictivescaler", "deployment"):
            lab.kubernetes.run("delete", kind, NAME, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def pair(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    lab.kwok.add_nodes(2, 1, prefix="led")
    load = Load(lab.kafka.bootstrap)
    made = Pair(lab, tmp_path_factory.mktemp("leader"))
    try:
        with declared(lab):
            made.start()
            made.start()
            yield made
            for process in made.processes:
                process.close()
    finally:
        for process in made.processes:
            process.close()
        load.stop()


def test_one_leads_and_the_other_is_warm(pair: Pair) -> None:
    leader = pair.leader()
    standby = pair.other(leader)
    assert leader.metric("lagcast_leader") == 1
    assert standby.metric("lagcast_leader") == 0
    assert leader.get("/leader").json()["leads"] is True
    told: dict[str, Any] = {}

    def knows() -> bool:
        """At its next look at the Lease: until then it names whoever held that before, of an earlier test maybe."""
        told.update(standby.get("/leader").json())
        return str(told["holder"]).startswith(leader.name + "_")

    pair.until(knows, "the standby knows who leads", 10.0)
    assert told["leads"] is False
    seen: list[dict[str, Any]] = []

    def decides() -> bool:
        """On fresh readings: of 250 partitions a busy machine may not read all in time at every tick."""
        seen[:] = standby.get("/status").json()
        read = [seen[0]["inputs"][source]["status"] for source in ("kafka", "kubernetes")]
        return bool(seen[0]["desired"]) and read == ["fresh", "fresh"]

    pair.until(decides, "the standby decides, too")
    (row,) = seen
    assert row["outcome"]["reason"] == "Standby"
    assert leader.metric("lagcast_desired_replicas") is not None
    assert standby.metric("lagcast_desired_replicas") is None, "series of scalers are the leader's"


def test_after_a_kill_another_patches_within_20_s(pair: Pair) -> None:
    for _ in range(ROUNDS):
        leader = pair.leader()
        killed = leader.signal(signal.SIGKILL)
        leader.process.wait()
        pair.start()
        pair.taken_over(leader, killed, "kill -9", KILLED)


def test_after_a_sigterm_another_patches_within_5_s(pair: Pair) -> None:
    for _ in range(2):
        leader = pair.leader()
        ended = leader.signal(signal.SIGTERM)
        assert leader.process.wait(10) == 0
        pair.start()
        pair.taken_over(leader, ended, "SIGTERM", ENDED)


def test_a_leader_that_was_stopped_writes_nothing_when_it_goes_on(pair: Pair) -> None:
    """It goes on at the very moment at which another takes the Lease, or a moment after that one's first patch."""
    for number in range(ROUNDS):
        leader = pair.leader()
        standby = pair.other(leader)
        time.sleep(0.13 * number)  # not always at the same point of its tick
        stopped = leader.signal(signal.SIGSTOP)
        before = len(pair.patches(leader))
        if number % 2:
            pair.taken_over(leader, stopped, "SIGSTOP", KILLED)
            leader.signal(signal.SIGCONT)
        else:
            pair.until(lambda s=standby: pair.record.holders()[-1][2].startswith(s.name + "_"), "it is taken over")
            leader.signal(signal.SIGCONT)
            pair.taken_over(leader, stopped, "SIGSTOP", KILLED)
        pair.until(lambda p=leader: p.metric("lagcast_leader") == 0, "it is a standby", 10.0)
        time.sleep(3.0)  # more than a tick
        assert leader.process.poll() is None, "it goes on as a standby"
        late = len(pair.patches(leader)) - before
        assert late <= 1, "one that was under way when it was stopped, at most"


def test_a_stop_that_the_lease_outlasts_changes_no_hands(pair: Pair) -> None:
    """Eleven seconds: past the deadline, so it may write nothing before it has renewed."""
    leader = pair.leader()
    pair.renewed(leader)
    leader.signal(signal.SIGSTOP)
    time.sleep(11.0)
    went_on = leader.signal(signal.SIGCONT)
    holder = pair.record.holders()[-1][2]
    first = pair.until(
        lambda: [one for one in pair.patches(leader) if one.time > went_on], "it patches again", seconds=10.0
    )[0]
    assert pair.record.holders()[-1][2] == holder
    renewed = [one for one in pair.record.of("leases") if one.time > went_on and one.version]
    assert renewed[0].version < first.version, "the lease first"


def test_no_change_by_a_stale_leader_in_the_api_servers_record(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    holders = pair.record.holders()
    patches = pair.record.of("deployments/scale")
    written = [one for one in pair.record.changes() if one.version and one.what != "leases"]
    assert {"deployments/scale", "predictivescalers/status", "events"} <= {one.what for one in written}
    stale = []
    for one in written:
        held = [holder for version, _, holder in holders if version < one.version]
        if not held or held[-1] != one.who:
            stale.append((one, held[-1:]))
    with capsys.disabled():
        print(  # noqa: T201 - the figures that this test is for
            f"\n  {len(holders)} times the lease changed hands; {sum(1 for one in patches if one.version)} patches of"
            f" the count by {len({one.who for one in patches})} processes, {len(stale)} by one that did not lead"
        )
        for how, waited in pair.waited.items():
            times = ", ".join(f"{took:.1f}" for took in waited)
            print(f"  from {how} to the next leader's patch: {times} s")  # noqa: T201
    assert not stale
    assert len({one.who for one in patches}) >= ROUNDS + 2
    for process in pair.processes:
        log = process.log.read_text(encoding="utf-8")
        assert "Traceback" not in log
        assert not [line for line in log.splitlines() if "forbidden" in line and "ease" in line]
        assert "please report it" not in log


class StoppedOnce:
    """A fence that lets all through, in a process that is stopped between the check and the content."""

    patience = 2.0  # which a machine that stands still for a second leaves enough of

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.open = False  # the answer did not say what became of it

    @contextmanager
    def writing(self) -> Iterator[None]:
        yield

    def check(self) -> None:
        time.sleep(self.seconds)

    def unsure(self) -> None:
        self.open = True


@pytest.mark.parametrize(("seconds", "count"), [(0.0, 4), (4.0, 3)])
def test_the_api_server_takes_no_content_that_comes_too_late(lab: Lab, seconds: float, count: int) -> None:
    """What is left of the double write: stopped when the check was made and the content was not yet sent."""
    name = f"late-{count}"
    lab.kubernetes.run("apply", "-f", "-", stdin=json.dumps(deployment(name)))
    fence = StoppedOnce(seconds)
    client = connect(Path(lab.kubernetes.controller_kubeconfig)).fenced(fence, "test")
    path = f"/apis/apps/v1/namespaces/default/deployments/{name}/scale"
    body = [
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
    ]
    try:
        answer = client.call("PATCH", path, body=body, content_type="application/json-patch+json")
        assert answer.ok == (count == 4), answer
        assert fence.open == (count == 3), "who is given up is not told that nothing was done"
    except TargetError:
        assert count == 3
    time.sleep(1.0)
    found = lab.kubernetes.run("get", "deployment", name, "-o", "jsonpath={.spec.replicas}").output
    lab.kubernetes.run("delete", "deployment", name, "--wait=false")
    assert found == str(count)
