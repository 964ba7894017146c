"""Results that outlive a killed run: one JSON file a job, under a hash of all that the result depends on.

A kill leaves the old file or the new one (``whole_file``). One that cannot be read all the same (a full disk, a copy
that broke) is told and made again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simulations.compare import Job, Outcome
from simulations.measures import Elasticity, Measures
from simulations.whole_file import write_whole

Json = dict[str, Any]
NEVER = "never"  # of a latency: those requests were not served


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of results. ``tell`` is given what a user should know."""

    folder: Path
    tell: Callable[[str], None]

    def path(self, key: Json) -> Path:
        """Where the result of ``key`` is."""
        text = json.dumps(key, sort_keys=True, allow_nan=False)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"

    def get(self, key: Json) -> Json | None:
        """The result, or None when it is not there or half written."""
        path = self.path(key)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["key"] != key:
                raise ValueError("it holds another job's result")
            result: Json = document["result"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            self.tell(f"{path}: cannot be read, so its run is made again: {error}")
            return None
        return result

    def put(self, key: Json, result: Json) -> None:
        """Keep a result."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.path(key), json.dumps({"key": key, "result": result}, allow_nan=False))


def to_json(outcome: Outcome) -> Json:
    """An outcome as JSON's types; None for what is not a number, ``NEVER`` for what has no end."""
    return {"job": asdict(outcome.job), "measures": [_known(asdict(m)) for m in outcome.measures]}


def from_json(document: Mapping[str, Any]) -> Outcome:
    """The outcome that ``to_json`` was given. Raises KeyError or TypeError for anything else."""
    job = document["job"]
    options = tuple((str(name), str(value)) for name, value in job["options"])
    measures = tuple(
        Measures(**{**_number(m), "elasticity": Elasticity(**_number(m["elasticity"]))}) for m in document["measures"]
    )
    return Outcome(Job(job["policy"], options, job["value"]), measures)


def _known(figures: Json) -> Json:
    return {name: _known(value) if isinstance(value, dict) else _plain(value) for name, value in figures.items()}


def _plain(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else NEVER if value > 0 else value


def _number(figures: Json) -> Json:
    read = {None: math.nan, NEVER: math.inf}
    return {name: value if isinstance(value, dict) else read.get(value, value) for name, value in figures.items()}
