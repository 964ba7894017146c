"""The Lease as the API server keeps it, and the election on it with threads and a clock of their own."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scaler.clock import SystemClock
from scaler.errors import Conflict, Forbidden, TargetNotFound
from scaler.kube import connect
from scaler.leader import Election, Record, Times
from scaler.leader_fence import LeaderFence
from scaler.leader_lease import Elector, KubeLease, Told
from scaler.leadership import NAMESPACE, identity, lease_name
from tests.cluster.api_server import ApiServer, Asked, status

PATH = "/apis/coordination.k8s.io/v1/namespaces/lagcast-system/leases"
FAST = Times(duration=1.5, deadline=1.0, retry=0.1, write=0.2, request=0.3)
SOON = 5.0  # s


class Kept:
    """One Lease, over the versions that are read."""

    def __init__(self) -> None:
        self.item: dict[str, Any] | None = None
        self.versions = itertools.count(1)
        self.refuse: Callable[[Asked], tuple[int, Any] | None] = lambda _: None
        self.holders: list[str] = []

    def answer(self, asked: Asked) -> tuple[int, Any]:
        refused = self.refuse(asked)
        if refused is not None:
            return refused
        if asked.method == "GET":
            if self.item is None:
                return 404, status(404, 'leases "lagcast" not found', details={"name": "lagcast"})
            return 200, self.item
        if (asked.method == "POST") != (self.item is None):
            code = 404 if self.item is None else 409
            return code, status(code, "no", details={"name": "lagcast"})
        if self.item is not None:
            stands = self.item["metadata"]["resourceVersion"]
            if asked.body["metadata"].get("resourceVersion") != stands:
                return 409, status(409, "the object has been modified", details={"name": "lagcast"})
        self.item = asked.body
        self.item["metadata"]["resourceVersion"] = str(next(self.versions))
        self.holders.append(self.item["spec"]["holderIdentity"])
        return 200, self.item


@pytest.fixture
def kept() -> Iterator[tuple[ApiServer, Kept]]:
    api, made = ApiServer(), Kept()
    api.answer = made.answer
    yield api, made
    api.close()


def store(api: ApiServer, folder: Path) -> KubeLease:
    return KubeLease(connect(api.kubeconfig(folder)), NAMESPACE, "lagcast", 1.0)


def test_it_is_written_as_others_read_it(kept: tuple[ApiServer, Kept], tmp_path: Path) -> None:
    api, lease = kept
    leases = store(api, tmp_path)
    assert leases.read() is None
    made = leases.write(Record("one", 15.0, 1.7e9, 1.7e9 + 0.25, 3))
    assert lease.item is not None
    assert lease.item["spec"] == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 3,
        "acquireTime": "2023-11-14T22:13:20.000000Z",
        "renewTime": "2023-11-14T22:13:20.250000Z",
    }
    assert made == Record("one", 15.0, 1.7e9, 1.7e9 + 0.25, 3, "1") == leases.read()
    assert leases.write(made).version == "2"
    with pytest.raises(Conflict):
        leases.write(made)
    lease.item = None
    with pytest.raises(Conflict, match="deleted"):
        leases.write(made)


def test_one_that_somebody_else_wrote_is_read(kept: tuple[ApiServer, Kept], tmp_path: Path) -> None:
    api, lease = kept
    lease.item = {"metadata": {"resourceVersion": "7"}, "spec": {"renewTime": "never", "leaseDurationSeconds": None}}
    assert store(api, tmp_path).read() == Record("", 0.0, None, None, 0, "7")


@pytest.mark.parametrize(("code", "error"), [(403, Forbidden), (404, TargetNotFound)], ids=["no right", "no namespace"])
def test_what_is_wrong_is_said(kept: tuple[ApiServer, Kept], tmp_path: Path, code: int, error: type[Exception]) -> None:
    api, lease = kept
    lease.refuse = lambda asked: (code, status(code, "so it is")) if asked.method == "POST" else None
    with pytest.raises(error, match="cannot write Lease lagcast-system/lagcast: so it is"):
        store(api, tmp_path).write(Record("one", 15.0, None, None, 0))


class One:
    """A replica with its thread, in a fifteenth of the time."""

    def __init__(self, api: ApiServer, folder: Path, name: str) -> None:
        clock = SystemClock()
        self.fence = LeaderFence(clock, FAST)
        self.changes: list[bool] = []
        self.errors: list[None] = []
        told = Told(self.changes.append, lambda: self.errors.append(None))
        leases = KubeLease(connect(api.kubeconfig(folder)), NAMESPACE, "lagcast", FAST.request)
        self.elector = Elector(leases, Election(name, FAST), self.fence, clock, random.Random(1), told, handover=0.3)


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_first_leads_at_once_and_hands_over(kept: tuple[ApiServer, Kept], tmp_path: Path) -> None:
    api, lease = kept
    one, two = One(api, tmp_path, "one"), One(api, tmp_path, "two")
    one.elector.start()
    assert one.fence.leads(), "its first round was awaited"
    two.elector.start()
    assert not two.fence.leads()
    assert two.elector.holder == "one"
    until(lambda: lease.holders.count("one") >= 4)
    one.elector.resign()
    assert not one.fence.leads()
    until(two.fence.leads)
    assert [holder for holder, _ in itertools.groupby(lease.holders)][:3] == ["one", "", "two"]
    assert (one.changes, two.changes) == ([True, False], [True])
    two.elector.resign()
    assert lease.holders[-1] == ""


def test_a_change_under_way_keeps_the_lease_from_being_handed_over(
    kept: tuple[ApiServer, Kept], tmp_path: Path
) -> None:
    api, lease = kept
    one = One(api, tmp_path, "one")
    one.elector.start()
    with one.fence.writing():
        one.elector.resign()
    assert lease.holders[-1] == "one"
    assert not one.fence.leads()


@pytest.mark.slow
def test_who_may_not_renew_is_no_leader_any_more_and_says_why_once(
    kept: tuple[ApiServer, Kept], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api, lease = kept
    one = One(api, tmp_path, "one")
    one.elector.start()
    lease.refuse = lambda asked: (403, status(403, "not any more"))
    until(lambda: one.changes == [True, False])
    assert len(one.errors) >= 3
    assert caplog.text.count("cannot read Lease lagcast-system/lagcast: not any more") == 1
    lease.refuse = lambda asked: None
    until(one.fence.leads)
    one.elector.resign()


def test_who_is_told_to_end_while_it_starts_takes_no_lease(kept: tuple[ApiServer, Kept], tmp_path: Path) -> None:
    api, lease = kept
    one = One(api, tmp_path, "one")
    one.elector._stop.set()
    one.elector.start()
    one.elector.resign()
    assert lease.item is None
    assert not api.asked


def test_an_api_server_that_takes_its_time_does_not_hold_up_an_end_while_it_starts(
    kept: tuple[ApiServer, Kept], tmp_path: Path
) -> None:
    api, lease = kept
    one, go = One(api, tmp_path, "one"), threading.Event()
    one.elector._leases._request = 4.0  # type: ignore[attr-defined]
    lease.refuse = lambda asked: (go.wait(5.0), None)[1]
    threading.Timer(0.05, one.elector._stop.set).start()
    began = time.monotonic()
    one.elector.start()
    assert time.monotonic() - began < 2.0, "less than one request"
    go.set()
    one.elector.resign()


def test_a_write_without_a_clear_answer_keeps_the_lease_from_being_handed_over(
    kept: tuple[ApiServer, Kept], tmp_path: Path
) -> None:
    api, lease = kept
    one = One(api, tmp_path, "one")
    one.elector.start()
    client = connect(api.kubeconfig(tmp_path)).fenced(one.fence)
    lease.refuse = lambda asked: (504, status(504, "timeout")) if asked.path == "/x" else None
    assert client.call("PATCH", "/x", body={}).code == 504
    one.elector.resign()
    assert lease.holders[-1] == "one", "it runs out"


def test_which_lease(tmp_path: Path) -> None:
    assert lease_name("mine", "a", {"POD_NAMESPACE": "pods"}).namespace == "mine"
    assert lease_name(None, "a", {"POD_NAMESPACE": "pods"}).namespace == "pods"
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        assert lease_name(None, "a", {}).namespace == NAMESPACE


def test_a_process_is_not_the_one_before_it() -> None:
    one, two = identity({"POD_NAME": "lagcast-7f9c-x2x"}), identity({"POD_NAME": "lagcast-7f9c-x2x"})
    assert one.startswith("lagcast-7f9c-x2x_")
    assert one != two
    assert "\n" not in identity({"POD_NAME": "a\nb"})
