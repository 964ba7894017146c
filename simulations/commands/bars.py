"""Progress of long commands with several phases."""

from __future__ import annotations

from typing import Any

import click


class Bars:
    """A progress bar for each phase, on stderr; where that is no terminal, a line a twentieth."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        text = TextColumn("{task.description}")
        self._terminal = console.is_terminal
        self._bar = Progress(
            text,
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._told: dict[str, tuple[int, int]] = {}  # of each phase its total, and the newest twentieth

    def show(self, phase: str, done: int, total: int) -> None:
        """How far a phase is."""
        if self._terminal:
            if phase not in self._tasks:
                self._tasks[phase] = self._bar.add_task(phase, total=total)
            self._bar.update(self._tasks[phase], completed=done, total=total)
            return
        twentieth = 20 * done // total if total else 20
        before, told = self._told.get(phase, (total, -1))
        if twentieth > told or total != before:  # a phase that is gone through again may be longer
            self._told[phase] = total, twentieth
            click.echo(f"{phase}: {done} of {total}", err=True)

    def __enter__(self) -> Bars:
        self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.stop()
