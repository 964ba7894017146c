"""Where a service's latency histogram is found, and how its server lets us in: the part ``latency`` of the resource."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from scaler.api.cel import Rule
from scaler.api.model import FieldErrors, Model, matches, rules
from scaler.api.quantities import Duration, duration_between

_PairRule = tuple[str, str, str]

# (a file, the one that it needs, what the two are)
_PAIRS: tuple[_PairRule, ...] = (
    ("usernameFile", "passwordFile", "user name and password"),
    ("certificateFile", "keyFile", "certificate and key"),
)
_OVER_TLS = ("caFile", "certificateFile")
_File = Annotated[
    str,
    Field(strict=True, min_length=2, max_length=1024),
    matches(r"/[^\x00-\x1f]+", "the absolute path of a file", shown=False),
]


def _access_rules() -> tuple[Rule, ...]:
    made = [
        Rule(f"has(self.{a}) == has(self.{b})", f"both of {what}, or neither", field=f".{b}") for a, b, what in _PAIRS
    ]
    either = "a token or a user name, not both"
    return (*made, Rule("!has(self.tokenFile) || !has(self.usernameFile)", either, field=".tokenFile"))


class Access(Model):
    """How the server lets us in: files mounted into the controller's pod, and read again at each query, so that
    one that is rotated is taken up. Secrets come by file only, so that no resource, status or log can hold one.
    """

    model_config = rules(*_access_rules())

    token_file: _File | None = Field(default=None, description="File of a bearer token. Default: none is sent.")
    username_file: _File | None = Field(default=None, description="File of the user name (HTTP basic). Default: none.")
    password_file: _File | None = Field(default=None, description="File of its password. Default: none.")
    ca_file: _File | None = Field(
        default=None,
        description="File of the authorities (PEM) that the server's certificate is checked against. "
        "Default: those that are known publicly.",
    )
    certificate_file: _File | None = Field(
        default=None, description="File of our own certificate (PEM), for mutual TLS. Default: none is shown."
    )
    key_file: _File | None = Field(
        default=None, description="File of its key (PEM), without a password. Default: none."
    )

    @model_validator(mode="after")
    def _whole(self) -> Access:
        given = self.files
        faults = [
            (b if a in given else a, f"found only one of {what}; allowed: both, or neither")
            for a, b, what in _PAIRS
            if (a in given) != (b in given)
        ]
        if "tokenFile" in given and "usernameFile" in given:
            faults.append(("tokenFile", "found both a token and a user name; allowed: one of them"))
        if faults:
            raise FieldErrors(*faults)
        return self

    @property
    def files(self) -> dict[str, str]:
        """Field's name in the resource -> path, of those that are given."""
        fields = type(self).model_fields.items()
        values = ((field.alias or name, getattr(self, name)) for name, field in fields)
        return {name: value for name, value in values if value is not None}


class Latency(Model):
    """Where the service's latency histogram is found. Without it, latency is not observed."""

    model_config = rules(
        Rule(
            "!has(self.access) || self.prometheus.startsWith('https://') || "
            f"!({' || '.join(f'has(self.access.{name})' for name in _OVER_TLS)})",
            "an https URL, with an authority's or an own certificate",
            field=".prometheus",
        )
    )

    prometheus: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=2048),
        matches(
            r"https?://(?:[A-Za-z0-9][-A-Za-z0-9.]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[-A-Za-z0-9._~/]*)?",
            "an http or https URL without user, password or query",
        ),
    ] = Field(description="Base URL of the Prometheus server, without user or password.")
    metric: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=200),
        matches(r"[a-zA-Z_:][a-zA-Z0-9_:]*", "a Prometheus metric name"),
    ] = Field(
        default="inference_latency_seconds",
        description="Histogram of seconds a request spent in service, without the suffix `_bucket`. Default: what "
        "the workers of the lab export.",
    )
    selector: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=1024),
        matches(
            r'[a-zA-Z_]\w*(?:=~|!~|!=|=)"(?:[^"\\\n]|\\.)*"(?:, ?[a-zA-Z_]\w*(?:=~|!~|!=|=)"(?:[^"\\\n]|\\.)*")*',
            'label matchers without braces, such as app="chat"',
        ),
    ] = Field(
        description="Label matchers without braces that pick this service's series. No default: without one, the "
        "latency of all services would be mixed."
    )
    window: Annotated[Duration, duration_between("1s", "1h")] = Field(
        default=Duration.parse("1m"),
        description="Window of the rates and quantiles. Default: four scrapes at the usual 15 s.",
    )
    access: Access | None = Field(default=None, description="How the server lets us in. Default: it lets everybody in.")

    @model_validator(mode="after")
    def _certificates_over_tls(self) -> Latency:
        files = {} if self.access is None else self.access.files
        if not self.prometheus.startswith("https://") and any(name in files for name in _OVER_TLS):
            rule = "an https URL, with an authority's or an own certificate"
            raise FieldErrors(("prometheus", f"found an http URL; allowed: {rule}"))
        return self
