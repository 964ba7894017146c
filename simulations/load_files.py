"""A load from a file, whatever form it has."""

from __future__ import annotations

import csv
import json
from enum import StrEnum
from pathlib import Path

from forecasting.errors import BadSeries
from forecasting.series import Series
from simulations.load_text import first_mark, open_text
from simulations.prometheus_load import read_answer
from simulations.recipe_text import read_recipe
from simulations.request_log import read_request_log
from simulations.traces import HEADER, find_trace, is_trace_name, read_trace

# Beside a time they hold what came in a step, not one request.
_COUNTS = frozenset({"value", "count", "counts", "requests", "rate", "rps", "qps"})


class Form(StrEnum):
    """What a file of load holds."""

    TRACE = "trace"
    """Counts of steps, in CSV: see simulations.traces."""
    PROMETHEUS = "prometheus"
    """The JSON of a range query: see simulations.prometheus_load."""
    REQUESTS = "requests"
    """One row a request: see simulations.request_log."""
    GENERATOR = "generator"
    """A recipe in YAML: see simulations.recipe_text."""


def read_load(
    name: str, form: Form | None = None, seed: int = 0, column: str | None = None, silence: float | None = None
) -> Series:
    """The load in a file, or a trace by its name. ``form`` None: as the file looks.

    ``seed``: of a generator's draw. ``column`` and ``silence``: of a log of requests. Raises BadSeries with file and
    line.
    """
    path = find_trace(name)
    form = form or form_of(path)
    if form is not Form.REQUESTS and (column is not None or silence is not None):
        what = "--column" if column is not None else "--silence"
        raise BadSeries(f"{path}: {what}: found with the form {form}; allowed: only with a log of requests")
    if form is Form.TRACE:
        return read_trace(path)
    if form is Form.PROMETHEUS:
        return read_answer(path)
    if form is Form.REQUESTS:
        return read_request_log(path, column, silence=silence)
    with open_text(path) as text:
        recipe = read_recipe(text.read(), str(path))
    return recipe.make(seed)


def form_of(path: Path) -> Form:
    """By the name's ending and the first line. Raises BadSeries when neither says."""
    inner = Path(path.stem) if path.suffix == ".gz" else path
    if inner.suffix in (".yaml", ".yml"):
        return Form.GENERATOR
    with open_text(path) as text:
        line = text.readline(100_000).strip()
    mark = first_mark(path)
    if not mark:
        raise BadSeries(f"{path}:1: the file is empty")
    if mark == "{":
        # An answer is one object; a log has one in each line.
        return Form.PROMETHEUS if _is_answer(line) else Form.REQUESTS
    fields = next(csv.reader([line]), [])  # quoted or not
    if fields == HEADER or is_trace_name(path):
        return Form.TRACE
    if {name.strip().lower() for name in fields} & _COUNTS:
        raise BadSeries(
            f"{path}:1: found {line[:60]!r}, which looks like counts of steps; such a file is named NAME__STEPs.csv, "
            f"and its header is {','.join(HEADER)}; or say with --form requests that each row is one"
        )
    if inner.suffix in (".csv", ".log", ".txt"):
        return Form.REQUESTS
    raise BadSeries(
        f"{path}:1: found {line[:60]!r}; it does not say what the file holds: say so with --form (trace, requests, ...)"
    )


def _is_answer(line: str) -> bool:
    """Whether the first line is of Prometheus' JSON: its data is an object, and it need not end with the line."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return not line.endswith("}") or '"resultType"' in line
    data = document.get("data")
    failed = document.get("status") == "error" and "errorType" in document
    return failed or (isinstance(data, dict) and "resultType" in data)
