"""How long a worker is busy: the shapes that the configuration names, and the measured table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from forecasting.errors import BadSeries
from simulations.service_times import BatchSpec, ServiceTime, ServiceTimeSpec, read_batch_latency
from simulations.traces import traces_folder

HEADER = "model,hardware,prompt_size,batch_size,token_size,prompt_time,token_time,e2e_time,tensor_parallel\n"


def row(size: object, milliseconds: object, model: str = "llama2-70b") -> str:
    return f"{model},a100-80gb,512,{size},128,1,1,{milliseconds},4\n"


def built(config: dict[str, object]) -> ServiceTime:
    spec: ServiceTimeSpec = TypeAdapter(ServiceTimeSpec).validate_python(config)
    return spec.build()


def table(folder: Path, rows: str) -> Path:
    path = folder / "latency.csv"
    path.write_text(HEADER + rows, encoding="utf-8")
    return path


def test_fixed() -> None:
    service = built({"kind": "fixed", "seconds": 0.5})
    assert service.batch == 1
    assert service.draw(1, np.random.default_rng(0)) == 0.5


def test_lognormal_has_the_location_and_the_median_that_it_says() -> None:
    service = built({"kind": "lognormal", "location": 0.0793, "scale": 0.0686, "shape": 0.4225})
    rng = np.random.default_rng(1)
    drawn = np.array([service.draw(1, rng) for _ in range(20_000)])
    assert service.batch == 1
    assert drawn.min() > 0.0793
    assert float(np.median(drawn)) == pytest.approx(0.0793 + 0.0686, rel=0.01)
    assert float(np.log(drawn - 0.0793).std()) == pytest.approx(0.4225, rel=0.02)


def test_batches_take_the_median_measured_and_are_interpolated(tmp_path: Path) -> None:
    rows = row(1, 1000) + row(1, 1200) + row(1, 9000) + row(4, 2100) + row(1, 1, model="other")
    service = read_batch_latency(BatchSpec(kind="batch", batch=4, file=table(tmp_path, rows)))
    rng = np.random.default_rng(0)
    assert [service.draw(k, rng) for k in (1, 2, 3, 4)] == pytest.approx([1.2, 1.5, 1.8, 2.1])
    fast = read_batch_latency(BatchSpec(kind="batch", batch=4, speed=10.0, file=table(tmp_path, rows)))
    assert fast.draw(4, rng) == pytest.approx(0.21)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (row(1, "x"), ":2: batch_size and e2e_time must be numbers"),
        (row(1, 1000) + row("", 1000), ":3: batch_size and e2e_time must be numbers"),
        (row(0, 1000), ":2: batch_size 0"),
        (row(1, -5), ":2: batch_size 1 and e2e_time -5"),
        (row(1, "nan"), ":2: batch_size 1 and e2e_time nan"),
        (row(1, 1000), ": a batch of 4 was not measured; the largest is 1"),
        ("", ": nothing was measured for model llama2-70b, hardware a100-80gb"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path: Path, rows: str, said: str) -> None:
    path = table(tmp_path, rows)
    with pytest.raises(BadSeries) as refused:
        read_batch_latency(BatchSpec(kind="batch", batch=4, file=path))
    assert str(refused.value).startswith(f"{path}{said}")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSeries, match="cannot be read"):
        read_batch_latency(BatchSpec(kind="batch", batch=1, file=tmp_path / "none.csv"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "fixed"},
        {"kind": "fixed", "seconds": 0},
        {"kind": "fixed", "seconds": float("nan")},
        {"kind": "fixed", "seconds": 1, "colour": "red"},
        {"kind": "gamma", "seconds": 1},
        {"kind": "lognormal", "location": -1, "scale": 1, "shape": 1},
        {"kind": "batch", "batch": 0},
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        built(wrong)


@pytest.mark.skipif(not traces_folder().is_dir(), reason="the shared traces are not on this machine (LAGCAST_TRACES)")
def test_the_measured_table_is_read_and_large_batches_pay() -> None:
    service = built({"kind": "batch", "batch": 64})
    rng = np.random.default_rng(0)
    one, many = service.draw(1, rng), service.draw(64, rng)
    assert one == pytest.approx(5.84, abs=0.01)
    assert 64 / many > 10 / one


def test_many_draws_are_of_the_same_shape_as_single_ones(tmp_path: Path) -> None:
    configs: list[dict[str, object]] = [
        {"kind": "fixed", "seconds": 0.25},
        {"kind": "exponential", "mean": 0.5},
        {"kind": "lognormal", "location": 0.0793, "scale": 0.0686, "shape": 0.4225},
        {"kind": "batch", "batch": 2, "file": str(table(tmp_path, row(1, 1000) + row(2, 1500)))},
    ]
    # 0.0793 + 0.0686 exp(0.4225^2 / 2)
    for config, mean in zip(configs, (0.25, 0.5, 0.15430, 1.0), strict=True):
        service, rng = built(config), np.random.default_rng(3)
        assert service.mean == pytest.approx(mean, rel=1e-4)
        single = np.array([service.draw(1, rng) for _ in range(4_000)])
        many = service.draws(40_000, rng)
        assert float(many.mean()) == pytest.approx(mean, rel=0.02)
        assert float(many.std()) == pytest.approx(float(single.std()), rel=0.1, abs=1e-9)
