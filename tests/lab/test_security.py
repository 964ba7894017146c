"""Credentials and rights, on the real broker with its authorizer on, a real Prometheus, and the controller's account.

What docs/security.md says is enough is enough; without one of it the reading names what is missing, and nothing is
taken away meanwhile. What is rotated is taken up. No secret is told.
"""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from scaler.observe.kafka import KafkaOffsets
from scaler.observe.ports import GroupTopic, LatencyQuery
from scaler.observe.prometheus import PrometheusLatency
from scaler.plan.observation import Freshness, Reading
from scaler.plan.reasons import Reason
from simulations.lab.endpoints import Kafka
from simulations.lab.kafka_users import Right
from simulations.lab.lab import Lab
from simulations.lab.ports import free_port
from simulations.lab.requirements import PROMETHEUS, locate
from tests.lab.test_bad_input import Feed, deployment
from tests.lab.test_crd_status import Cluster, ready

pytestmark = pytest.mark.lab

NAME = "guarded"
ONE = GroupTopic(NAME, NAME)
TOPIC, GROUP = Right("DESCRIBE", "TOPIC", NAME), Right("DESCRIBE", "GROUP", NAME)
FIRST, SECOND = "first-hunter2", "second-hunter2"
TICK = 2.0  # s
SPREAD = 20.0  # s that a changed right or password may take to be known


@pytest.fixture(scope="module")
def kafka(lab: Lab) -> Iterator[Kafka]:
    """A topic, and a group that consumes it."""
    feed = Feed(lab.kafka.bootstrap, NAME)
    feed.make(5)
    yield lab.kafka
    lab.kafka.users.forbid("lagcast", TOPIC, GROUP)
    lab.kafka.users.forbid("lagcast-next", TOPIC, GROUP)


