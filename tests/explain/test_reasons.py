"""Every reason has a sentence and one stage, and an explanation shows it there."""

from __future__ import annotations

import pytest

from scaler.explain.reasons import REASONS, said
from scaler.explain.stages import explain
from scaler.plan.reasons import Reason
from tests.explain.made import tick


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_said_in_a_plain_sentence(reason: Reason) -> None:
    assert reason in REASONS, f"{reason} is new: give it a sentence and a stage in scaler/explain/reasons.py"
    sentence = said(reason).sentence
    assert sentence.endswith(".")
    assert len(sentence) > 20
    assert sentence not in {text for other, (_, text) in REASONS.items() if other is not reason}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_stands_in_exactly_one_stage_of_the_explanation(reason: Reason) -> None:
    explanation = explain(tick(reasons=(reason,)))
    at = [stage.name for stage in explanation.stages if reason in [one.code for one in stage.reasons]]
    assert at == [REASONS[reason][0]]
    assert said(reason).sentence in explanation.summary


def test_the_outcome_stands_in_its_stage_too() -> None:
    stage = explain(tick(outcome=Reason.CONFLICT, detail="the count is 9")).stages[-2]
    assert [one.code for one in stage.reasons] == [Reason.CONFLICT]
    assert stage.sentence.endswith("The count is 9.")
