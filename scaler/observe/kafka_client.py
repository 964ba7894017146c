"""One librdkafka admin client: its settings, its secrets, its log, and what its errors mean.

librdkafka's own limit on an admin request must never strike while the request is on the wire, nor may a client be
destroyed then: the answer that comes later meets freed memory and ends the process (librdkafka issue 4605; seen with
2.16.1 and list_consumer_group_offsets when a broker hung and came back). So every request is given the longest limit
there is and ended by ``socket.timeout.ms`` when it hangs, and the caller waits no longer than it wants to. Each pass
first asks for the topics: in an outage only that one request is owed, and nothing more is asked until it has come. A
client that owes anything else may never get it; it is set aside, not destroyed, until it owes nothing, and a few at
most are: that bounds what outages can pile up.

``<setting>.file`` in the configuration is read from that file each time, so that a secret that is rotated or mounted
late is taken up without a restart. Of certificates and keys librdkafka is told the paths and reads them once: another
client takes up new ones (``certificates``). No secret leaves this module except into librdkafka.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from scaler.observe.files import Unreadable, fingerprint, read_secret
from scaler.plan.reasons import Reason

log = logging.getLogger("scaler.observe.kafka.librdkafka")

_DEFAULTS: dict[str, str | int] = {
    "client.id": "lagcast",
    # Back within a second of the broker's return; the default waits up to 10 s.
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 1000,
    "socket.keepalive.enable": "true",
    "log_level": 4,  # warnings; they go to Python's log at DEBUG, since every reading says what is wrong
}
_MOST_RETIRED = 8
_PROVERS = 16  # consumers that look for their coordinators at the same time
_retired: list[Client] = []
_burying = threading.Lock()
LONGEST = 3600.0  # s, the longest request time limit that librdkafka takes
_SECRET_WORDS = ("password", "secret", "key.pem", "jaas", "username", "sasl.oauthbearer.config")
_NO_ANSWER = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError._DESTROY,
        KafkaError.REQUEST_TIMED_OUT,
    }
)
_NO_COORDINATOR = frozenset(
    {KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR}
)
_NOT_ALLOWED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


class Fault(Exception):
    """A request or a configuration that failed: the reason and what the user can do. Never holds a secret."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class _Log:
    """What librdkafka is given as its logger: everything at DEBUG, secrets struck out."""

    def __init__(self, secrets: Set[str]) -> None:
        self._secrets = secrets

    def log(self, level: int, text: str, *args: object) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s", redact(text % args if args else text, self._secrets))


class _Trouble:
    """The last error that librdkafka told. Apart from the client: a cycle through librdkafka would never be freed."""

    def __init__(self, secrets: Set[str]) -> None:
        self._secrets = secrets
        self.last: tuple[int, str] | None = None

    def __call__(self, error: KafkaError) -> None:
        # "All brokers down" says less than what was said before it.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self.last is None:
            self.last = (error.code(), redact(error.str(), self._secrets))