def scram(kafka: Kafka, folder: Path, user: str, password: str) -> dict[str, str]:
    """The settings of a client that logs in with a password, as a resource has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "username").write_text(user)
    (folder / "password").write_text(f"{password}\n")
    shutil.copy(kafka.certificates / "ca.crt", folder / "ca.crt")
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username.file": str(folder / "username"),
        "sasl.password.file": str(folder / "password"),
        "ssl.ca.location": str(folder / "ca.crt"),
    }


def mutual(kafka: Kafka, folder: Path, user: str) -> dict[str, str]:
    """The settings of a client that shows a certificate."""
    for part in ("crt", "key"):
        shutil.copy(kafka.certificates / f"{user}.{part}", folder / f"tls.{part}")
    return {
        "security.protocol": "SSL",
        "ssl.ca.location": str(kafka.certificates / "ca.crt"),
        "ssl.certificate.location": str(folder / "tls.crt"),
        "ssl.key.location": str(folder / "tls.key"),
    }


class Source:
    """The adapter, asked until it says what is expected."""

    def __init__(self, bootstrap: str, settings: dict[str, str]) -> None:
        self.adapter = KafkaOffsets({"bootstrap.servers": bootstrap, **settings}, timeout=3.0)

    def ask(self) -> Reading[Any]:
        return self.adapter.sample(time.time(), [ONE])[ONE]

    def until(self, is_so: Callable[[Reading[Any]], bool]) -> Reading[Any]:
        end = time.monotonic() + SPREAD
        while not is_so(reading := self.ask()):
            assert time.monotonic() < end, reading
            time.sleep(0.2)
        return reading

    def until_refused(self, advice: str) -> Reading[Any]:
        """A pass that is over before a busy broker has refused the client knows no more than that nobody answered."""

        def advised(reading: Reading[Any]) -> bool:
            assert (reading.freshness, reading.reason) == (Freshness.ERROR, Reason.BROKER_UNREACHABLE), reading
            return advice in reading.detail

        return self.until(advised)

    def until_fresh(self) -> None:
        self.until(lambda reading: reading.fresh)


@pytest.fixture
def source() -> Iterator[Callable[[str, dict[str, str]], Source]]:
    made: list[Source] = []

    def make(bootstrap: str, settings: dict[str, str]) -> Source:
        made.append(Source(bootstrap, settings))
        return made[-1]

    yield make
    for one in made:
        one.adapter.close()


# --- Kafka


@pytest.mark.parametrize("how", ["scram", "mutual"])
def test_two_rights_suffice_and_each_that_is_missing_is_named(
    how: str, kafka: Kafka, tmp_path: Path, source: Callable[..., Source]
) -> None:
    users = kafka.users
    if how == "scram":
        user, bootstrap = "reader", kafka.scram
        users.set_password(user, FIRST)
        settings = scram(kafka, tmp_path, user, FIRST)
    else:
        user, bootstrap = "lagcast", kafka.mtls
        settings = mutual(kafka, tmp_path, user)
    made = source(bootstrap, settings)
    users.allow(user, GROUP)
    # Each right takes a while to be known, and a busy broker to answer: until then something else is named.
    without_topic = made.until(lambda reading: f"topic {NAME}: " in reading.detail)
    assert "authorization" in without_topic.detail.lower()
    assert (without_topic.freshness, without_topic.reason) == (Freshness.ERROR, Reason.INPUT_ERROR)
    assert "grant this client DESCRIBE on it" in without_topic.detail
    users.allow(user, TOPIC)
    made.until_fresh()
    history = made.adapter.history(NAME, time.time() - 3600.0, time.time(), 60.0)
    assert history.fresh, history
    users.forbid(user, GROUP)
    without_group = made.until(lambda reading: f"consumer group {NAME}: " in reading.detail)
    assert (without_group.freshness, without_group.reason) == (Freshness.ERROR, Reason.INPUT_ERROR)
    assert "grant this client DESCRIBE on it" in without_group.detail
    assert FIRST not in without_topic.detail + without_group.detail


def test_a_wrong_password_and_one_that_is_rotated(
    kafka: Kafka, tmp_path: Path, source: Callable[..., Source], caplog: pytest.LogCaptureFixture
) -> None:
    kafka.users.set_password("rotated", FIRST)
    kafka.users.allow("rotated", TOPIC, GROUP)
    made = source(kafka.scram, scram(kafka, tmp_path, "rotated", "wrong-hunter2"))
    with caplog.at_level(logging.DEBUG):
        wrong = made.until_refused("check security.protocol and the sasl.* and ssl.* settings")
        (tmp_path / "password").write_text(FIRST)
        made.until_fresh()
        kafka.users.set_password("rotated", SECOND)
        (tmp_path / "password").write_text(SECOND)
        made.until_fresh()
    assert "hunter2" not in caplog.text + wrong.detail


def test_a_certificate_that_is_rotated(kafka: Kafka, tmp_path: Path, source: Callable[..., Source]) -> None:
    kafka.users.allow("lagcast", TOPIC, GROUP)
    made = source(kafka.mtls, mutual(kafka, tmp_path, "lagcast"))
    made.until_fresh()
    mutual(kafka, tmp_path, "lagcast-next")  # the same paths; nobody has allowed that one anything
    assert not made.until(lambda reading: "topic guarded: " in reading.detail).fresh
    kafka.users.allow("lagcast-next", TOPIC, GROUP)
    made.until_fresh()


def test_who_shows_no_certificate_or_trusts_nobody_is_told_to_check_it(
    kafka: Kafka, source: Callable[..., Source]
) -> None:
    authority = {"security.protocol": "SSL", "ssl.ca.location": str(kafka.certificates / "ca.crt")}
    source(kafka.tls, authority).until_fresh()
    for bootstrap, settings in ((kafka.mtls, authority), (kafka.tls, {"security.protocol": "SSL"})):
        source(bootstrap, settings).until_refused("ssl.* settings in spec.kafka.properties")


# --- Prometheus

WEB = """\
tls_server_config:
  cert_file: {folder}/server.crt
  key_file: {folder}/server.pem
  client_ca_file: {folder}/ca.crt
  client_auth_type: RequireAndVerifyClientCert
basic_auth_users:
  lagcast: $2b$04$5KAKC1MEIjUuADfGKHpma.G4FLF8w9jx0CRQN3kcNCD8a69daWuQG
