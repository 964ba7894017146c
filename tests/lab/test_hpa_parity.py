"""The simulated HPA against kube-controller-manager's: the same metrics at the same moments, the same replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from simulations.lab.control_plane import HPA_STABILIZATION, HPA_SYNC
from simulations.lab.external_metrics import Fault
from simulations.lab.hpa_run import Metric, Script, Sync, run_scripts
from simulations.lab.lab import Lab
from simulations.policies.hpa import Behavior, Hpa, Rate, Rules, Select, average_value
from simulations.policies.hpa_metrics import TOLERANCE, together

pytestmark = pytest.mark.lab

# Windows and periods of a `behavior` are odd numbers of seconds: a sync of 2 s then seldom falls on the edge of one.
SHORT = 3
# s between the request for a metric, whose time is known, and the moment in which the real HPA looks at its clock.
# Where a change depends on less, both outcomes are right.
EDGE = 0.2


def one(*values: int | Fault, target: int = 10) -> tuple[Metric, ...]:
    return (Metric(target, values),)


def way(window: int, *policies: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """One direction of a ``behavior``; without policies those that the API server fills in on the way down."""
    listed = list(policies) or [{"type": "Percent", "value": 100, "periodSeconds": 15}]
    return {"stabilizationWindowSeconds": window, "policies": listed, **more}


def rate(kind: str, value: int, period: int) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": period}


UP = (rate("Pods", 4, 15), rate("Percent", 100, 15))  # what the API server fills in on the way up

SCRIPTS = (
    # Up and down again, without `behavior`: at most double or 4, and down only after the controller's window.
    Script("ramp", one(*range(10, 150, 10), *range(140, 20, -20), *[20] * 24)),
    # From 1 to the maximum, and back to the minimum when the window is over.
    Script("spike", one(*[10] * 3, *[400] * 8, *[10] * 26), most=19, least=2, replicas=2),
    # In and out of 10 % both ways, also exactly on its edge, and out of it where the rounded count is the same.
    Script(
        "oscillation",
        one(50, 54, 55, 46, 45, 50, 56, 53, 66, 54, 67, 63, 62, 70, 77, 78, 72, 71, 80, 60, 44, 50, 49, 56, 44, 40),
        replicas=5,
        behavior={"scaleDown": way(SHORT)},
    ),
    # A metric that is gone holds the count, also where it was about to fall, and the window still counts on.
    Script(
        "missing",
        one(
            *[30] * 3,
            *[Fault.NOT_FOUND] * 4,
            *[60] * 2,
            *[Fault.BROKEN] * 2,
            10,
            *[Fault.EMPTY] * 3,
            *[10] * 5,
            Fault.NOT_FOUND,
            90,
            *[20] * 5,
        ),
        replicas=3,
        behavior={"scaleDown": way(5)},
    ),
    # Several policies each way, the smallest change up and the largest down, and a window up.
    Script(
        "behavior",
        one(*[20] * 2, *[150] * 14, 30, *[150] * 4, *[20] * 14),
        replicas=2,
        behavior={
            "scaleUp": way(5, rate("Pods", 2, 5), rate("Percent", 50, 9), selectPolicy="Min"),
            "scaleDown": way(7, rate("Pods", 1, 3), rate("Percent", 30, 11), selectPolicy="Max"),
        },
    ),
    # The defaults that an empty `behavior` field brings: 4 pods or 100 % in 15 s, which count what was added.
    Script("defaults", one(*[10] * 2, *[180] * 20, *[40] * 14), behavior={"scaleDown": way(9)}),
    # The largest of two metrics counts; while one fails the count may rise, and must not fall.
    Script(
        "two",
        (
            Metric(10, (*[30] * 3, *[60] * 4, *[20] * 5, *[20] * 4, *[80] * 4, *[20] * 6)),
            Metric(
                5,
                (
                    *[15] * 3,
                    *[15] * 2,
                    *[Fault.NOT_FOUND] * 2,
                    *[Fault.NOT_FOUND] * 5,
                    *[35] * 4,
                    *[Fault.BROKEN] * 4,
                    *[10] * 6,
                ),
            ),
        ),
        replicas=3,
        behavior={"scaleDown": way(SHORT)},
    ),
    # A tolerance for each direction; the controller's own is 10 %.
    Script(
        "tolerance",
        one(140, 150, 133, 132, 130, 130, 124, 168, 169, 170, 200, 162, 161, 160, 150, 150),
        replicas=14,
        most=18,
        behavior={"scaleUp": way(0, *UP, tolerance="300m"), "scaleDown": way(SHORT, tolerance="50m")},
    ),
    # Downscaling switched off, and back within the bounds at once.
    Script(
        "upward",
        one(*[20] * 2, *[70] * 3, *[10] * 4, *[300] * 4, *[10] * 4),
        replicas=2,
        most=12,
        behavior={"scaleDown": {"selectPolicy": "Disabled"}, "scaleUp": way(0, rate("Pods", 3, 3))},
    ),
)


BY_NAME = {script.name: script for script in SCRIPTS}


def rules(field: Mapping[str, Any], default: Rules) -> Rules:
    """One direction of a ``behavior`` as the simulator has it; what is not said is ``default``'s."""
    rates = tuple(
        Rate(policy["value"], policy["periodSeconds"], percent=policy["type"] == "Percent")
        for policy in field.get("policies", ())
    )
    tolerance = field.get("tolerance")
    return Rules(
        field.get("stabilizationWindowSeconds", default.window),
        rates or default.rates,
        Select(field.get("selectPolicy", "Max")),
        None if tolerance is None else int(tolerance.removesuffix("m")) / 1000,
    )


