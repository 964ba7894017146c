"""What the compiled kernel works on: one table for each kind of thing, a row for each thing.

A request has ``begun`` (served from, NaN: never) and ``left`` (NaN: not yet); with ``left`` and without ``begun`` it
was refused. A queue is a list of requests linked by ``after``. Queue 0 is everybody's, queue r + 1 is replica r's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

REQUEST = np.dtype(
    [
        ("arrival", np.float64),  # s, ascending
        ("work", np.float64),  # s of service
        ("begun", np.float64),
        ("left", np.float64),
        ("after", np.int64),
        ("partition", np.int64),
    ]
)
REPLICA = np.dtype(
    [
        ("phase", np.int64),
        ("held", np.int64),  # requests in it
        ("first", np.int64),  # serial: slot of the one in service
        ("attained", np.float64),  # sharing: s of service that one would have had that was always there
        ("clock", np.float64),  # sharing: when that was true
    ]
)
SLOT = np.dtype(
    [
        ("request", np.int64),
        ("mark", np.float64),  # parallel: s when it leaves; sharing: at which attained service
    ]
)
QUEUE = np.dtype([("head", np.int64), ("tail", np.int64), ("waiting", np.int64)])
PARTITION = np.dtype(
    [
        ("queue", np.int64),
        ("arrived", np.int64),
        ("started", np.int64),  # taken by a replica
        ("gone", np.int64),  # served or refused
    ]
)
RUN = np.dtype(
    [
        ("now", np.float64),  # s, until when all has happened
        ("following", np.int64),  # next request to arrive
        ("turn", np.int64),  # replica to ask first
        ("served", np.int64),  # these three are set back by whoever reads them
        ("latency", np.float64),  # s, of those served, in all
        ("refused", np.int64),
        ("serving", np.int64),  # from here on the rules, which do not change
        ("slots", np.int64),
        ("bound", np.int64),  # requests that wait at most; -1: no bound
        ("partitioned", np.int64),
    ]
)
Table = NDArray[Any]  # of one of the types above
Floats = NDArray[np.float64]