"""
PASSWORD = "lab-password"  # what is hashed there


def test_prometheus_over_mutual_tls_with_a_password(kafka: Kafka, tmp_path: Path) -> None:
    shutil.copytree(kafka.certificates, tmp_path, dirs_exist_ok=True)
    server = (tmp_path / "server.pem").read_text()
    (tmp_path / "server.crt").write_text(server[server.index("-----BEGIN CERTIFICATE") :])
    (tmp_path / "web.yml").write_text(WEB.format(folder=tmp_path))
    (tmp_path / "prometheus.yml").write_text("{}\n")
    (tmp_path / "user").write_text("lagcast")
    (tmp_path / "password").write_text("wrong-hunter2")
    port = free_port()
    command = [
        str(locate(PROMETHEUS)),
        f"--config.file={tmp_path}/prometheus.yml",
        f"--web.config.file={tmp_path}/web.yml",
    ]
    command += [f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"]
    files = {"caFile": "ca.crt", "certificateFile": "lagcast.crt", "keyFile": "lagcast.key"}
    files |= {"usernameFile": "user", "passwordFile": "password"}
    access = {name: str(tmp_path / file) for name, file in files.items()}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    source = PrometheusLatency(f"https://127.0.0.1:{port}", 3.0, access=access)
    query = LatencyQuery("nothing", 'app="none"', 60.0)
    try:
        _until_listening(port, process)
        refused = source.sample(time.time(), [query])[query]
        assert (refused.freshness, refused.reason) == (Freshness.ERROR, Reason.INPUT_ERROR)
        assert "HTTP 401" in refused.detail
        assert "hunter2" not in refused.detail
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        end = time.monotonic() + SPREAD  # it listens a moment before it answers queries
        while (inside := source.sample(time.time(), [query])[query]).freshness is not Freshness.ABSENT:
            assert time.monotonic() < end, inside  # absent: it answered, and has no such series
            time.sleep(0.2)
    finally:
        source.close()
        process.terminate()
        process.wait(30)


def _until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        assert process.poll() is None
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("Prometheus does not listen")


# --- the controller, as its account


@pytest.fixture(scope="module")
def guarded(kafka: Kafka, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """A scaler in mode Enforce whose broker wants a password; and the folder of its namespace's credentials."""
    folder = tmp_path_factory.mktemp("guarded")
    own = folder / "credentials" / "default"
    kafka.users.set_password("controller", FIRST)
    kafka.users.allow("controller", TOPIC, GROUP)
    properties = scram(kafka, own / "kafka", "controller", FIRST)
    lab.kwok.add_nodes(1, 1, prefix=NAME)
    crds = Path(__file__).parents[2] / "manifests" / "crd"
    done = lab.kubernetes.run("apply", "--server-side", "--force-conflicts", "-f", *_files(crds))
    assert done.code == 0, done.output
    # Of half a second too little is left to log in again, TLS and SCRAM, on a machine that does much else.
    cluster = Cluster(lab, folder, "--credentials", str(folder / "credentials"), "--tick", f"{TICK:g}s")
    try:
        # The first controller on a new machine compiles what it decides with.
        cluster.until(lambda: ready(cluster) == "ok\n", "it is ready", seconds=120.0)
        cluster.apply(deployment(NAME))
        where = {"bootstrapServers": kafka.scram, "topic": NAME, "consumerGroup": NAME, "properties": properties}
        # With a hold of a second it would be scaled in at once, were what is missing no load.
        replicas = {"min": 3, "max": 8, "serviceRate": "2", "leadTime": "3s", "scaleInHold": "1s"}
        cluster.declare(NAME, target={"name": NAME}, kafka=where, replicas=replicas, mode="Enforce")
        cluster.until(lambda: cluster.condition(NAME, "Ready")[0] == "True", "it decides")
        yield cluster, own
    finally:
        cluster.close()
        for kind in ("predictivescaler", "deployment"):
            lab.kubernetes.run("delete", kind, NAME, "--ignore-not-found", "--wait=false")


