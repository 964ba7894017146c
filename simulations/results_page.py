"""The page of results: each command writes its own section of it, and leaves the others as they are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulations.errors import BadSetting
from simulations.table import Table
from simulations.whole_file import make_ready, write_whole

HEAD = """# Results

Each section is written by the command that it names, and replaced by nothing else.
"""


def section(title: str, command: str, version: str, about: str, made: Sequence[Table]) -> str:
    """A section: what was run, by which command, and the tables."""
    parts = [f"## {title}\n", f"Made by `{command}` (version {version}). {about}\n"]
    for table in made:
        parts.append(f"### {table.name[0].upper()}{table.name[1:]}\n")
        parts.append(f"{table.about}\n")
        if table.lines:
            rule = "|".join("---" for _ in table.titles)
            rows = [f"| {' | '.join(line)} |" for line in (table.titles, *table.lines)]
            parts.append("\n".join([rows[0], f"|{rule}|", *rows[1:]]) + "\n")
        else:
            parts.append("None.\n")
    return "\n".join(parts)


def command_of(module: str, words: Sequence[str], page: Path) -> str:
    """The command that writes a section of the page: ``python -m simulations.`` and the module, with these words."""
    return shlex.join(["python", "-m", f"simulations.{module}", *words, "--write", f"docs/{page.name}"])


def repeated(options: Mapping[str, Sequence[str]]) -> list[str]:
    """The words of options that may be given several times, with all that each was given."""
    return [word for option, given in options.items() for one in given for word in (option, one)]


def page_ready(path: Path, name: str) -> None:
    """Make the page's folder, and say now what would come after hours of work. Raises OSError and BadSetting."""
    make_ready(path)
    with_section(_read(path), name, "")


def write_section(path: Path, name: str, text: str) -> None:
    """Put the section into the page as it is now: another command may have written its own meanwhile."""
    write_whole(path, with_section(_read(path), name, text))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def with_section(page: str, name: str, text: str) -> str:
    """The page with this section in place of the one of that name, or at its end. ``page`` is empty for a new one.

    Raises BadSetting when the section's begin or end is missing, or there twice.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    whole = f"{begin}\n{text.strip()}\n{end}"
    counts = page.count(begin), page.count(end)
    if counts == (0, 0):
        return f"{(page or HEAD).rstrip()}\n\n{whole}\n"
    start, stop = page.find(begin), page.find(end)
    if counts != (1, 1) or stop < start:
        raise BadSetting(
            f"the page's section {name!r}: found {counts[0]} begins and {counts[1]} ends; it must have one {begin} "
            f"before one {end}: mend or remove them"
        )
    return f"{page[:start]}{whole}{page[stop + len(end) :]}"
