"""`lagcast lab load` refuses what cannot be sent, before anything is sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from simulations.lab import load as command
from simulations.lab.load import load


def called(*arguments: str) -> Result:
    return CliRunner().invoke(load, ["--topic", "t", *arguments])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--mean", "5", "--scale", "2"], 2, "either --mean or --scale"),
        ([], 2, "a made load needs its --mean"),
        (["--mean", "0"], 2, "'--mean'"),
        (["--mean", "-5"], 2, "'--mean'"),
        (["--mean", "5", "--past", "10"], 2, 'for seconds, write "10s"'),
        (["--mean", "5", "--past", "-10s"], 2, "never negative"),
        (["--mean", "5", "--speed", "0"], 2, "'--speed'"),
        (["--mean", "5", "--hot", "1.5"], 2, "'--hot'"),
        (["--mean", "5", "--hot", "0.5", "--zipf", "1"], 1, "not by both"),
        (["--mean", "5", "--partitions", "0"], 2, "'--partitions'"),
        (["--mean", "5", "--spike-every", "1m", "--spike-length", "2m"], 1, "a spike must lie within"),
        (["--trace", "no-such-trace"], 1, "no-such-trace: no such file"),
        (["--mean", "5"], 1, "no lab in"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    result = called("--dir", str(tmp_path), *arguments)
    assert result.exit_code == code
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_broken_trace_is_named_with_its_line(tmp_path: Path) -> None:
    trace = tmp_path / "load__60s.csv"
    trace.write_text("t_s,value\n0,1\n60,-1\n")
    result = called("--dir", str(tmp_path), "--trace", str(trace))
    assert result.exit_code == 1
    assert f"{trace}:3: value is -1" in result.output
    trace.write_text("t_s,value\n0,1\n120,1\n")
    assert "gaps: silent, interpolate" in called("--dir", str(tmp_path), "--trace", str(trace)).output


def test_a_trace_begins_at_the_offset_and_is_scaled_over_what_is_left(tmp_path: Path) -> None:
    trace = tmp_path / "load__60s.csv"
    trace.write_text("t_s,value\n0,6000\n60,60\n120,180\n")
    series = command._series(str(trace), None, {}, 10.0, 0, None)
    shaped = command._shaped(series, "refuse", 60.0, 2.0, 10.0, None)
    assert (shaped.start, shaped.step) == (0.0, 30.0)
    assert shaped.rates.tolist() == [5.0, 15.0]


def test_a_made_load_is_the_same_however_long_it_is_sent() -> None:
    made = {
        "period": 600.0, "amplitude": 0.5, "noise": 0.2, "step": None,
        "spike_every": 300.0, "spike_at": 100.0, "spike_length": 20.0, "spike_height": 4.0,
    }  # fmt: skip
    short = command._series(None, None, made, 10.0, 3, 200.0)
    long = command._series(None, None, made, 10.0, 3, None)
    assert short.step == long.step == pytest.approx(300 / 288)
    assert long.end == pytest.approx(1200.0, abs=long.step)
    np.testing.assert_array_equal(short.rates, long.rates[: len(short.rates)])
    at = (np.arange(len(long.rates)) + 0.5) * long.step
    spike = np.mod(at - 100, 300) < 20
    assert long.rates[spike].mean() > 2 * long.rates[~spike].mean()