class Client:
    """An admin client and the last trouble it met."""

    def __init__(self, settings: Mapping[str, str | int], secrets: frozenset[str]) -> None:
        self.settings = dict(settings)
        self._owed: list[Future[Any]] = []
        self._left: list[Future[Any]] = []
        self._lost = False
        self._proved: set[str] = set()
        self.spent = False  # it has seen an outage; librdkafka may never ask a coordinator again after one
        self._secrets = set(secrets)  # the same set for all who strike out
        self._trouble = _Trouble(self._secrets)
        try:
            conf: dict[str, Any] = {**settings, "error_cb": self._trouble}
            self.admin = AdminClient(conf, logger=_Log(self._secrets))
        except (KafkaException, ValueError, TypeError) as error:
            text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise Fault(
                Reason.INPUT_ERROR,
                f"the Kafka client refuses its settings: {redact(text, secrets)}; check spec.kafka.properties",
            ) from None

    def prove(self, groups: Mapping[str, str], left: Callable[[], float]) -> dict[str, Fault]:
        """See once of each group (with a topic of it) that its coordinator answers. Returns why it does not, by group.

        ``left`` (s) is how long it may still take. An admin client that asks for the offsets of a group whose
        coordinator was just started or moved ends the process with a segmentation fault (librdkafka issue 5040, seen
        with 2.12 to 2.16 when a broker was stopped and started); a consumer waits for it.
        """
        new = [group for group in groups if group not in self._proved]
        if not new:
            return {}
        with ThreadPoolExecutor(min(len(new), _PROVERS), thread_name_prefix="prove") as pool:
            answers = dict(zip(new, pool.map(lambda group: self._prove(group, groups[group], left), new), strict=True))
        self._proved |= {group for group, fault in answers.items() if fault is None}
        return {group: fault for group, fault in answers.items() if fault is not None}

    def _prove(self, group: str, topic: str, left: Callable[[], float]) -> Fault | None:
        seconds, what = left(), f"consumer group {group}"
        if seconds <= 0:
            return Fault(
                Reason.INPUT_ERROR, f"{what} was not asked for yet: others took the time; its turn comes at a next tick"
            )
        try:
            settings = {**self.settings, "group.id": group, "enable.auto.commit": False, "error_cb": self._trouble}
            consumer = Consumer(settings, logger=_Log(self._secrets))
            try:
                consumer.committed([TopicPartition(topic, 0)], timeout=seconds)
            finally:
                consumer.close()
        except KafkaException as error:
            if error.args[0].code() in _NO_ANSWER | _NO_COORDINATOR:
                return self.fault(error, what, seconds)
        return None  # also when it refuses: it is there

    def settle(self, futures: Iterable[Future[Any]], seconds: float, probe: bool = False) -> None:
        """Wait until all have ended, at most ``seconds``; what is not there by then is owed.

        A ``probe`` comes when the brokers do; the client is not lost without it.
        """
        late = wait(list(futures), timeout=max(seconds, 0.0)).not_done
        self._owed += late
        self.spent = self.spent or bool(late)
        self._lost = self._lost or (bool(late) and not probe)
        self.serve()

    def owes(self, seconds: float = 0.0) -> bool:
        """True while answers to earlier requests have not come; waits for them at most ``seconds``."""
        if self._owed:
            self._owed = list(wait(self._owed, timeout=max(seconds, 0.0)).not_done)
            self.serve()
        return bool(self._owed)

    def leave(self, futures: Iterable[Future[Any]]) -> None:
        """Nobody waits for these, and no pass is held up by them; the client is kept until they have come, too."""
        self._left = [future for future in (*self._left, *futures) if not future.done()]

    def awaited(self) -> bool:
        """True while any answer may still come: it must not be destroyed."""
        self.leave(())
        return self.owes() or bool(self._left)

    def replaceable(self, seconds: float) -> bool:
        """True when another may take its place: it owes nothing, or what may never come and there is room for it."""
        if self._lost and len(_retired) < _MOST_RETIRED:
            return True
        return not self.owes(seconds)

    @property
    def stuck(self) -> bool:
        """True when it may owe for ever, and no other can take its place: only the process's end helps."""
        return self._lost and bool(self._owed) and len(_retired) >= _MOST_RETIRED

    def log_in_as(self, settings: Mapping[str, str | int], secrets: Set[str]) -> None:
        """Have what is owed for want of the right password come, and nobody knock with a wrong one for ever."""
        login = [str(settings.get(key, "")) for key in ("sasl.username", "sasl.password")]
        if all(login):
            self._secrets |= secrets
            self.admin.set_sasl_credentials(*login)

    def lose(self) -> None:
        """What it owes will never come: it has a certificate, or trusts one, that was replaced."""
        self._lost = True

    def retire(self) -> None:
        """No more will be asked. Kept until nothing is owed: see ``bury``."""
        with _burying:
            _retired.append(self)
        bury()

    def serve(self) -> None:
        """Let librdkafka hand over its log lines and errors; without it they pile up."""
        self.admin.poll(0)

    def calm(self) -> None:
        """The brokers answered: what went wrong before no longer explains anything."""
        self._trouble.last = None

    def fault(self, error: BaseException, what: str, waited: float) -> Fault:
        """What a failed request about ``what`` ("topic x") means."""
        servers = self.settings.get("bootstrap.servers")
        code = error.args[0].code() if isinstance(error, KafkaException) else None
        if code is None or code in _NO_ANSWER:
            self.serve()
            trouble, said = self._trouble.last or (None, "")
            # With TLS 1.3 a refusal comes after the handshake: a message that could not be received. A certificate that
            # is not trusted is now and then told with the code of a lost connection, too.
            refused = "SSL alert" in said or "certificate verify failed" in said
            if refused or trouble in (KafkaError._AUTHENTICATION, KafkaError._SSL):
                remedy = "check security.protocol and the sasl.* and ssl.* settings in spec.kafka.properties"
            else:
                remedy = "check spec.kafka.bootstrapServers, that the brokers run, and the network path to them"
            return Fault(
                Reason.BROKER_UNREACHABLE,
                f"no answer from Kafka at {servers} within {waited:g} s{f' ({said})' if said else ''}; {remedy}",
            )
        said = redact(error.args[0].str(), self._secrets)
        if code in _NOT_ALLOWED:
            return Fault(Reason.INPUT_ERROR, f"{what}: {said}; grant this client DESCRIBE on it at {servers}")
        return Fault(Reason.INPUT_ERROR, f"{what}: {said} (Kafka at {servers}); trying again at the next tick")


def bury() -> None:
    """Let go of retired clients to which no answer can come any more, and with them of their threads."""
    with _burying:  # samples and histories have clients of their own; one that owes must not be dropped
        _retired[:] = [one for one in _retired if one.awaited()]


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` without any of the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def resolve(config: Mapping[str, str | int]) -> tuple[dict[str, str | int], frozenset[str]]:
    """Settings for librdkafka, with every ``*.file`` read, and the values among them that are secret.

    Raises Fault when a file cannot be read.
    """
    settings: dict[str, str | int] = dict(_DEFAULTS)
    secrets = set()
    for name, value in config.items():
        key = name
        if name.endswith(".file"):
            key = name.removesuffix(".file")
            try:
                value = read_secret(str(value))  # noqa: PLW2901
            except Unreadable as error:
                raise _unreadable(name, error) from None
        settings[key] = value
        if value != "" and any(word in key for word in _SECRET_WORDS) and "location" not in key:
            secrets.add(str(value))
    return settings, frozenset(secrets)


def certificates(config: Mapping[str, str | int]) -> bytes:
    """A digest of the certificates and keys that a configuration names: another when one was rotated. Raises Fault."""
    found = b""
    for name, value in config.items():
        if name.endswith(".location"):
            try:
                found += fingerprint([str(value)])
            except Unreadable as error:
                raise _unreadable(name, error) from None
    return found


def _unreadable(name: str, why: Unreadable) -> Fault:
    return Fault(
        Reason.INPUT_ERROR,
        f"cannot read the file of {name} in spec.kafka.properties ({why}); "
        "check the path, the mounted Secret and its permissions",
    )


def outcome(future: Future[Any]) -> Any:
    """The result of a settled future. Raises what it failed with, TimeoutError if it has not ended."""
    return future.result(timeout=0)
