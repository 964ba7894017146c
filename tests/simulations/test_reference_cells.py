"""Cells that an independent model measured, repeated here; all of them: ``python -m simulations.reference_cells``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from forecasting.errors import BadSeries
from simulations.reference_cells import FILE, Compared, Peer, compare, made, main, read
from simulations.traces import traces_folder

PEER = Peer("azfunc_diurnal", 9, "pods", 950.0, "hpa_rate", 0.9, 0.999, 1.2)


def cells() -> list[Peer]:
    path = traces_folder() / FILE
    return [peer for peer in read(path) if "pods/azfunc" in peer.name] if path.is_file() else []


@pytest.mark.skipif(not cells(), reason="the shared traces are not there (LAGCAST_TRACES)")
@pytest.mark.parametrize("peer", cells(), ids=lambda peer: peer.name)
def test_a_peer_costs_and_reaches_what_the_reference_says(peer: Peer) -> None:
    # The bound is compared in its own tests, and by the command.
    compared = compare(peer, made(peer.trace, peer.day, peer.scenario), peer.bound, seeds=1)
    assert compared.cost == pytest.approx(peer.cost, rel=0.05)
    assert compared.attainment == pytest.approx(peer.attainment, abs=0.005)
    assert compared.agrees


@pytest.mark.parametrize(
    ("hours", "attainment", "bound", "agrees"),
    [
        (950.0 * 1.2, 0.999, 950.0, True),
        (950.0 * 1.2 * 1.06, 0.999, 950.0, False),
        (950.0 * 1.2 * 0.94, 0.999, 950.0, False),
        (950.0 * 1.2, 0.9935, 950.0, False),
        (950.0 * 1.2, 0.999, 1000.0, False),
    ],
)
def test_a_cell_that_is_too_far_away_does_not_agree(
    hours: float, attainment: float, bound: float, agrees: bool
) -> None:
    assert Compared(PEER, (attainment,), (hours,), bound).agrees is agrees


def test_the_command_says_what_is_wrong_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGCAST_TRACES", str(tmp_path))
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 1
    assert FILE in result.output
    assert "LAGCAST_TRACES" in result.output
    (tmp_path / FILE).write_text(json.dumps({"cells": [{"trace": "x"}]}))
    with pytest.raises(BadSeries, match="not a file of reference cells"):
        read(tmp_path / FILE)
