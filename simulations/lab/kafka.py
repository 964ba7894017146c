"""The Kafka broker: one process in KRaft mode, broker and controller in one, its data in the lab's folder.

Its authorizer is on. Who comes over plain text, as the lab's own workers do, is nobody and may do everything; over
mutual TLS (by the name in the certificate) and SASL (by the user's name) one may do what an ACL allows.
"""

from __future__ import annotations

import base64
import datetime
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from simulations.lab import ports
from simulations.lab.certificates import write_kafka
from simulations.lab.errors import StartFailed
from simulations.lab.part import Server, Site
from simulations.lab.process import run
from simulations.lab.programs import KAFKA, SOURCES, Program, Progress
from simulations.lab.requirements import JAVA, Requirement, locate

# Listener -> (its port, what it speaks).
SECURE = {"TLS": ("kafka-tls", "SSL"), "MTLS": ("kafka-mtls", "SSL"), "SCRAM": ("kafka-scram", "SASL_SSL")}
DECADE_MS = 10 * 365 * 86_400 * 1_000

# Each differs from the broker's default for the reason beside it.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "auto.create.topics.enable": "false",  # a mistyped topic is an error, not an empty topic
    "offsets.topic.replication.factor": "1",  # there is one broker
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",  # compressed time: a group of one starts at once
    "group.min.session.timeout.ms": "1000",  # compressed time: a dead consumer is noticed within seconds
    "log.retention.ms": "-1",  # a topic's past is written with old timestamps and must stay
    "log.message.timestamp.before.max.ms": str(DECADE_MS),  # accept that past
    "log.message.timestamp.after.max.ms": str(DECADE_MS),
    "num.network.threads": "2",  # two cores are enough for the whole lab
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": str(8 << 20),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # who comes over plain text, or TLS without a certificate
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",  # a user is known by the name in the certificate
    "listener.name.mtls.ssl.client.auth": "required",
    "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.scram.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
}


class KafkaPart:
    """Part "kafka"."""

    name = "kafka"
    needs: tuple[str, ...] = ()
    port_names = ("kafka", "kafka-controller", *(port for port, _ in SECURE.values()))
    programs: tuple[Program, ...] = (KAFKA,)
    requirements: tuple[Requirement, ...] = (JAVA,)

    def prepare(self, site: Site, progress: Progress) -> None:
        home = site.folder("kafka")
        write_kafka(site.folder("kafka/tls"), datetime.datetime.now(tz=datetime.UTC))
        (home / "server.properties").write_text(settings(site), encoding="utf-8")
        if (home / "data" / "meta.properties").exists():
            return
        progress("formatting Kafka's storage")
        tool = (*_java("64m"), "kafka.tools.StorageTool", "format", "--ignore-formatted")
        done = run([*tool, "-t", new_cluster_id(), "-c", str(home / "server.properties")], directory=home)
        if done.code != 0:
            raise StartFailed(f"Kafka's storage in {home / 'data'} could not be formatted: {done.output.strip()}")

    def servers(self, site: Site) -> tuple[Server, ...]:
        command = (*_java("512m"), "kafka.Kafka", str(site.directory / "kafka" / "server.properties"))
        port = site.ports["kafka"]
        return (Server("kafka", self.name, command, ready=lambda: _serves(port)),)

    def finish(self, site: Site, progress: Progress) -> None:
        """Nothing is left to do."""

    def endpoints(self, site: Site) -> dict[str, str]:
        secure = {listener.lower(): f"{ports.HOST}:{site.ports[port]}" for listener, (port, _) in SECURE.items()}
        return {"bootstrap": f"{ports.HOST}:{site.ports['kafka']}", **secure}


def new_cluster_id(draw: Callable[[], uuid.UUID] = uuid.uuid4) -> str:
    """A random id in Kafka's form, 22 characters of base64; never with a dash in front: that looks like an option."""
    while (text := base64.urlsafe_b64encode(draw().bytes).decode().rstrip("=")).startswith("-"):
        continue
    return text


def settings(site: Site) -> str:
    """The text of server.properties."""
    broker, controller = (f"{ports.HOST}:{site.ports[name]}" for name in ("kafka", "kafka-controller"))
    secure = "".join(f",{listener}://{ports.HOST}:{site.ports[port]}" for listener, (port, _) in SECURE.items())
    spoken = "".join(f",{listener}:{protocol}" for listener, (_, protocol) in SECURE.items())
    places = {
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}{secure}",
        "advertised.listeners": f"PLAINTEXT://{broker}{secure}",
        "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{spoken}",
        "inter.broker.listener.name": "PLAINTEXT",
        "ssl.keystore.location": str(site.directory / "kafka" / "tls" / "server.pem"),
        "ssl.truststore.location": str(site.directory / "kafka" / "tls" / "ca.crt"),
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{controller}",  # static: it may listen elsewhere after a restart
        "log.dirs": str(site.directory / "kafka" / "data"),
    }
    return "".join(f"{key}={value}\n" for key, value in {**SETTINGS, **places}.items())


def _java(heap: str) -> tuple[str, ...]:
    logging = SOURCES / "kafka" / "log4j2.properties"
    jars: Path = KAFKA.folder() / "bin" / "*"
    options = ("-Xms64m", f"-Xmx{heap}", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={logging}")
    return (str(locate(JAVA)), *options, "-cp", os.fspath(jars))


def _serves(port: int) -> str | None:
    # The client library logs each refused connection; so first see whether anybody is there.
    if not ports.answers(port):
        return f"nothing listens on port {port}"
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        brokers = (
            AdminClient({"bootstrap.servers": f"{ports.HOST}:{port}", "log_level": 0}).list_topics(timeout=2).brokers
        )
    except KafkaException as error:
        return str(error)
    return None if brokers else "no broker is registered yet"
