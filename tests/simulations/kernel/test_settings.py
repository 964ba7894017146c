"""What a run may be made of: what cannot be, or would do nothing, is refused with what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from forecasting.series import Series
from simulations.errors import BadSetting
from simulations.setting import Between, Fault, FaultKind, Load, NodePool, Setting, nodes_at_start
from tests.simulations.kernel.cases import START, one, setting_of


def pool(most: int | None) -> NodePool:
    return NodePool("gpus", 4, Between(0.0, 0.0), max_nodes=most)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Fault(FaultKind.BROKER_DOWN, 20), "seconds of broker-down: found 0.0; allowed: more than 0 s"),
        (lambda: Fault(FaultKind.API_DOWN, 20, math.nan), "seconds: found nan"),
        (lambda: Fault(FaultKind.POD_CRASH, 20, 5.0), "seconds of pod-crash: found 5.0; allowed: none"),
        (lambda: Fault(FaultKind.NODE_LOST, 20, service="chat"), "service of node-lost: found chat; allowed: none"),
        (lambda: Fault(FaultKind.API_DOWN, 2, 5.0, detected_after=3.0), "detected_after of api-down: found 3.0"),
        (
            lambda: Fault(FaultKind.POD_CRASH, 20, detected_after=-1.0),
            "detected_after: found -1.0; allowed: at least",
        ),
        (lambda: setting_of((one(),), faults=(Fault(FaultKind.NODE_LOST, 20),)), "without a pool; allowed: with a"),
        (lambda: Setting((one(),), seed=-1), "seed: found -1; allowed: at least 0"),
        (lambda: Setting((one(),), tick=math.inf), "tick: found inf; allowed: whole seconds"),
        (lambda: Setting((one(),), tick=math.nan), "tick: found nan"),
        (lambda: Setting((one(),), tick=60.0), r"tick: found 60.0; allowed: what service chat is told, 15.0"),
        (lambda: setting_of((one(replicas=12),), pool(1)), r"\[12\] at the start, which need 3 nodes; .* max_nodes, 1"),
        (lambda: Load(START, np.ones((3, 2))), r"arrivals: found shape \(3, 2\); allowed: one number for each second"),
        (lambda: Load(math.nan, np.ones(3)), "start: found nan"),
        (lambda: Load(START, np.ones(3), Series(START - 60, 60.0, np.ones(2))), "history: found .* 60 s past start"),
    ],
)
def test_what_cannot_be_is_named(make: Callable[[], object], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        make()


def test_what_just_fits_is_taken() -> None:
    setting_of((one(replicas=12),), pool(3), faults=(Fault(FaultKind.NODE_LOST, 20),))
    Load(START, np.ones(3), Series(START - 60, 60.0, np.ones(1)))


def test_replicas_at_the_start_take_the_first_node_that_has_room() -> None:
    # 3 | 3 | 3 on nodes of 4, then 1 + 1 + 1 beside them and 1 on a fourth.
    assert nodes_at_start([one(weight=3, replicas=3), one(uid="small", replicas=4)], 4) == 4
    assert nodes_at_start([one(replicas=0)], 4) == 0
