"""The lab's own servers: authentication, stop and start with their data, nothing left behind."""

from __future__ import annotations

import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from simulations.lab import state
from simulations.lab.cli import lab as commands
from simulations.lab.kwok import pod_annotations
from simulations.lab.lab import Lab
from tests.lab.deployments import deployment, eventually, ready_replicas
from tests.lab.processes import processes_of

pytestmark = pytest.mark.lab

COMMAND = [sys.executable, "-c", "from simulations.lab.cli import lab; lab()"]
SERVERS = {"kafka", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "prometheus"}


def pids(running: Lab) -> dict[str, int | None]:
    return {line.server: line.pid for line in running.status()}


def conditions(running: Lab) -> dict[str, str]:
    """Each server is asked once: on a machine that stands still for two seconds one that serves is "not serving"."""
    return {line.server: line.condition for line in running.status()}


def get(url: str, running: Lab, token: str | None = None) -> int:
    """The status code of a GET at the API server or etcd."""
    authority = running.directory / "kubernetes" / "ca.crt"
    context = ssl.create_default_context(cafile=str(authority))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def as_controller(running: Lab, *arguments: str) -> tuple[int, str]:
    """kubectl under the controller's own account: exit code and output."""
    done = running.kubernetes.run("--kubeconfig", running.kubernetes.controller_kubeconfig, *arguments)
    return done.code, done.output


class TestUp:
    def test_all_servers_serve(self, lab: Lab) -> None:
        eventually(lambda: conditions(lab), dict.fromkeys(SERVERS, "serving"), 10)

    def test_a_second_up_leaves_serving_servers_alone(self, lab: Lab) -> None:
        before = pids(lab)
        begin = time.monotonic()
        again = Lab.up(lab.directory)
        assert pids(again) == before
        assert again.all_endpoints() == lab.all_endpoints()
        assert time.monotonic() - begin < 10

    def test_a_dead_server_is_started_again_and_the_others_stay(self, lab: Lab) -> None:
        before = pids(lab)
        victim = before["kube-scheduler"]
        assert victim is not None
        psutil.Process(victim).kill()
        eventually(lambda: conditions(lab)["kube-scheduler"], "dead", 5)
        Lab.up(lab.directory)
        after = pids(lab)
        assert after.pop("kube-scheduler") != before.pop("kube-scheduler")
        assert after == before

    def test_status_as_json_has_servers_and_endpoints(self, lab: Lab) -> None:
        result = CliRunner().invoke(commands, ["status", "--dir", str(lab.directory), "-o", "json"])
        assert result.exit_code == 0, result.output
        shown = json.loads(result.stdout)
        assert {server["server"] for server in shown["servers"]} == SERVERS
        assert shown["endpoints"]["kafka"]["bootstrap"] == lab.kafka.bootstrap
        assert shown["endpoints"]["prometheus"]["url"] == lab.prometheus.url

    def test_status_as_a_table_names_each_server(self, lab: Lab) -> None:
        result = CliRunner().invoke(commands, ["status", "--dir", str(lab.directory)])
        assert result.exit_code == 0, result.output
        assert all(name in result.stdout for name in SERVERS)


