"""Who may do what on the lab's broker: passwords for SASL/SCRAM, and access control lists."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from simulations.lab.errors import LabError

PATIENCE = 10.0  # s
ITERATIONS = 4096  # the fewest that Kafka takes


@dataclass(frozen=True, slots=True)
class Right:
    """One line of an access control list: ``operation`` ("DESCRIBE") on a ``kind`` of resource ("TOPIC") by name."""

    operation: str
    kind: str
    name: str


class Users:
    """Told over the plain listener, where everything is allowed; known to the broker when a call returns."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def set_password(self, user: str, password: str) -> None:
        """Let a user log in with this password, and no other, over SASL/SCRAM-SHA-512. Raises LabError."""
        from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion  # type: ignore[attr-defined]

        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        change = UserScramCredentialUpsertion(user, info, password.encode())
        admin = self._admin()  # kept until it is done: an answer to one that is gone never comes
        _done(admin.alter_user_scram_credentials([change], request_timeout=PATIENCE), f"password of {user}")

    def allow(self, user: str, *rights: Right) -> None:
        """Add rights. Raises LabError."""
        admin, lines = self._admin(), [_binding(user, right) for right in rights]
        _done(admin.create_acls(lines, request_timeout=PATIENCE), f"rights of {user}")

    def forbid(self, user: str, *rights: Right) -> None:
        """Take rights away. Raises LabError."""
        admin, lines = self._admin(), [_binding(user, right, binding=False) for right in rights]
        _done(admin.delete_acls(lines, request_timeout=PATIENCE), f"rights of {user}")

    def _admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 2})


def _binding(user: str, right: Right, *, binding: bool = True) -> Any:
    from confluent_kafka.admin import (  # type: ignore[attr-defined]
        AclBinding,
        AclBindingFilter,
        AclOperation,
        AclPermissionType,
        ResourcePatternType,
        ResourceType,
    )

    kind, operation = ResourceType[right.kind], AclOperation[right.operation]
    made = AclBinding if binding else AclBindingFilter
    allow = AclPermissionType.ALLOW
    return made(kind, right.name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, allow)


def _done(futures: Mapping[Any, Future[Any]], what: str) -> None:
    from confluent_kafka import KafkaException

    for future in futures.values():
        try:
            future.result(PATIENCE)
        except (KafkaException, TimeoutError) as error:
            raise LabError(f"{what} could not be changed: {error}") from None
