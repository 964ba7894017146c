"""Scalers from a configuration file, which is read again when it changes."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from scaler.api.config import Declared, load_all
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.controller import Controller
from scaler.errors import LagcastError, where
from scaler.telemetry import Telemetry

log = logging.getLogger(__name__)


class ConfigFile:
    """Applies a configuration file to the controller when its content is no longer that of the digest ``seen``."""

    missing: str | None = None

    def __init__(
        self,
        path: Path,
        seen: bytes | None,
        controller: Controller,
        telemetry: Telemetry,
        first: tuple[PredictiveScaler, ...] = (),
        pools: tuple[GpuNodePool, ...] = (),
    ) -> None:
        """``first`` and ``pools`` are what was read when the content was ``seen``."""
        self._path = path
        self._first = Declared(first, pools)
        self._controller = controller
        self._telemetry = telemetry
        self._seen = seen
        telemetry.config_ok.set(1)

    def take_over(self) -> tuple[PredictiveScaler, ...]:
        """Configure the controller with what was read first."""
        self._controller.configure(self._first.scalers, self._first.pools)
        return self._first.scalers

    def check(self) -> None:
        """Reload if the file changed. An error keeps the running configuration; it is logged once and counted."""
        seen = digest(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            declared = load_all(self._path)
            self._controller.configure(declared.scalers, declared.pools)
        except Exception as error:  # noqa: BLE001 - also a policy may refuse a resource, in any way
            log.error(
                "the running configuration is kept: %s", error if isinstance(error, LagcastError) else where(error)
            )
            self._telemetry.config_errors.inc()
            self._telemetry.config_ok.set(0)
            return
        self._telemetry.config_ok.set(1)
        log.info("%s: %d scalers, %d pools", self._path, len(declared.scalers), len(declared.pools))

    before_tick = check

    def after_tick(self) -> None:
        """A file has no status to be written."""

    def close(self) -> None:
        """Nothing is held open."""


def digest(path: Path) -> bytes | None:
    """Of a file's content; None when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None
