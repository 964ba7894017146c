"""KEDA as a part of the lab: named to be started, on loopback, with certificates that only their owner reads."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from simulations.lab.certificates import write_all
from simulations.lab.control_plane import HPA_STABILIZATION, HPA_SYNC
from simulations.lab.external_metrics import Fault
from simulations.lab.hpa_run import Metric, Script
from simulations.lab.keda import KedaPart
from simulations.lab.lab import with_needs
from simulations.lab.part import Site
from simulations.lab.programs import KEDA, silent
from simulations.lab.race_run import TIME_SCALE

PORTS = {"keda-operator": 15001, "keda-health": 15002, "keda-adapter": 15003, "keda-adapter-metrics": 15004}
NOW = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path, PORTS)
    write_all(made.folder("kubernetes"), NOW)
    return made


def test_it_brings_the_control_plane_and_the_broker() -> None:
    assert with_needs(["keda"]) == ["kafka", "kubernetes", "keda"]


def test_both_programs_get_the_labs_certificate(site: Site) -> None:
    KedaPart().prepare(site, silent)
    KedaPart().prepare(site, silent)  # again changes nothing
    folder = site.directory / "keda"
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "tls.crt", "tls.key"]
    assert (folder / "tls.key").read_bytes() == (site.directory / "kubernetes" / "server.key").read_bytes()
    assert (folder / "tls.key").stat().st_mode & 0o077 == 0


def test_they_listen_on_loopback_and_the_adapter_waits_for_the_operator(site: Site) -> None:
    operator, adapter = KedaPart().servers(site)
    assert "--metrics-service-bind-address=127.0.0.1:15001" in operator.command
    assert "--health-probe-bind-address=127.0.0.1:15002" in operator.command
    assert "--bind-address=127.0.0.1" in adapter.command
    assert "keda-operator" in adapter.after
    # Without it the operator looks for a file that only a pod has, and ends.
    assert operator.env["KEDA_CLUSTER_OBJECT_NAMESPACE"]


def test_the_kinds_are_kept_with_the_programs() -> None:
    title, command = KEDA.steps[-1]
    words = command(Path("/go"), Path("/source"), Path("/target"))
    assert title == "KEDA's CRDs"
    assert words[-2:] == ["/go", "/target"]


def test_the_hpas_times_are_shortened_alike() -> None:
    assert pytest.approx(15.0 * TIME_SCALE) == HPA_SYNC
    assert pytest.approx(300.0 * TIME_SCALE) == HPA_STABILIZATION


def test_a_script_whose_metrics_differ_in_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"uneven: its metrics have \[1, 2\] values; allowed: all as many"):
        Script("uneven", (Metric(10, (1, 2)), Metric(10, (Fault.NOT_FOUND,))))
