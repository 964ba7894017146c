"""Where a service's requests wait: the Kafka part of the resource."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from scaler.api.cel import Checked, Rule, text, texts
from scaler.api.describe import found
from scaler.api.model import FieldErrors, Model, matches

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_PATH = None

# Client settings that are taken, and their allowed values (None: the absolute path of a file). Secrets come by file
# only, so that no configuration, status or log can hold one.
PROPERTIES: MappingProxyType[str, tuple[str, ...] | None] = MappingProxyType(
    {
        "security.protocol": _PROTOCOLS,
        "sasl.mechanism": _MECHANISMS,
        "sasl.username.file": _PATH,
        "sasl.password.file": _PATH,
        "ssl.ca.location": _PATH,
        "ssl.certificate.location": _PATH,
        "ssl.key.location": _PATH,
        "ssl.key.password.file": _PATH,
        "ssl.endpoint.identification.algorithm": ("https", "none"),
    }
)

FILES = frozenset(key for key, choices in PROPERTIES.items() if choices is _PATH)


def _fault(key: str, value: str) -> str | None:
    if key not in PROPERTIES:
        # The value is not shown: it may be a secret under a wrong name.
        return f"found an unknown setting; allowed: {', '.join(PROPERTIES)} (secrets by file path only)"
    choices = PROPERTIES[key]
    if choices is None:
        # Nor is it shown here: a password is easily written where its file is asked for.
        return None if re.fullmatch(r"/[^\x00]{1,1023}", value) else "found no absolute path; allowed: a file's path"
    return None if value in choices else f"found {found(value)}; allowed: {', '.join(choices)}"


def _check(properties: dict[str, str]) -> dict[str, str]:
    faults = [(key, text) for key, value in properties.items() if (text := _fault(key, value)) is not None]
    if not faults and properties.get("security.protocol", "").startswith("SASL"):
        needed = ("sasl.mechanism", "sasl.username.file", "sasl.password.file")
        faults += [(key, "found nothing; needed by this security.protocol") for key in needed if key not in properties]
    if not faults and ("ssl.certificate.location" in properties) != ("ssl.key.location" in properties):
        faults.append(("ssl.key.location", "found only one of certificate and key; allowed: both or neither"))
    if faults:
        raise FieldErrors(*faults)
    return properties


def _rules() -> tuple[Rule, ...]:
    """The same as ``_check``."""
    files = [key for key in PROPERTIES if key in FILES]
    made = [
        Rule(f"self.all(k, k in {texts(PROPERTIES)})", f"{', '.join(PROPERTIES)} (secrets by file path only)"),
        Rule(
            f"{texts(files)}.all(k, !(k in self) || self[k].matches(r'^/[^\\x00]+$'))",
            f"an absolute path of a file, in {', '.join(files)}",
        ),
    ]
    for key, choices in PROPERTIES.items():
        if choices is not None:
            one_of = f"self[{text(key)}] in {texts(choices)}"
            made.append(Rule(f"!({text(key)} in self) || {one_of}", f"{key} is one of {', '.join(choices)}"))
    needed = ("sasl.mechanism", "sasl.username.file", "sasl.password.file")
    asked = f"{text('security.protocol')} in self && self[{text('security.protocol')}].startsWith('SASL')"
    made.append(Rule(f"!({asked}) || {texts(needed)}.all(k, k in self)", f"with SASL, also {', '.join(needed)}"))
    pair = " == ".join(f"({text(key)} in self)" for key in ("ssl.certificate.location", "ssl.key.location"))
    made.append(Rule(pair, "both of ssl.certificate.location and ssl.key.location, or neither"))
    return tuple(made)


# Kafka's own rule for topic names. A group may hold any text; what cannot be printed would only hide a mistake.
_TOPIC = matches(
    r"[A-Za-z0-9._-]+",
    "a topic name: letters, digits, '.', '_' and '-', at most 249 characters, and neither '.' nor '..'",
    but=(".", ".."),
)
_GROUP = matches(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*", "a consumer group's name: printable ASCII, at most 255 characters")
_SERVER = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}"
_SERVERS = matches(
    rf"{_SERVER}(?:,{_SERVER})*",
    'host:port, several separated by commas without spaces, such as "kafka-0:9092,kafka-1:9092"',
)


class Kafka(Model):
    """The topic that requests arrive in, and the consumer group that serves them."""

    bootstrap_servers: Annotated[str, Field(strict=True, min_length=1, max_length=2048), _SERVERS] = Field(
        description="Brokers to ask first, as host:port, separated by commas. The others are found through these."
    )
    topic: Annotated[str, Field(strict=True, min_length=1, max_length=249), _TOPIC] = Field(
        description="The topic whose end offsets are the arrivals."
    )
    consumer_group: Annotated[str, Field(strict=True, min_length=1, max_length=255), _GROUP] = Field(
        description="The consumer group of the target's replicas; its committed offsets are the work done."
    )
    properties: Annotated[
        dict[Annotated[str, Field(strict=True, max_length=64)], Annotated[str, Field(strict=True, max_length=1024)]],
        Field(max_length=len(PROPERTIES)),
        Checked(_check, _rules()),
    ] = Field(
        default_factory=dict,
        description="Security settings of the client: "
        + ", ".join(f"`{key}`" for key in PROPERTIES)
        + ". Secrets by file path only, so that no configuration, status or log holds one. Default: none, plain text.",
    )
