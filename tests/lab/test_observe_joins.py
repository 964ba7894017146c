"""Ready to holding partitions, as Prometheus shows it, against what the workers themselves know."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from scaler.observe.joins import SPAN, Joins
from scaler.observe.ports import LatencyQuery
from scaler.observe.prometheus import PrometheusLatency
from scaler.plan.observation import LeadTime
from simulations.service_times import Fixed
from tests.lab.test_proof import say
from tests.lab.test_workers import bench, until

pytestmark = pytest.mark.lab

QUERY = LatencyQuery("inference_latency_seconds", 'app="chat"', 60.0)


def test_a_pod_that_joins_tells_when_it_held_partitions(
    lab: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, joins = PrometheusLatency(lab.prometheus.url, timeout=3.0), Joins()
    stop = threading.Event()
    with bench(lab, Path(lab.prometheus.file_sd), 6, 40.0, Fixed(0.05)) as at:
        at.start(2)
        until(lambda: at.spread(2), 30, "6 partitions over 2 pods")
        sending = threading.Thread(target=lambda: at.load.run(stop, duration=60.0))
        sending.start()
        try:
            time.sleep(3.0)
            ready = time.time()
            at.workers.start_pod("late")
            joins.follow("chat", [LeadTime("late", 0.1, 0.2, 5.0, None, ready)], ready)
            joins.follow("chat", [LeadTime("nobody", 0.1, 0.2, 5.0, None, ready)], ready)
            until(lambda: bool(at.workers.partitions()["late"]), 30, "the pod holds partitions")
            held = time.time() - ready
            whole: list[LeadTime] = []
            until(
                lambda: (
                    whole.extend(joins.learn("chat", source.served(QUERY, joins.pods("chat"), SPAN))) or bool(whole)
                ),
                20,
                "the part is known",
            )
        finally:
            stop.set()
            sending.join()
            source.close()
    (lead,) = whole
    assert lead.pod == "late"
    assert lead.ready_to_partitions is not None
    say(capsys, f"ready to partitions: {lead.ready_to_partitions:.2f} s learned, {held:.2f} s in truth")
    assert lead.ready_to_partitions == pytest.approx(held, abs=1.5), "a scrape a second"
    assert joins.pods("chat") == ("nobody",), "a pod that was not seen stays unknown"
