"""The race's figures, from legs worked by hand; the race itself runs on real servers (`make lab-race`)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from scaler.api.predictive_scaler import Forecast, Replicas
from simulations.lab import race as command
from simulations.lab.lab import Lab
from simulations.lab.measure import Produced
from simulations.lab.race import Race, as_dict, as_table, said_of_simulation, too_far, write
from simulations.lab.race_run import SPEC, TIME_SCALE, Contestant, KedaLeg, Leg, p99_of, simulate_keda

LEG = Leg(
    contestant=Contestant.KEDA,
    start=1_000.5,
    begins=1.0,
    arrivals=np.array([1.0, 2, 3, 4]),
    lag=np.zeros(4),
    replicas=np.array([1, 1, 3, 2]),
    requests=10,
    attainment=0.9,
    p99=2.0,
)


def race() -> Race:
    simulated = replace(
        LEG,
        contestant=Contestant.SIMULATED,
        lag=np.full(4, np.nan),
        replicas=np.array([1, 2, 3, 3]),
        attainment=0.8,
        p99=np.nan,
    )
    lagcast = replace(LEG, contestant=Contestant.LAGCAST, attainment=1.0)
    return Race(10, [KedaLeg(LEG, simulated)] * 2, [lagcast, replace(lagcast, attainment=0.98)])


def test_replica_hours_are_paid_from_the_request_and_changes_counted() -> None:
    assert LEG.replica_hours == pytest.approx(7 / 3600)
    assert LEG.changes == 2


def test_the_simulated_keda_is_held_against_the_real_one() -> None:
    assert race().keda[0].difference == pytest.approx(2 / 7)
    said = said_of_simulation(race())
    assert "replicas differ by 28.6 %" in said
    assert "replica-hours by +28.6 %" in said
    assert "in time by -10.0 points" in said


def near(hours: float, points: float) -> Race:
    """A simulated KEDA that differs by this part of the replica-hours and these percentage points."""
    real = replace(LEG, replicas=np.full(4, 100))
    simulated = replace(real, replicas=np.full(4, round(100 * (1 + hours))), attainment=0.9 + points / 100)
    return Race(10, [KedaLeg(real, simulated)], [])


@pytest.mark.parametrize(
    ("hours", "points", "far"),
    [(0.19, 9.0, False), (-0.19, -9.0, False), (0.22, 0.0, True), (-0.22, 0.0, True), (0.0, -11.0, True),
     (0.0, np.nan, True)],
)  # fmt: skip
def test_a_simulated_keda_that_differs_too_much_is_told(hours: float, points: float, far: bool) -> None:
    assert too_far(near(hours, points)) is far


def test_what_counts_is_the_mean_over_the_repeats() -> None:
    one, other = near(0.3, 0.0), near(-0.3, 0.0)
    assert too_far(one)
    assert not too_far(Race(10, [*one.keda, *other.keda], []))


@pytest.mark.parametrize(("points", "code"), [(-5.0, 0), (-15.0, 1)])
@pytest.mark.parametrize("output", ["table", pytest.param("json", marks=pytest.mark.slow)])
def test_the_command_fails_where_the_simulated_keda_is_too_far(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, points: float, code: int, output: str
) -> None:
    monkeypatch.setattr(Lab, "up", lambda *_: None)
    monkeypatch.setattr(command, "run_keda", lambda *_: near(0.0, points).keda[0])
    monkeypatch.setattr(command, "run_lagcast", lambda *_: replace(LEG, contestant=Contestant.LAGCAST))
    result = CliRunner().invoke(command.race, ["--repeats", "1", "--out", str(tmp_path), "-o", output])
    assert result.exit_code == code
    assert ("the simulated KEDA is not the real one" in result.stderr) == (code == 1)
    assert (tmp_path / "race.json").exists()


def test_lagcast_races_at_its_defaults_in_the_labs_time() -> None:
    hold, step = Replicas.model_fields["scale_in_hold"].default, Forecast.model_fields["step"].default
    assert SPEC.scale_in_hold == pytest.approx(float(hold) * TIME_SCALE)
    assert SPEC.step == pytest.approx(float(step) * TIME_SCALE)


def test_what_is_not_finished_takes_for_ever() -> None:
    latency = np.arange(1.0, 99.0)
    assert p99_of(np.arange(1.0, 101.0), 0) == 100.0
    assert p99_of(latency, 1) == np.inf  # one of 99 is more than 1 %
    assert p99_of(np.arange(1.0, 1000.0), 1) == 991.0
    assert Leg.as_dict(replace(LEG, p99=np.inf))["latency_p99_seconds"] is None


def test_the_table_has_a_row_for_each_with_its_spread() -> None:
    table = as_table(race())
    columns = [list(column.cells) for column in table.columns]
    assert columns[0] == ["KEDA 2.21", "KEDA, simulated", "Lagcast"]
    assert columns[1] == ["90.00 %", "80.00 %", "99.00 % (98.00 to 100.00)"]
    assert columns[2][1] == "-"


def test_picture_and_data_are_written(tmp_path: Path) -> None:
    write(race(), tmp_path)
    assert (tmp_path / "race.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads((tmp_path / "race.json").read_text(encoding="utf-8"))
    assert [leg["contestant"] for leg in data["legs"]].count("KEDA 2.21") == 2
    assert data["simulated_keda_difference"] == [pytest.approx(2 / 7)] * 2
    assert data == json.loads(json.dumps(as_dict(race()), allow_nan=False))


def test_the_simulated_keda_follows_a_spike_of_that_leg() -> None:
    rng = np.random.default_rng(0)
    rates = np.where((np.arange(100) >= 50) & (np.arange(100) < 75), 100.0, 20.0)  # 20 s before the leg's begin
    arrival = 980.5 + np.concatenate([n + rng.random(int(rate)) for n, rate in enumerate(rates)])
    produced = Produced(rng.integers(0, SPEC.partitions, len(arrival)), np.arange(len(arrival)), np.sort(arrival))
    real = replace(LEG, replicas=np.full(80, 6), arrivals=rates[20:], lag=np.zeros(80))
    leg = simulate_keda(real, produced, 980.6, (8.0, 10.0), 10)
    assert leg.requests == pytest.approx(rates[20:].sum(), rel=0.02)
    assert len(leg.replicas) == len(leg.lag) == 80
    assert np.isnan(leg.lag).all()  # what waits in the simulator is not what is unfinished on the broker
    # In calm load it goes down once its window of 40 s is over; in the spike it asks for more than 100 requests/s need.
    assert leg.replicas[:20].tolist() == [SPEC.replicas] * 20
    assert leg.replicas[20:30].min() < SPEC.replicas
    assert leg.replicas[45] > 10
    assert leg.replicas.max() <= SPEC.most
