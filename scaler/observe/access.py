"""How a Prometheus server lets us in: headers and certificates from mounted files, read again for each query."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from scaler.observe.files import Unreadable, fingerprint, read_secret


class Access:
    """The files by which a server lets us in, each by its name in ``spec.latency.access``."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    @property
    def authorities(self) -> str | bool:
        """What the server's certificate is checked against: a file, or (True) those that are known publicly."""
        return self._files.get("caFile", True)

    @property
    def pair(self) -> tuple[str, str] | None:
        """Our own certificate and its key."""
        files = self._files
        return (files["certificateFile"], files["keyFile"]) if "certificateFile" in files else None

    def certificates(self) -> bytes:
        """A digest of them: another when one was rotated. Raises Unreadable."""
        digests = []
        for name in ("caFile", "certificateFile", "keyFile"):
            if name in self._files:
                try:
                    digests.append(fingerprint([self._files[name]]))
                except Unreadable as error:
                    raise _named(name, error) from None
        return b"".join(digests)

    def headers(self) -> dict[str, str]:
        """What is sent with a query. Raises Unreadable."""
        if "tokenFile" in self._files:
            return {"Authorization": f"Bearer {self._secret('tokenFile')}"}
        if "usernameFile" in self._files:
            both = f"{self._secret('usernameFile')}:{self._secret('passwordFile')}"
            return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
        return {}

    def _secret(self, name: str) -> str:
        try:
            secret = read_secret(self._files[name])
        except Unreadable as error:
            raise _named(name, error) from None
        if name == "tokenFile" and not (secret.isascii() and secret.isprintable()):
            raise _named(name, Unreadable("it holds more than one line of ASCII"))
        return secret


def _named(name: str, why: Unreadable) -> Unreadable:
    return Unreadable(
        f"cannot read the file of {name} in spec.latency.access ({why}); check the path, the mounted Secret and its "
        "permissions"
    )