def _files(folder: Path) -> list[str]:
    """Arguments of kubectl for the definitions in a folder."""
    paths = sorted(str(path) for path in folder.glob("*.lagcast.io.yaml"))
    return [paths[0], *(word for path in paths[1:] for word in ("-f", path))]


def message(cluster: Cluster, kind: str) -> str:
    return next((str(c["message"]) for c in cluster.status(NAME).get("conditions", ()) if c["type"] == kind), "")


def replicas(cluster: Cluster) -> int:
    return int(cluster.kubectl("get", "deployment", NAME, "-o", "jsonpath={.spec.replicas}"))


def test_without_a_right_the_count_is_held_and_the_status_says_which(
    guarded: tuple[Cluster, Path], kafka: Kafka
) -> None:
    cluster, _ = guarded
    for right, what in ((TOPIC, f"topic {NAME}: "), (GROUP, f"consumer group {NAME}: ")):
        kafka.users.forbid("controller", right)
        cluster.until(lambda what=what: what in message(cluster, "Ready"), "the missing right is named")
        assert "DESCRIBE" in message(cluster, "Ready")
        assert cluster.condition(NAME, "Ready")[0] == "False"
        assert cluster.condition(NAME, "Fallback")[0] == "True"
        cluster.kubectl("scale", "deployment", NAME, "--replicas=6")
        time.sleep(3 * TICK)
        assert replicas(cluster) == 6, "a second is the hold: nothing is taken away in the dark"
        kafka.users.allow("controller", right)
        cluster.until(lambda: cluster.condition(NAME, "Ready")[0] == "True", "it decides again")
        cluster.until(lambda: replicas(cluster) == 3, "and takes away what no load needs")


def test_a_password_that_is_rotated_needs_no_restart(guarded: tuple[Cluster, Path], kafka: Kafka) -> None:
    cluster, own = guarded
    kafka.users.set_password("controller", SECOND)
    (own / "kafka" / "password").write_text("wrong-hunter2")
    cluster.until(lambda: cluster.condition(NAME, "Ready")[0] == "False", "the old one is of no use")
    (own / "kafka" / "password").write_text(SECOND)
    cluster.until(lambda: cluster.condition(NAME, "Ready")[0] == "True", "the new one is taken up")


def test_a_file_of_somebody_else_is_not_sent_anywhere(guarded: tuple[Cluster, Path], kafka: Kafka) -> None:
    cluster, own = guarded
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    stolen = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username.file": str(own / "kafka" / "username"),
        "sasl.password.file": token,
    }
    where = {"bootstrapServers": kafka.scram, "topic": NAME, "consumerGroup": NAME, "properties": stolen}
    cluster.declare("thief", target={"name": "elsewhere"}, kafka=where)
    wanted = ("False", "CredentialsRefused")
    cluster.until(lambda: cluster.condition("thief", "Ready") == wanted, "it is not run")
    assert token not in json.dumps(cluster.status("thief"))
    cluster.kubectl("delete", "predictivescaler", "thief")


def test_its_account_reads_no_secret(guarded: tuple[Cluster, Path]) -> None:
    cluster, _ = guarded
    for verb in ("get", "list", "watch"):
        for place in ("default", "lagcast-system", "kube-system"):
            asked = ("auth", "can-i", verb, "secrets", "-n", place)
            config = ("--kubeconfig", cluster.lab.kubernetes.controller_kubeconfig)
            assert cluster.lab.kubernetes.run(*config, *asked).output.strip() == "no"


def test_no_secret_was_told(guarded: tuple[Cluster, Path]) -> None:
    """In the log, the metrics, the page, the explanation, the status, or an Event."""
    cluster, _ = guarded
    told = cluster.log.read_text(encoding="utf-8")
    for page in ("metrics", "status", f"explain?namespace=default&name={NAME}"):
        told += requests.get(f"{cluster.url}/{page}", timeout=5).text
    told += json.dumps(cluster.status(NAME)) + cluster.kubectl("get", "events.events.k8s.io", "-A", "-o", "json")
    assert NAME in told
    assert "hunter2" not in told
    assert "Traceback" not in told