class TestAuthentication:
    def test_the_administrator_may_do_everything(self, lab: Lab) -> None:
        token = json.loads(Path(lab.kubernetes.admin_kubeconfig).read_text())["users"][0]["user"]["token"]
        assert get(f"{lab.kubernetes.server}/api/v1/secrets", lab, token) == 200

    @pytest.mark.parametrize("token", [None, "wrong"])
    def test_nobody_else_gets_in(self, lab: Lab, token: str | None) -> None:
        assert get(f"{lab.kubernetes.server}/version", lab, token) == 401

    def test_etcd_refuses_a_client_without_certificate(self, lab: Lab) -> None:
        port = state.load(lab.directory).ports["etcd"]
        with pytest.raises((urllib.error.URLError, ConnectionError, ssl.SSLError)):
            get(f"https://127.0.0.1:{port}/health", lab)

    def test_files_with_secrets_are_the_owners(self, lab: Lab) -> None:
        home = lab.directory / "kubernetes"
        for name in ("tokens.csv", "sa.key", "server.key", "lab-admin.kubeconfig", "controller.kubeconfig"):
            assert (home / name).stat().st_mode & 0o077 == 0, name

    def test_the_controller_scales_and_reads(self, lab: Lab, deployed: Callable[[str], None]) -> None:
        deployed(deployment("scaled", 1, {}))
        patch = json.dumps(
            [
                {"op": "test", "path": "/spec/replicas", "value": 1},
                {"op": "replace", "path": "/spec/replicas", "value": 2},
            ]
        )
        code, output = as_controller(
            lab, "patch", "deployment", "scaled", "--subresource=scale", "--type=json", "-p", patch
        )
        assert code == 0, output
        scaled = lab.kubernetes.run("get", "deployment", "scaled", "-o", "jsonpath={.spec.replicas}")
        assert (scaled.code, scaled.output) == (0, "2")
        assert as_controller(lab, "get", "pods", "-A")[0] == 0

    def test_the_controller_writes_events(self, lab: Lab) -> None:
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "lab-test", "namespace": "default"},
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "lagcast.io/controller",
            "reportingInstance": "lab",
            "action": "Scale",
            "regarding": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "default", "name": "scaled"},
            "reason": "Test",
            "note": "0 -> 2",
            "type": "Normal",
        }
        kubeconfig = lab.kubernetes.controller_kubeconfig
        done = lab.kubernetes.run("--kubeconfig", kubeconfig, "create", "-f", "-", stdin=json.dumps(event))
        assert done.code == 0, done.output

    @pytest.mark.parametrize(
        "forbidden",
        [
            ("get", "secrets", "-A"),
            ("get", "configmaps", "-A"),
            ("delete", "node", "any"),
            ("delete", "deployment", "other"),
            ("patch", "deployment", "other", "-p", '{"spec": {"replicas": 5}}'),
            ("create", "namespace", "mine"),
            ("delete", "pod", "any"),
        ],
        ids=" ".join,
    )
    def test_the_controller_may_not(
        self, lab: Lab, deployed: Callable[[str], None], forbidden: tuple[str, ...]
    ) -> None:
        deployed(deployment("other", 0, {}))
        code, output = as_controller(lab, *forbidden)
        assert code != 0
        assert "orbidden" in output


class TestOutage:
    def test_kafka_comes_back_with_its_messages_and_its_address(self, lab: Lab) -> None:
        bootstrap = lab.kafka.bootstrap
        create_topic(bootstrap, "kept", partitions=2)
        send(bootstrap, "kept", [None] * 5)
        lab.kafka.stop()
        assert conditions(lab)["kafka"] == "stopped"
        lab.kafka.start()
        assert lab.kafka.bootstrap == bootstrap
        assert end_offset(bootstrap, "kept") == 5

    def test_the_api_server_comes_back_with_its_objects(self, lab: Lab) -> None:
        assert lab.kubernetes.run("create", "configmap", "kept", "--from-literal=a=1").code == 0
        server = lab.kubernetes.server
        begin = time.monotonic()
        lab.kubernetes.stop()
        assert time.monotonic() - begin < 5
        with pytest.raises(urllib.error.URLError):
            get(f"{server}/readyz", lab)
        lab.kubernetes.start()
        assert lab.kubernetes.server == server
        assert lab.kubernetes.run("get", "configmap", "kept", "-o", "jsonpath={.data.a}").output == "1"

    def test_after_an_outage_of_the_api_server_scaling_works_at_once(
        self, lab: Lab, deployed: Callable[[str], None]
    ) -> None:
        lab.kwok.add_nodes(2, 8)
        deployed(deployment("survivor", 1, pod_annotations(0)))
        eventually(lambda: ready_replicas(lab, "survivor"), 1, 10)
        lab.kubernetes.stop()
        time.sleep(15)  # long enough for clients to wait 8 s and more between two attempts
        lab.kubernetes.start()
        assert lab.kubernetes.run("scale", "deployment", "survivor", "--replicas=3").code == 0
        eventually(lambda: ready_replicas(lab, "survivor"), 3, 6)

    def test_prometheus_comes_back_with_its_samples(self, lab: Lab, metric_server: str) -> None:
        file = lab.prometheus.add_targets("kept", [metric_server], {"round": "first"})
        eventually(lambda: query(lab, 'lab_answer{round="first"}'), ["42"], 15)
        file.unlink()
        when = time.time()
        lab.prometheus.stop()
        lab.prometheus.start()
        assert query(lab, f'last_over_time(lab_answer{{round="first"}}[2m] @ {when:.3f})') == ["42"]

    def test_pods_still_come_up_after_kwok_was_away(self, lab: Lab, deployed: Callable[[str], None]) -> None:
        lab.kwok.add_nodes(2, 8)
        lab.kwok.stop()
        deployed(deployment("patient", 2, pod_annotations(0)))
        time.sleep(1)
        assert ready_replicas(lab, "patient") == 0
        lab.kwok.start()
        eventually(lambda: ready_replicas(lab, "patient"), 2, 10)


