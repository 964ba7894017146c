"""An explanation as a table on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scaler.cli.moment import clock_text
from scaler.explain.explanation import Explanation, Quantity, Stage, StageName, figure

WIDE = 160  # columns of a table that goes to a file


def show(explanation: Explanation) -> None:
    """On stdout."""
    console = Console()
    if not console.is_terminal and console.width < WIDE:
        console = Console(width=WIDE)
    e = explanation
    title = f"{e.namespace}/{e.name} ({e.target}, {e.mode}) at {clock_text(e.time)}"
    console.print(escape(title), highlight=False, style="bold")
    console.print(escape(e.summary), highlight=False)
    codes = ", ".join(e.reasons)
    console.print(f"Reasons: {codes}{'' if e.outcome is None else f'; {e.outcome}'}", highlight=False)
    table = Table("STAGE", "WHAT IT CAME TO", "NUMBERS", "REASONS", show_lines=True)
    for stage in e.stages:
        numbers = _table_of(stage) if stage.name is StageName.OTHERS else "\n".join(_line(q) for q in _known(stage))
        table.add_row(stage.name, escape(stage.sentence), numbers, "\n".join(said.code for said in stage.reasons))
    console.print(table)


def _known(stage: Stage) -> list[Quantity]:
    return [q for q in stage.numbers if q.value is not None]


def _line(q: Quantity) -> str:
    unit = f" {q.unit}" if q.unit else ""
    note = f" ({q.note})" if q.note else ""
    return escape(f"{q.name}: {_value(q)}{unit}{note}")


def _table_of(stage: Stage) -> str:
    """What others would have said, those that said nothing included: their note says why."""
    return "\n".join(escape(f"{q.name}: {_value(q)} ({q.note})") for q in stage.numbers)


def _value(q: Quantity) -> str:
    if q.value is None:
        return "-"
    return figure(q.value, 4) if isinstance(q.value, float) else str(q.value)
