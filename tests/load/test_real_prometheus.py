"""Range data from a real Prometheus whose past was written beforehand."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest
import requests

from forecasting.errors import BadSeries
from scaler.errors import LagcastError
from simulations.lab.ports import free_port
from simulations.prometheus_load import query_range

pytestmark = pytest.mark.lab

STEP, SCRAPE = 60.0, 15
QUERY = "sum(rate(requests_total[1m]))"


def past(start: float) -> str:
    """OpenMetrics of two pods over two hours: 4 requests/s in all, 10 in the second hour; no scrape for 20 minutes."""
    lines = ["# TYPE requests counter"]
    for pod, part in (("a", 0.25), ("b", 0.75)):
        total = 0.0
        for k in range(0, 7200 + SCRAPE, SCRAPE):
            if not 4200 <= k < 5400:
                lines.append(f'requests_total{{pod="{pod}"}} {total:.1f} {start + k:.0f}')
            total += part * (4 if k < 3600 else 10) * SCRAPE
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, float]]:
    """(URL, unix s at which its past begins)."""
    folder = tmp_path_factory.mktemp("prometheus")
    prometheus, promtool = shutil.which("prometheus"), shutil.which("promtool")
    assert prometheus is not None
    assert promtool is not None
    start = (time.time() - 6 * 3600) // STEP * STEP
    (folder / "past.om").write_text(past(start), encoding="utf-8")
    (folder / "prometheus.yml").write_text("{}\n", encoding="utf-8")
    made = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(folder / "past.om"), str(folder / "data")]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    address = f"127.0.0.1:{free_port()}"
    command = [
        prometheus,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(150):
            try:
                if requests.get(f"http://{address}/-/ready", timeout=1).ok:
                    break
            except requests.RequestException:  # also one that takes longer to answer
                pass
            assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")[-2000:]
            time.sleep(0.2)
        yield f"http://{address}", start
    finally:
        process.terminate()
        process.wait(30)


def test_the_past_is_read_with_its_gap(server: tuple[str, float]) -> None:
    url, start = server
    series = query_range(url, QUERY, start, start + 7200, STEP)
    assert (series.start, series.end) == (start, start + 7200)
    rates = series.rates
    assert rates[:60] == pytest.approx(np.full(60, 4.0), rel=1e-6)
    # Minutes without two scrapes are not known: from 70 on, and to 90 and the first one after.
    assert np.flatnonzero(np.isnan(rates)).tolist() == list(range(70, 90))
    assert rates[61:70] == pytest.approx(np.full(9, 10.0), rel=1e-6)
    assert rates[91:] == pytest.approx(np.full(29, 10.0), rel=1e-6)


def test_what_it_does_not_know_and_does_not_understand_is_told(server: tuple[str, float]) -> None:
    url, start = server
    with pytest.raises(BadSeries, match="no sample"):
        query_range(url, "sum(rate(other_total[1m]))", start, start + 7200, STEP)
    with pytest.raises(BadSeries, match=r"found 2 series.*sum\(\)"):
        query_range(url, "rate(requests_total[1m])", start, start + 7200, STEP)
    with pytest.raises(LagcastError, match=r"refuses the query: .*parse error"):
        query_range(url, "sum(rate(", start, start + 7200, STEP)
