"""Load from Prometheus: the answer of a range query, from a file or from the server.

A sample is the mean rate (requests/s) of the step that ends at it, as ``sum(rate(requests_total[STEP]))`` with the
query's step gives it. A sample that is not there, or NaN, is not known.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from forecasting.errors import BadSeries
from forecasting.series import Series
from scaler.errors import LagcastError
from simulations.load_text import open_text
from simulations.traces import MOST_STEPS, regular_distance

MOST_SAMPLES = 10_000  # of one answer; a server refuses more than 11,000
_ON_GRID = 0.002  # s; Prometheus counts in milliseconds


def read_answer(path: Path, step: float | None = None) -> Series:
    """The load in a file that holds the JSON of ``/api/v1/query_range``.

    ``step`` (s): the query's; None is the shortest distance of two samples. Raises BadSeries naming file, and line or
    sample.
    """
    with open_text(path) as text:
        try:
            document = json.load(text)
        except json.JSONDecodeError as broken:
            raise BadSeries(f"{path}:{broken.lineno}: not JSON: {broken.msg} (column {broken.colno})") from None
        except RecursionError:
            raise BadSeries(f"{path}: not an answer of Prometheus: nested too deeply") from None
    if not isinstance(document, dict) or "status" not in document:
        raise BadSeries(f"{path}:1: not an answer of Prometheus: it has no field status; wanted: that of query_range")
    if document["status"] != "success":
        said = str(document.get("error", "no reason given"))[:300]
        raise BadSeries(f"{path}: Prometheus answered with status {document['status']!r}: {said}")
    data = document.get("data")
    kind = data.get("resultType") if isinstance(data, dict) else None
    if not isinstance(data, dict) or kind != "matrix":
        raise BadSeries(f"{path}: data.resultType: found {kind!r}; allowed: 'matrix', the answer of a range query")
    return _one_series(data.get("result"), step, f"{path}: data.result")


def query_range(
    url: str,
    query: str,
    start: float,
    end: float,
    step: float,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    authorities: str | bool = True,
    pair: tuple[str, str] | None = None,
) -> Series:
    """What the server at ``url`` knows of ``query`` in the whole steps inside [start, end).

    ``headers`` may hold an authorization; it and a password in ``url`` are never told. ``authorities``: a file that the
    server's certificate is checked against; ``pair``: files of an own certificate and its key. ``step``: whole seconds.
    ``timeout`` (s) bounds each request. Raises LagcastError when it does not answer or refuses, BadSeries when what it
    answers is not one series of rates.
    """
    import requests
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from urllib3.util.retry import Retry

    shown = _without_secret(url)
    if step < 1 or step != int(step):
        raise BadSeries(f"step: found {step:g} s; allowed: whole seconds, at least 1")
    first, last = math.ceil(start / step), math.floor(end / step)
    if not 0 < last - first <= MOST_STEPS:
        raise BadSeries(f"range: found {last - first} steps of {step:g} s; allowed: 1 to {MOST_STEPS}")
    session = requests.Session()
    session.verify, session.cert = authorities, pair
    retry = Retry(total=1, connect=0, read=1, status=0, redirect=1, other=0, backoff_factor=0)
    connect: Any = PrometheusConnect(
        url=url.rstrip("/"), headers=dict(headers or {}) or None, retry=retry, session=session
    )
    rates = np.full(last - first, np.nan)
    try:
        for begin in range(first + 1, last + 1, MOST_SAMPLES):
            until = min(begin + MOST_SAMPLES - 1, last)
            result = connect.custom_query_range(
                query, _time(begin * step), _time(until * step), f"{int(step)}s", params={}, timeout=timeout
            )
            if result:
                part = _one_series(result, step, f"{shown}: result")
                at = round(part.start / step) - first
                rates[at : at + len(part.rates)] = part.rates
    except requests.Timeout:
        raise LagcastError(
            f"Prometheus at {shown} did not answer within {timeout:g} s; ask for less, or later"
        ) from None
    except PrometheusApiClientException as error:
        # The library's message is "HTTP Status Code <n> (<the server's own text>)".
        raise LagcastError(f"Prometheus at {shown} refuses the query: {str(error)[:300]}; check --query") from None
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise LagcastError(
            f"Prometheus at {shown} cannot be asked ({type(error).__name__}); check the URL and that it runs"
        ) from None
    finally:
        session.close()
    if not np.isfinite(rates).any():
        raise BadSeries(f"{shown}: no sample for {query!r} in the time asked for; check the metric's name and labels")
    return Series(first * step, step, rates)


def _one_series(result: Any, step: float | None, where: str) -> Series:
    if not isinstance(result, list) or not result:
        raise BadSeries(f"{where}: found no series; check the metric's name and labels")
    if len(result) > 1:
        labels = [json.dumps(one.get("metric") if isinstance(one, dict) else one)[:80] for one in result[:2]]
        raise BadSeries(
            f"{where}: found {len(result)} series, such as {' and '.join(labels)}; allowed: one; add them up with sum()"
        )
    values = result[0].get("values") if isinstance(result[0], dict) else None
    if not isinstance(values, list) or not values:
        raise BadSeries(f"{where}[0].values: found no samples; wanted: a list of [time, value]")
    times: list[float] = []
    rates: list[float] = []
    for k, sample in enumerate(values):
        at, rate = _sample(sample, f"{where}[0].values[{k}]")
        if times and at <= times[-1]:
            how = "there twice" if at == times[-1] else "before the one above; samples must be in order of time"
            raise BadSeries(f"{where}[0].values[{k}]: time {at:.13g} is {how}")
        times.append(at)
        rates.append(rate)
    return _on_grid(times, rates, step, f"{where}[0].values")


def _sample(sample: Any, where: str) -> tuple[float, float]:
    if not isinstance(sample, list) or len(sample) != 2:
        raise BadSeries(f"{where}: found {json.dumps(sample)[:80]}; allowed: [time, value]")
    try:
        at, rate = float(sample[0]), float(sample[1])
    except (TypeError, ValueError):
        raise BadSeries(f"{where}: found {json.dumps(sample)[:80]}; allowed: [time, value], two numbers") from None
    if not math.isfinite(at):
        raise BadSeries(f"{where}: the time is {sample[0]!r}; it must be unix seconds")
    if rate < 0 or math.isinf(rate):
        raise BadSeries(f"{where}: the value is {sample[1]!r}; a rate is at least 0 requests/s, or NaN")
    return at, rate


def _on_grid(times: Sequence[float], rates: Sequence[float], step: float | None, where: str) -> Series:
    """The samples at their steps, NaN between them."""
    at = np.array(times)
    guessed = step is None
    if step is None:
        if len(at) < 2:
            raise BadSeries(f"{where}: found one sample; needed: two, or the step")
        step = round(float(np.diff(at).min()), 3)
    places = (at - at[0]) / step
    off = np.flatnonzero(np.abs(places - np.round(places)) * step > _ON_GRID)
    if len(off):
        raise BadSeries(
            f"{where}[{int(off[0])}]: time {at[off[0]]:.13g} does not fit the step of {step:g} s that others have "
            "(mixed steps?)"
        )
    index = np.round(places).astype(np.int64)
    if index[-1] >= MOST_STEPS:
        raise BadSeries(f"{where}: found {int(index[-1]) + 1} steps of {step:g} s; allowed: at most {MOST_STEPS}")
    wide = regular_distance(Counter(np.diff(index).tolist())) if guessed else 1
    if wide > 1:
        first = int(np.flatnonzero(np.diff(index) == wide)[0]) + 1
        raise BadSeries(
            f"{where}[{first}]: most samples are {wide * step:g} s apart, some {step:g} s (mixed steps?); allowed: the "
            "answer of one query, with one step"
        )
    column = np.full(int(index[-1]) + 1, np.nan)
    column[index] = rates
    # A query may begin anywhere; a series begins at a multiple of its step, at most half a step away.
    return Series((round(float(at[0]) / step) - 1) * step, float(step), column)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _without_secret(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