def behavior_of(script: Script) -> Behavior | None:
    if script.behavior is None:
        return None
    usual = replace(Behavior(), down=replace(Behavior().down, window=HPA_STABILIZATION))
    up, down = script.behavior.get("scaleUp", {}), script.behavior.get("scaleDown", {})
    return Behavior(rules(up, usual.up), rules(down, usual.down))


def longer(rules: Rules, by: float) -> Rules:
    """The same with a window and periods longer by ``by`` seconds; no window stays none."""
    rates = tuple(replace(rate, period=rate.period + by) for rate in rules.rates)
    return replace(rules, window=rules.window and rules.window + by, rates=rates)


def outcomes(script: Script, seen: Sequence[Sync], behavior: Behavior | None) -> list[tuple[int, ...]]:
    """The counts that the simulated HPA may write at each sync, given what the real one saw and did until then.

    The first is by its clock as it stands, the others are a little early and a little late. What it remembers is what
    the latest one remembers, for that forgets last, and the real one's change.
    """
    hpas = []
    for by in (0.0, -EDGE, EDGE):
        moved = None if behavior is None else Behavior(longer(behavior.up, by), longer(behavior.down, by))
        hpas.append(Hpa(script.least, script.most, moved, HPA_STABILIZATION + by))
    tolerance = (behavior or Behavior()).tolerance(TOLERANCE)
    count, memory, possible = script.replicas, hpas[-1].save(), []
    for sync in seen:
        proposals = [
            None if isinstance(answer, Fault) else average_value(answer, metric.target, sync.existing, tolerance)
            for answer, metric in zip(sync.answers, script.metrics, strict=True)
        ]
        counts = []
        for hpa in hpas:
            hpa.load(memory)
            counts.append(hpa.sync(sync.at, count, together(proposals, count)).desired)
        possible.append(tuple(counts))
        changed = (sync.at, count, sync.after) if sync.after != count else None
        memory = {**hpas[-1].save(), "unconfirmed": changed}
        count = sync.after
    return possible


def not_told(script: Script, seen: Sequence[Sync], behavior: Behavior | None) -> list[int]:
    """Syncs after which the real count is none that the simulated HPA may write."""
    possible = outcomes(script, seen, behavior)
    return [n for n, (sync, counts) in enumerate(zip(seen, possible, strict=True)) if sync.after not in counts]


@pytest.fixture(scope="module")
def real(lab: Lab) -> dict[str, list[Sync]]:
    """All scripts under the real HPA, side by side."""
    return run_scripts(lab, SCRIPTS, HPA_SYNC)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_simulated_hpa_writes_what_the_real_one_wrote(
    real: dict[str, list[Sync]], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script, seen = BY_NAME[name], real[name]
    theirs = [sync.after for sync in seen]
    possible = outcomes(script, seen, behavior_of(script))
    with capsys.disabled():
        changes = sum(a != b for a, b in pairwise([script.replicas, *theirs]))
        same = sum(counts[0] == sync.after for counts, sync in zip(possible, seen, strict=True))
        print(f"\n  {name}: {same} of {len(seen)} syncs the same, {changes} changes: {theirs}", end="")  # noqa: T201
    assert max(theirs) > min(theirs), "the real HPA did nothing"
    wrong = not_told(script, seen, behavior_of(script))
    assert not wrong, f"at sync {wrong[0]}: {seen[wrong[0]]}, simulated {possible[wrong[0]]}"
    # Where both are right the script tells nothing: that is to be seldom.
    assert sum(len(set(counts)) > 1 for counts in possible) <= len(seen) // 5


WRONG: Mapping[str, Callable[[Behavior], Behavior]] = {
    "no window down": lambda b: replace(b, down=replace(b.down, window=0.0)),
    "no window up": lambda b: replace(b, up=replace(b.up, window=0.0)),
    "the largest of the policies": lambda b: replace(b, up=replace(b.up, select=Select.MAX)),
    "a policy's period one sync longer": lambda b: replace(
        b, up=replace(b.up, rates=tuple(replace(r, period=r.period + HPA_SYNC) for r in b.up.rates))
    ),
    "one tolerance": lambda b: Behavior(replace(b.up, tolerance=None), replace(b.down, tolerance=None)),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_scripts_tell_a_wrong_hpa(real: dict[str, list[Sync]], name: str) -> None:
    told = [
        script.name
        for script in SCRIPTS
        if (behavior := behavior_of(script)) is not None and not_told(script, real[script.name], WRONG[name](behavior))
    ]
    assert told, f"no script tells {name}"
