"""Progress of commands that go through a phase several times."""

from __future__ import annotations

import pytest

from simulations.commands.bars import Bars


def test_without_a_terminal_each_twentieth_is_told_once_and_again_where_a_phase_is_longer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Bars() as bars:
        for done in range(41):
            bars.show("days", done, 40)
        bars.show("days", 40, 160)
        bars.show("days", 41, 160)
        bars.show("days", 160, 160)
    told = capsys.readouterr().err.splitlines()
    assert told[:21] == [f"days: {done} of 40" for done in range(0, 41, 2)]
    assert told[21:] == ["days: 40 of 160", "days: 160 of 160"]
