"""The page itself: the template filled in, with all it needs inside."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from simulations.report.report import Report
from simulations.report.tables import frontier_table, measures_table
from simulations.report.views import page_data
from simulations.whole_file import write_whole

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def write_report(report: Report, path: Path) -> None:
    """Write ``report`` to ``path``: one HTML file of its own, the same bytes for the same report. Raises OSError."""
    write_whole(path, render(report))


def render(report: Report) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    parts = files("simulations.report").joinpath("page")
    data = page_data(report)
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(parts.joinpath("page.html").read_text(encoding="utf-8")).render(
        report=report,
        policy=POLICY,
        names=report.names,
        measures=measures_table(report),
        frontier=frontier_table(report),
        rows=data["rows"],
        thinned=any(load["size"] > 1 for load in data["loads"]),
        data=Markup(for_script(json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False))),  # noqa: S704 - escaped by for_script
        style=Markup(parts.joinpath("page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        script=Markup(parts.joinpath("page.js").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the library's own file
    )


def for_script(text: str) -> str:
    """JSON that cannot end the script element that it stands in."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
