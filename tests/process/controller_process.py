"""`lagcast run` as a process of its own, against servers that are not there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

TOKEN = "a-token-that-nobody-may-see-4711"
PATIENCE = 20.0  # s, on a busy machine


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scaler(name: str = "chat", **spec: Any) -> dict[str, Any]:
    """A resource whose servers do not answer."""
    return {
        "apiVersion": "lagcast.io/v1alpha1",
        "kind": "PredictiveScaler",
        "metadata": {"name": name},
        "spec": {
            "target": {"name": name},
            "kafka": {"bootstrapServers": "127.0.0.1:9", "topic": name, "consumerGroup": name},
            "latency": {"prometheus": "http://127.0.0.1:9", "selector": f'app="{name}"'},
            "objective": {"within": "10s", "share": "99%"},
            "replicas": {"min": 1, "max": 8, "serviceRate": "2"},
            "mode": "Enforce",
            **spec,
        },
    }


def kubeconfig(folder: Path) -> Path:
    """A kubeconfig with a secret, for an API server that does not answer."""
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gone", "cluster": {"server": "https://127.0.0.1:9", "insecure-skip-tls-verify": True}}],
        "users": [{"name": "lagcast", "user": {"token": TOKEN}}],
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "lagcast"}}],
        "current-context": "gone",
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


class ControllerProcess:
    """One `lagcast run`; ends with the test."""

    def __init__(
        self,
        folder: Path,
        *resources: dict[str, Any],
        port: int | None = None,
        kube: Path | None = None,
        more: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.config = folder / "scalers.yaml"
        self.write(*resources)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = (folder / "log").open("w+b")
        command = [sys.executable, "-W", "error", "-m", "scaler.cli", "run", "--config", str(self.config)]
        command += ["--tick", "300ms", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--kubeconfig", str(kube or kubeconfig(folder)), *more]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, env=os.environ.copy())

    def write(self, *resources: dict[str, Any]) -> None:
        """Put a configuration where the controller reads it."""
        scratch = self.config.with_suffix(".new")
        scratch.write_text(yaml.safe_dump_all(resources), encoding="utf-8")
        scratch.replace(self.config)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    def until(self, is_so: Callable[[], object], what: str) -> None:
        """Wait until ``is_so`` answers something true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if is_so():
                    return
            except requests.RequestException:
                pass
            assert self.process.poll() is None, f"it ended while waiting for: {what}; its log:\n{self.log}"
            time.sleep(0.05)
        raise AssertionError(f"not within {PATIENCE:.0f} s: {what}; its log:\n{self.log}")

    def ready(self) -> ControllerProcess:
        self.until(lambda: requests.get(f"{self.url}/readyz", timeout=5).status_code == 200, "it is ready")
        return self

    def status(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = requests.get(f"{self.url}/status", timeout=5).json()
        return rows

    def metrics(self) -> str:
        return requests.get(f"{self.url}/metrics", timeout=5).text

    def metric(self, metric: str, /, **labels: str) -> float | None:
        """The sample whose labels include ``labels``; None when there is none."""
        for family in text_string_to_metric_families(self.metrics()):
            for sample in family.samples:
                if sample.name == metric and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Exit code, and seconds from the signal to the end."""
        begun = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        return code, time.monotonic() - begun

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()


def run_to_end(*arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a `lagcast run` that cannot start."""
    command = [sys.executable, "-m", "scaler.cli", "run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stderr