class TestKafka:
    def test_messages_of_last_year_are_kept_and_found_by_time(self, lab: Lab) -> None:
        create_topic(lab.kafka.bootstrap, "past")
        now = int(time.time() * 1000)
        year = 365 * 86_400 * 1000
        send(lab.kafka.bootstrap, "past", [now - year, now - year // 2, now])
        client = AdminClient({"bootstrap.servers": lab.kafka.bootstrap})
        asked = TopicPartition("past", 0)
        answer = client.list_offsets({asked: OffsetSpec.for_timestamp(now - year // 2 - 1000)})
        assert answer[asked].result().offset == 1

    def test_a_mistyped_topic_is_not_created(self, lab: Lab) -> None:
        producer = Producer({"bootstrap.servers": lab.kafka.bootstrap, "message.timeout.ms": 3000})
        errors: list[object] = []
        producer.produce("mistyped", b"x", callback=lambda error, _: errors.append(error))
        producer.flush(10)
        assert errors[0] is not None
        topics = AdminClient({"bootstrap.servers": lab.kafka.bootstrap}).list_topics(timeout=5).topics
        assert "mistyped" not in topics

    def test_a_consumer_of_a_short_session_gets_work_at_once(self, lab: Lab) -> None:
        create_topic(lab.kafka.bootstrap, "prompt")
        send(lab.kafka.bootstrap, "prompt", [None])
        consumer = Consumer(
            {
                "bootstrap.servers": lab.kafka.bootstrap,
                "group.id": "prompt",
                "session.timeout.ms": 1000,
                "heartbeat.interval.ms": 300,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            consumer.subscribe(["prompt"])
            begin = time.monotonic()
            message = consumer.poll(10)
            assert message is not None
            assert message.error() is None
            assert time.monotonic() - begin < 6
        finally:
            consumer.close()


class TestDown:
    def test_once_built_all_is_up_within_a_minute_and_down_again(self, lab: Lab, tmp_path: Path) -> None:
        begin = time.monotonic()
        own = Lab.up(tmp_path)
        try:
            took = time.monotonic() - begin
            assert took < 60
            eventually(lambda: conditions(own), dict.fromkeys(SERVERS, "serving"), 10)
            deploy = own.kubernetes.run("apply", "-f", "-", stdin=deployment("prompt", 1, pod_annotations(0)))
            assert deploy.code == 0, "a lab that is up takes work"
            own.kwok.add_nodes(1, 1)
            eventually(lambda: ready_replicas(own, "prompt"), 1, 10)
        finally:
            assert own.down() == len(SERVERS)
        assert processes_of(tmp_path) == []

    def test_down_leaves_no_process_and_up_finds_the_data_again(self, lab: Lab, tmp_path: Path) -> None:
        before = pids(lab)
        own = Lab.up(tmp_path, ["kafka", "prometheus"])
        try:
            create_topic(own.kafka.bootstrap, "kept")
            assert len(processes_of(tmp_path)) == 2
        finally:
            result = CliRunner().invoke(commands, ["down", "--dir", str(tmp_path)])
        assert result.exit_code == 0
        assert processes_of(tmp_path) == []
        assert pids(lab) == before, "another lab must not be touched"
        eventually(lambda: conditions(lab), dict.fromkeys(SERVERS, "serving"), 10)
        again = Lab.up(tmp_path, ["kafka"])
        try:
            assert "kept" in AdminClient({"bootstrap.servers": again.kafka.bootstrap}).list_topics(timeout=5).topics
        finally:
            again.down()
        assert CliRunner().invoke(commands, ["down", "--dir", str(tmp_path), "--delete"]).exit_code == 0
        assert not tmp_path.exists()

    @pytest.mark.parametrize(
        ("number", "started"), [(signal.SIGINT, 1), (signal.SIGINT, 4), (signal.SIGINT, 6), (signal.SIGTERM, 4)]
    )
    def test_an_interrupted_up_leaves_no_process(self, tmp_path: Path, started: int, number: signal.Signals) -> None:
        with subprocess.Popen(
            [*COMMAND, "up", "--dir", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as child:
            until = time.monotonic() + 60
            while not (tmp_path / state.FILE).exists() or len(state.load(tmp_path).servers) < started:
                assert time.monotonic() < until
                assert child.poll() is None, child.communicate()[0]
                time.sleep(0.02)
            child.send_signal(number)
            output, _ = child.communicate(timeout=30)
        assert child.returncode == 130, output
        assert processes_of(tmp_path) == []

    def test_an_interrupted_build_leaves_neither_process_nor_half_a_program(self, tmp_path: Path) -> None:
        cache = tmp_path / "cache"
        with subprocess.Popen(
            [*COMMAND, "up", "--only", "kafka", "--dir", str(tmp_path / "lab")],
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            until = time.monotonic() + 60
            while not any("mvn" in line or "maven" in line for line in processes_of(cache)):
                assert time.monotonic() < until
                assert child.poll() is None, child.communicate()[0]
                time.sleep(0.02)
            child.send_signal(signal.SIGINT)
            output, _ = child.communicate(timeout=30)
        assert child.returncode == 130, output
        assert processes_of(tmp_path) == []
        assert [path.name for path in (cache / "lagcast" / "lab").iterdir() if path.is_dir()] == []


@pytest.fixture
def metric_server() -> Iterator[str]:
    """A page with the metric lab_answer 42; its host:port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"lab_answer 42\n"
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def query(lab: Lab, expression: str) -> list[str]:
    """The values that Prometheus answers."""
    url = f"{lab.prometheus.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return [series["value"][1] for series in json.load(answer)["data"]["result"]]


def create_topic(bootstrap: str, name: str, partitions: int = 1) -> None:
    client = AdminClient({"bootstrap.servers": bootstrap})  # must outlive the answer
    client.create_topics([NewTopic(name, partitions, 1)])[name].result(10)


def send(bootstrap: str, topic: str, timestamps: list[int | None]) -> None:
    """One message for each timestamp (ms; None is now), in order."""
    producer = Producer({"bootstrap.servers": bootstrap})
    errors: list[object] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            errors.append(error)

    for timestamp in timestamps:
        more = {} if timestamp is None else {"timestamp": timestamp}
        producer.produce(topic, b"x", partition=0, on_delivery=delivered, **more)
    assert producer.flush(10) == 0
    assert errors == []


def end_offset(bootstrap: str, topic: str) -> int:
    """Asked until it is told: a broker that has just come back knows of its leaders a moment later."""
    asked = TopicPartition(topic, 0)
    client = AdminClient({"bootstrap.servers": bootstrap})
    deadline = time.monotonic() + 20
    while True:
        try:
            return int(client.list_offsets({asked: OffsetSpec.latest()})[asked].result(10).offset)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
