"""Inference latency from Prometheus, through prometheus-api-client: one query a service, all numbers at one instant.

Limits. Quantiles are interpolated inside a histogram's buckets, counts are extrapolated to the window's edges (both are
PromQL's own). Classic histograms only: ``<metric>_bucket``, ``_count`` and ``_sum``.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

from scaler.observe.access import Access
from scaler.observe.files import Unreadable
from scaler.observe.ports import LatencyQuery, Served
from scaler.plan.observation import Freshness, LatencySample, Reading
from scaler.plan.reasons import Reason

MAX_AGE = 60.0  # s; four of the usual scrape intervals
_AT_ONCE = 4  # queries on their way together
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def promql(query: LatencyQuery, max_age: float) -> str:
    """One expression whose result has an element for each number there is, told apart by the label ``part``.

    ``age`` is how old the newest sample is (s), by Prometheus's own clock; it is looked for over the window even after
    a target is gone, in steps of a twentieth of it.
    """
    name, braces = query.metric, f"{{{query.selector}}}"
    span = f"[{_duration(query.window)}]"
    reach = max(query.window, max_age)
    look_back = f"[{_duration(reach)}:{_duration(max(reach / 20, 1.0))}]"
    buckets = f"sum by (le) (rate({name}_bucket{braces}{span}))"
    parts = {part: f"histogram_quantile({q}, {buckets})" for part, q in _QUANTILES.items()}
    parts["count"] = f"sum(increase({name}_count{braces}{span}))"
    parts["sum"] = f"sum(increase({name}_sum{braces}{span}))"
    stamp = f"timestamp({name}_count{braces})"
    parts["age"] = f"time() - (max({stamp}) or max(max_over_time({stamp}{look_back})))"
    return " or ".join(f'label_replace({text}, "part", "{part}", "", "")' for part, text in parts.items())


def served_promql(query: LatencyQuery, pods: Sequence[str], span: float) -> str:
    """The raw samples of the pods' counters over the last ``span`` s; a pod is known by the label ``pod``."""
    names = "|".join(pod.replace(".", r"\\.") for pod in pods)  # the one character of a name that means something
    matchers = ",".join(part for part in (query.selector, f'pod=~"{names}"') if part)
    return f"{query.metric}_count{{{matchers}}}[{_duration(span)}]"


def _duration(seconds: float) -> str:
    return f"{max(round(seconds * 1000), 1)}ms"


