"""Commands write sections of one page, and nothing else of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.errors import BadSetting
from simulations.results_page import HEAD, page_ready, section, with_section, write_section
from simulations.table import Table

TABLE = Table("a", "What it is.", ("CELL", "COST"), (("one", "0.90"), ("two", "1.10")))


def test_a_section_names_its_command_and_holds_its_tables() -> None:
    text = section("Declared 99 %", "lagcast bench --seeds 1", "1+a", "2 cells.", [TABLE])
    assert text.startswith("## Declared 99 %\n\nMade by `lagcast bench --seeds 1` (version 1+a). 2 cells.\n")
    assert "### A\n\nWhat it is.\n\n| CELL | COST |\n|---|---|\n| one | 0.90 |\n| two | 1.10 |\n" in text
    empty = section("t", "c", "v", "", [Table("a", "", ("CELL",), ())])
    assert empty.endswith("None.\n")


def test_a_section_replaces_itself_alone() -> None:
    page = with_section("", "bench", "one")
    assert page == f"{HEAD}\n<!-- begin bench -->\none\n<!-- end bench -->\n"
    both = with_section(page, "bench --days 6", "two")
    assert both.startswith(page)
    again = with_section(both.replace("# Results", "# Mine"), "bench", "three")
    assert "one" not in again
    assert "three" in again
    assert "two" in again
    assert again.startswith("# Mine")
    assert with_section(again, "bench", "three") == again


def test_what_another_command_wrote_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "results.md"
    page_ready(path, "bench")
    write_section(path, "faro", "f")
    write_section(path, "bench", "b")
    assert path.read_text() == with_section(with_section("", "faro", "f"), "bench", "b")
    path.write_text("<!-- begin bench -->")
    with pytest.raises(BadSetting, match="section 'bench'"):
        page_ready(path, "bench")


@pytest.mark.parametrize("page", ["<!-- begin bench -->\nx", "<!-- end bench -->\n<!-- begin bench -->", "x\n" * 2])
def test_a_page_that_is_not_whole_is_refused(page: str) -> None:
    if "begin" not in page:
        assert with_section(page, "bench", "y").startswith("x\nx\n\n<!-- begin bench -->")
        return
    with pytest.raises(BadSetting, match=r"the page's section 'bench': found 1 begins and . ends; it must have one"):
        with_section(page, "bench", "y")
