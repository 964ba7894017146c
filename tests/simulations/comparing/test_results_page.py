"""Commands write sections of one page, and nothing else of it."""

from __future__ import annotations

import pytest

from simulations.errors import BadSetting
from simulations.results_page import HEAD, section, with_section
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


@pytest.mark.parametrize("page", ["<!-- begin bench -->\nx", "<!-- end bench -->\n<!-- begin bench -->", "x\n" * 2])
def test_a_page_that_is_not_whole_is_refused(page: str) -> None:
    if "begin" not in page:
        assert with_section(page, "bench", "y").startswith("x\nx\n\n<!-- begin bench -->")
        return
    with pytest.raises(BadSetting, match=r"the page's section 'bench': found 1 begins and . ends; it must have one"):
        with_section(page, "bench", "y")