class PrometheusLatency:
    """The real LatencySource.

    ``timeout`` (s) bounds each sample, however many services it asks for. ``max_age`` (s): an older newest sample is
    stale. ``access``: files by which the server lets us in, by their names in ``spec.latency.access``; they are read
    again for each query. What they hold, and a password in ``url``, is never told.
    """

    def __init__(
        self, url: str, timeout: float, max_age: float = MAX_AGE, access: Mapping[str, str] | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._shown = _without_secret(self._url)
        self._timeout = timeout
        self._max_age = max_age
        self._access = Access(access or {})
        self._threads = threading.local()
        self._sessions: list[Any] = []
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="prometheus")
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="prometheus-served")
        self._late: dict[LatencyQuery, Future[Reading[LatencySample]]] = {}
        self._turns: list[LatencyQuery] = []  # first those that the last sample had no time for: none goes without

    def sample(self, now: float, wanted: Sequence[LatencyQuery]) -> Mapping[LatencyQuery, Reading[LatencySample]]:
        """One reading for each wanted, within ``timeout``."""
        # A query that is late from an earlier sample keeps its thread; nothing new is piled on it.
        self._late = {query: future for query, future in self._late.items() if not future.done()}
        known = set(wanted)
        turns = dict.fromkeys(q for q in (*self._turns, *wanted) if q in known)
        asked = {q: self._late.get(q) or self._pool.submit(self._ask, now, q) for q in turns}
        late = [future for query, future in asked.items() if query in self._late]
        wait(asked.values(), timeout=self._timeout)
        answers: dict[LatencyQuery, Reading[LatencySample]] = {}
        missed: list[LatencyQuery] = []
        for query, future in asked.items():
            if future in late or not future.done():
                if future.cancel():
                    missed.append(query)
                elif not future.done():
                    self._late[query] = future
                answers[query] = self._unreachable(now, f"did not answer within {self._timeout:g} s")
            else:
                answers[query] = future.result()
        self._turns = [*missed, *(q for q in turns if q not in missed)]
        return answers

    def served(self, query: LatencyQuery, pods: Sequence[str], span: float) -> Mapping[str, Sequence[Served]]:
        """What each of the pods had served at each scrape; within ``timeout``. Empty when there is no answer."""
        if not pods:
            return {}
        try:
            asked = self._aside.submit(self._ask_served, query, pods, span)
        except RuntimeError:  # it was closed
            return {}
        try:
            return asked.result(self._timeout)
        except (TimeoutError, CancelledError):
            asked.cancel()  # nobody waits for it any more: it must not pile up behind one that hangs
            return {}

    def close(self) -> None:
        """End all sessions; does not wait for a query that is under way."""
        for pool in (self._pool, self._aside):
            pool.shutdown(wait=False, cancel_futures=True)
        for session in self._sessions:
            session.close()

    def _connect(self) -> Any:
        """This thread's connection; a new one when a certificate was rotated. Raises Unreadable.

        The library's own retries would wait for seconds: a tick asks again anyway.
        """
        shown = self._access.certificates()
        if getattr(self._threads, "shown", None) != shown:
            import requests
            from prometheus_api_client import PrometheusConnect
            from urllib3.util.retry import Retry

            # Only a connection that was closed while idle is worth a second try.
            retry = Retry(total=1, connect=0, read=1, status=0, redirect=1, other=0, backoff_factor=0)
            session = requests.Session()
            session.verify, session.cert = self._access.authorities, self._access.pair
            connect = PrometheusConnect(
                url=self._url, session=session, retry=retry, timeout=self._timeout, method="POST"
            )
            old, self._threads.session = getattr(self._threads, "session", None), session
            if old is not None:
                self._sessions.remove(old)
                old.close()
            self._sessions.append(session)
            self._threads.connect, self._threads.shown = connect, shown
        self._threads.connect.headers = self._access.headers()
        return self._threads.connect

    def _ask(self, now: float, query: LatencyQuery) -> Reading[LatencySample]:
        import requests
        from prometheus_api_client.exceptions import PrometheusApiClientException

        try:
            vector = self._connect().custom_query(promql(query, self._max_age))
            values = {one["metric"]["part"]: float(one["value"][1]) for one in vector}
        except PrometheusApiClientException as error:
            return self._refused(now, query, str(error))
        except (Unreadable, requests.RequestException, LookupError, ValueError, TypeError) as error:
            return self._failed(now, error)
        return read(now, query, values, self._max_age, self._shown)

    def _ask_served(self, query: LatencyQuery, pods: Sequence[str], span: float) -> Mapping[str, Sequence[Served]]:
        import requests
        from prometheus_api_client.exceptions import PrometheusApiClientException

        try:
            return read_served(self._connect().custom_query(served_promql(query, pods, span)))
        except (
            Unreadable,
            PrometheusApiClientException,
            requests.RequestException,
            LookupError,
            ValueError,
            TypeError,
        ):
            return {}  # the sample of the same tick says what is wrong

    def _failed(self, now: float, error: Exception) -> Reading[LatencySample]:
        """What became of a query that was not answered as Prometheus answers."""
        import requests

        if isinstance(error, Unreadable):
            return Reading(None, now, Freshness.ERROR, Reason.INPUT_ERROR, f"Prometheus at {self._shown}: {error}")
        if isinstance(error, requests.Timeout):
            return self._unreachable(now, f"did not answer within {self._timeout:g} s")
        if isinstance(error, requests.exceptions.SSLError):
            detail = (
                f"Prometheus at {self._shown} and this client do not agree on a TLS connection; check caFile, "
                "certificateFile and keyFile in spec.latency.access, and the name in the server's certificate"
            )
            return Reading(None, now, Freshness.ERROR, Reason.PROMETHEUS_UNREACHABLE, detail)
        if isinstance(error, requests.ConnectionError):
            return self._unreachable(now, "cannot be reached")
        return self._unreachable(now, "answers, but not as Prometheus does")

    def _unreachable(self, now: float, what: str) -> Reading[LatencySample]:
        detail = f"Prometheus at {self._shown} {what}; check the URL, that it runs, and the network path to it"
        return Reading(None, now, Freshness.ERROR, Reason.PROMETHEUS_UNREACHABLE, detail)

    def _refused(self, now: float, query: LatencyQuery, said: str) -> Reading[LatencySample]:
        # The library's message begins with "HTTP Status Code <n>"; the rest is the server's own text.
        code = next((word for word in said.split() if word.isdigit()), "")
        if code in ("400", "422"):
            detail = (
                f"Prometheus at {self._shown} refuses the query for {_name(query)}: {said[:300]}; "
                "check the metric's name and the selector"
            )
            return Reading(None, now, Freshness.ERROR, Reason.INPUT_ERROR, detail)
        if code in ("401", "403"):
            remedy = "check the credentials, which are files in spec.latency.access"
            detail = f"Prometheus at {self._shown} refuses access (HTTP {code}); {remedy}"
            return Reading(None, now, Freshness.ERROR, Reason.INPUT_ERROR, detail)
        return self._unreachable(now, f"answers with HTTP {code or 'error'}")


