"""`lagcast run`: the controller on the real Kafka, Prometheus and Kubernetes."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import click

from scaler.cli.signals import Signals, end_in_time
from scaler.cli.units import DURATION
from scaler.errors import ConfigError, LagcastError

OURS = ("lagcast", "scaler", "forecasting", "simulations")


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="File of PredictiveScalers. Default: those of the cluster.",
)
@click.option("--tick", type=DURATION, default="15s", show_default=True, help="Time between decisions.")
@click.option("--listen", default="127.0.0.1:8080", show_default=True, help="HOST:PORT of metrics, probes and status.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: the pod's ServiceAccount.")
@click.option(
    "--leader-elect/--no-leader-elect",
    "elect",
    default=None,
    help="Whether the holder of a Lease alone changes anything. Default: yes; with --config, no.",
)
@click.option(
    "--lease-namespace", help="Default: the pod's (POD_NAMESPACE or its ServiceAccount's), else lagcast-system."
)
@click.option("--lease-name", "lease", show_default="lagcast", help="The same for all replicas.")
@click.option("--policy", default="lagcast", show_default=True, help="A policy of the group lagcast.policies.")
@click.option("--policy-option", "options", multiple=True, metavar="NAME=VALUE", help="For policies that take any.")
@click.option("--journal", type=click.Path(path_type=Path), help="Note decisions in this file, for `lagcast explain`.")
@click.option("--journal-every", type=DURATION, default="1m", show_default=True, help="At least so often, and changes.")
@click.option(
    "--fit-processes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 16),
    help="Forecasters that are fitted side by side, each in a process of some 200 MB that ends when there is none.",
)
@click.option(
    "--credentials",
    show_default="/etc/lagcast/credentials",
    metavar="FOLDER",
    help="Scalers of the cluster may name files below FOLDER/NAMESPACE alone, NAMESPACE being their own.",
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True)
def run(
    path: Path | None,
    tick: float,
    listen: str,
    kubeconfig: Path | None,
    elect: bool | None,
    lease_namespace: str | None,
    lease: str | None,
    policy: str,
    options: Sequence[str],
    journal: Path | None,
    journal_every: float,
    fit_processes: int,
    credentials: str | None,
    log_level: str,
) -> None:
    """Scale the targets of the cluster's PredictiveScalers, or of a configuration file's, until SIGTERM or Ctrl-C.

    In the cluster, the scalers of all namespaces are watched, and what is decided stands in their status. With
    --config, the file is read again when it changes; an error in it keeps the running configuration. Scalers are in
    mode Recommend unless they say otherwise: decisions are reported, nothing is changed.

    Of several replicas the one that holds the Lease leads; the others observe, learn and decide as well, and change
    nothing. One that loses the lease goes on as a standby; it does not exit.

    A journal is bounded: at 64 MiB its file is put aside, and three older ones are kept (FILE.1 to FILE.3).

    \b
    Exit codes: 0 stopped by a signal; 1 cannot start (the message says why); 2 wrong usage or configuration.
    """
    signals = Signals()
    # Before all else: process 1 of a container has no default for a signal, and what is imported now takes a second.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signals.end())
    end_in_time(signals.stop, lambda: os._exit(0))
    _log_to_stderr(log_level.upper())

    from scaler.api.config import Declared, load_all
    from scaler.cli.assemble import Settings, assemble
    from scaler.leadership import LEASE, lease_name
    from scaler.policies import find_policy
    from scaler.resources.credentials import CREDENTIALS
    from scaler.resources.file import digest

    try:
        # The digest before the content: a change while the controller starts is not missed.
        seen = None if path is None else digest(path)
        declared = Declared() if path is None else load_all(path)
        make_policy = find_policy(policy, _options(options))
        host, port = _address(listen)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    if elect is None:
        elect = path is None
    settings = Settings(
        path,
        seen,
        declared.scalers,
        declared.pools,
        make_policy,
        tick,
        host,
        port,
        kubeconfig,
        lease_name(lease_namespace, LEASE if lease is None else lease) if elect else None,
        journal,
        journal_every,
        fit_processes,
        CREDENTIALS if credentials is None else PurePosixPath(credentials),
    )
    try:
        assemble(settings, signals)
    except ConfigError as error:  # the kubeconfig
        raise click.ClickException(
            f"{error}; scalers of a file: --config FILE" if path is None else str(error)
        ) from error
    except (LagcastError, OSError) as error:
        raise click.ClickException(str(error)) from error
    # At once: Python would wait for threads that wait for others, such as one that looks a name up.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def _log_to_stderr(level: str) -> None:
    """Ours at ``level``; libraries never below INFO, where some (oauthlib) write tokens."""
    logging.basicConfig(
        level=max(logging.getLevelNamesMapping()[level], logging.INFO),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for name in OURS:
        logging.getLogger(name).setLevel(level)


def _options(pairs: Sequence[str]) -> dict[str, str]:
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--policy-option {pair!r}: write NAME=VALUE")
        parsed[name] = value
    return parsed


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen {listen!r}: write HOST:PORT, for example 127.0.0.1:8080")
    return host or "0.0.0.0", int(port)  # noqa: S104 - what ":8080" means everywhere
