"""``spec.behavior`` as text."""

from __future__ import annotations

import pytest

from scaler.api.quantities import Duration
from simulations.policies.hpa import Behavior, Rate, Rules, Select
from simulations.policies.hpa_metrics import Tolerance
from simulations.policies.hpa_settings import HpaBehavior, HpaSettings


def test_none_is_none_and_default_is_that_of_the_api() -> None:
    assert HpaSettings().rules() is None
    assert HpaSettings(behavior=HpaBehavior.DEFAULT).rules() == Behavior()
    assert HpaSettings(tolerance=0.2).tolerances() == Tolerance(0.2, 0.2)


def test_what_one_direction_leaves_out_has_the_defaults() -> None:
    settings = HpaSettings(scale_down="window=10m percent=10/1m pods=2/30s select=Min tolerance=0")
    rules = settings.rules()
    assert rules is not None
    assert rules.up == Behavior().up
    assert rules.down == Rules(600.0, (Rate(10, 60.0, percent=True), Rate(2, 30.0)), Select.MIN, 0.0)
    assert settings.tolerances() == Tolerance(0.1, 0.0)
    only = HpaSettings(scale_up="select=Disabled").rules()
    assert only == Behavior(up=Rules(0.0, Behavior().up.rates, Select.DISABLED))


def test_the_down_window_left_out_is_the_controllers() -> None:
    rules = HpaSettings(behavior=HpaBehavior.DEFAULT, stabilization=Duration(60), time_scale=0.5).rules()
    assert rules is not None
    assert rules.down.window == 30.0
    assert rules.up.rates == (Rate(4, 7.5), Rate(100, 7.5, percent=True))


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("window=2h", "scale_up: window: found 7200; allowed: 0 to 3600"),
        ("window=60", 'write "60s"'),
        ("pods=4", 'pods: found "4"; allowed: a whole number of at least 1, a slash and a period'),
        ("pods=0/15s", 'found "0/15s"'),
        ("percent=10/31m", "percent: found 1860; allowed: 1 to 1800"),
        ("select=max", 'select: found "max"; allowed: Max, Min, Disabled'),
        ("tolerance=2", "tolerance: found 2; allowed: 0 to 1"),
        ("tolerance=much", 'found "much"; allowed: a number'),
        ("window=1m window=2m", "found window twice"),
        ("fast", 'found "fast"; write as "window=60s pods=4/15s'),
    ],
)
def test_text_that_is_no_rule_is_refused(text: str, piece: str) -> None:
    with pytest.raises(ValueError, match="scale_up: ") as refused:
        HpaSettings(scale_up=text)
    assert piece in str(refused.value)
