"""A load's source as a series of arrival rates: a file, the topic's own history, or Prometheus."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from forecasting.errors import BadSeries
from forecasting.series import Series
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.clock import Clock, SystemClock
from scaler.errors import LagcastError
from simulations.errors import BadSetting
from simulations.whole_file import write_whole

AUTO = "auto"
KAFKA_TIMEOUT = 15.0  # s, for the broker's first answer
HISTORY_TIMEOUT = 300.0  # s, for all look-ups: no tick waits for them


def from_file(name: str, form: str, seed: int, column: str | None, silence: float | None) -> Series:
    """The load in a file, or a trace by its name. ``form`` auto: as the file looks. Raises BadSeries with its line."""
    from simulations.load_files import Form, read_load

    return read_load(name, None if form == AUTO else Form(form), seed, column, silence)


def from_kafka(resource: PredictiveScaler, span: float, clock: Clock | None = None) -> tuple[Series, int]:
    """The last ``span`` s of the resource's topic, as its broker remembers them, and the number of its partitions.

    In the forecaster's steps, or in longer ones where those would be more look-ups than the controller makes.

    Raises LagcastError when the broker does not answer, and BadSeries when it remembers nothing.
    """
    from scaler.observe.kafka import KafkaOffsets
    from scaler.observe.watched import history_window

    kafka, step = resource.spec.kafka, history_window(span, float(resource.spec.forecast.step)).step
    config = {"bootstrap.servers": kafka.bootstrap_servers, **dict(kafka.properties)}
    partitions = _partitions(config, resource)
    source = KafkaOffsets(config, KAFKA_TIMEOUT, HISTORY_TIMEOUT)
    try:
        now = (clock or SystemClock()).now()
        end = now - now % step
        past = source.history(kafka.topic, end - span, end, step)
    finally:
        source.close()
    if past.value is None:
        raise LagcastError(f"{resource}: history of topic {kafka.topic}: {past.detail or past.freshness}")
    return _known_part(past.value, f"topic {kafka.topic}"), partitions


def _partitions(config: Mapping[str, str], resource: PredictiveScaler) -> int:
    """How many the topic has. The group is not asked for: its past needs no consumers."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from scaler.observe.kafka_client import Fault, redact, resolve

    kafka = resource.spec.kafka
    what = f"{resource}: topic {kafka.topic} at {kafka.bootstrap_servers}"
    try:
        settings, secrets = resolve(config)
    except Fault as fault:
        raise LagcastError(f"{what}: {fault.detail}") from None
    try:
        found = AdminClient({**settings, "log_level": 0}).list_topics(kafka.topic, timeout=KAFKA_TIMEOUT)
    except KafkaException as error:
        said = redact(str(error.args[0].str()), secrets)
        raise LagcastError(f"{what}: the broker does not answer ({said}); check the address and security") from None
    topic = found.topics[kafka.topic]
    if topic.error is not None:
        raise LagcastError(f"{what}: {topic.error.str()}; check spec.kafka.topic")
    return len(topic.partitions)


def from_prometheus(
    resource: PredictiveScaler, url: str | None, query: str | None, span: float, clock: Clock | None = None
) -> Series:
    """What Prometheus knows of the arrival rate over the last ``span`` s, in the resource's steps.

    ``url`` None: where the resource finds its latency, let in as it says there. Raises BadSetting, LagcastError or
    BadSeries.
    """
    from scaler.observe.access import Access
    from scaler.observe.files import Unreadable
    from simulations.prometheus_load import query_range

    latency = resource.spec.latency
    where = url if url is not None else None if latency is None else latency.prometheus
    if where is None:
        raise BadSetting(f"--prometheus: found nothing, and {resource} names none in spec.latency; give its URL")
    if query is None:
        raise BadSetting(
            "--query: found nothing; needed with --from-prometheus: arrivals in requests/s as one series, such as "
            "'sum(rate(requests_total[1m]))'"
        )
    step = float(resource.spec.forecast.step)
    now = (clock or SystemClock()).now()
    declared = latency.access if latency is not None and url is None else None
    access = Access({} if declared is None else declared.files)
    try:
        access.certificates()  # all that can be read is read before anybody is asked
        headers = access.headers()
    except Unreadable as error:
        raise LagcastError(f"{resource}: {error}") from None
    series = query_range(where, query, now - span, now, step, headers, authorities=access.authorities, pair=access.pair)
    return _known_part(series, f"query {query}")


def _known_part(series: Series, what: str) -> Series:
    """Without the unknown steps at both ends; gaps inside stay."""
    import numpy as np

    known = np.flatnonzero(np.isfinite(series.rates))
    if not len(known):
        raise BadSeries(f"{what}: nothing is known of its past; wait until there is some, or give a file")
    first, last = int(known[0]), int(known[-1]) + 1
    return Series(series.start + first * series.step, series.step, series.rates[first:last])


def keep(path: Path, source: str, series: Series, partitions: int | None) -> None:
    """Keep what a source answered, for a run that goes on with it later. Raises OSError."""
    rates = [None if math.isnan(rate) else rate for rate in series.rates.tolist()]
    document = {"source": source, "start": series.start, "step": series.step, "partitions": partitions, "rates": rates}
    write_whole(path, json.dumps(document, allow_nan=False))


def kept(path: Path, source: str) -> tuple[Series, int | None]:
    """What was kept. Raises BadSetting when it is of another source, or cannot be read."""
    import numpy as np

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found, partitions = document["source"], document["partitions"]
        rates = np.array([math.nan if rate is None else rate for rate in document["rates"]], dtype=np.float64)
        series = Series(float(document["start"]), float(document["step"]), rates)
    except (ValueError, KeyError, TypeError) as error:
        raise BadSetting(f"{path}: cannot be read ({error}); remove it, to read the load anew") from None
    if found != source:
        raise BadSetting(f"{path}: found the load of {found}, now {source}; choose another --out or --study")
    return series, partitions