def read(
    now: float, query: LatencyQuery, values: Mapping[str, float], max_age: float, where: str
) -> Reading[LatencySample]:
    """What the numbers mean. ``values`` holds those of p50, p95, p99, count, sum and age that there are."""
    age = values.get("age")
    if age is None:
        detail = (
            f"Prometheus at {where} has no {query.metric}_count for {_name(query)}; check the metric's name and the "
            "selector, and that the pods are scraped"
        )
        return Reading(None, now, Freshness.ABSENT, Reason.INPUT_ABSENT, detail)
    # Without a request in the window a quantile is NaN, which is no number; a count or sum cannot be.
    quantiles = {part: _finite(values.get(part)) for part in _QUANTILES}
    numbers = {**quantiles, "count": values.get("count"), "sum": values.get("sum")}
    for part, number in numbers.items():
        if number is not None and not (math.isfinite(number) and number >= 0):
            detail = (
                f"{_name(query)} at {where}: {part} is {number:g}, which no latency can be; find the pod that "
                f"observes a value that is not a number or is negative ({query.metric}_sum), and restart it"
            )
            return Reading(None, now, Freshness.ERROR, Reason.METRIC_INVALID, detail)
    if age > max_age:
        sample = LatencySample(**numbers, window=query.window)
        detail = (
            f"the newest sample of {_name(query)} at {where} is {age:.0f} s old (allowed: {max_age:g} s); check that "
            "its pods run and are scraped"
        )
        return Reading(sample, now - age, Freshness.STALE, Reason.INPUT_STALE, detail)
    if all(number is None for number in numbers.values()):
        detail = (
            f"{_name(query)} at {where} has fewer than two samples in {query.window:g} s; wait for the next scrape, "
            "or widen the window to at least two scrape intervals"
        )
        return Reading(None, now, Freshness.ABSENT, Reason.INPUT_ABSENT, detail)
    return Reading(LatencySample(**numbers, window=query.window), now - max(age, 0.0), Freshness.FRESH)


def read_served(matrix: Sequence[Mapping[str, Any]]) -> Mapping[str, Sequence[Served]]:
    """By pod, its series added up. Raises KeyError, TypeError or ValueError for what is no matrix."""
    sums: dict[str, dict[float, float]] = {}
    for series in matrix:
        pod = sums.setdefault(series["metric"]["pod"], {})
        for time, value in series["values"]:
            pod[float(time)] = pod.get(float(time), 0.0) + float(value)
    return {pod: [Served(*one) for one in sorted(counts.items())] for pod, counts in sums.items()}


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _name(query: LatencyQuery) -> str:
    return f"{query.metric}{{{query.selector}}}"


def _without_secret(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
