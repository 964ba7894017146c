"""Panels in one look: each with a title, a description, a unit, and queries of the dashboard's own scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as commons
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common, dashboard, heatmap
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = common.DataSourceRef(type_val="prometheus", uid="$datasource")
RATE = "$__rate_interval"
CONTROLLER = 'job=~"$job", instance=~"$instance"'  # what picks the controller's series
NAMESPACE = CONTROLLER + ', namespace=~"$namespace"'
SERVICE = CONTROLLER + ', namespace="$namespace", name="$name"'
HEIGHT, WIDTH = 8, 24  # of a graph; of the whole dashboard, in Grafana's units

Panel = Builder[dashboard.Panel]


@dataclass(frozen=True, slots=True)
class Query:
    """A query and its legend. In ``text``, ``{@}`` stands for the dashboard's scope: ``up{@}``, ``up{@, a="b"}``."""

    text: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, its unit, and the query whose value it shows for each row."""

    title: str
    unit: str
    text: str


class Panels:
    """Makes panels whose queries have one scope (label matchers)."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def stat(
        self,
        title: str,
        says: str,
        unit: str,
        query: str,
        *,
        span: int = 4,
        digits: int | None = None,
        text: bool = False,
    ) -> Panel:
        """One number, that of now (or over the shown time, if the query says so)."""
        made = stat.Panel().title(title).description(says).datasource(SOURCE).unit(unit).height(4).span(span)
        made = made.graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.NONE)
        made = made.no_value("-")
        if digits is not None:
            made = made.decimals(digits)
        if text:
            made = made.text_mode(common.BigValueTextMode.NAME)
        return made.reduce_options(commons.ReduceDataOptions().calcs(["lastNotNull"]).values(False)).with_target(
            self._target("A", Query(query, "{{version}}" if text else ""), instant=True)
        )

    def graph(
        self,
        title: str,
        says: str,
        unit: str,
        *queries: Query,
        span: int = 12,
        stacked: bool = False,
        least: float | None = 0.0,
        bands: Sequence[tuple[str, str]] = (),
        dashed: Sequence[str] = (),
    ) -> Panel:
        """Lines over time. ``bands``: pairs of legends between which the space is filled."""
        made = timeseries.Panel().title(title).description(says).datasource(SOURCE).unit(unit).height(HEIGHT).span(span)
        made = made.line_width(1).show_points(common.VisibilityMode.NEVER).fill_opacity(0)
        made = made.legend(
            commons.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        made = made.tooltip(commons.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        if least is not None:
            made = made.min(least)
        if stacked:
            made = made.fill_opacity(20).stacking(commons.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
        for upper, lower in bands:
            filled = [dashboard.DynamicConfigValue("custom.fillBelowTo", lower)]
            filled.append(dashboard.DynamicConfigValue("custom.fillOpacity", 15))
            made = made.override_by_name(upper, [*filled, dashboard.DynamicConfigValue("custom.lineWidth", 0)])
            made = made.override_by_name(lower, [dashboard.DynamicConfigValue("custom.lineWidth", 0)])
        for name in dashed:
            style = {"fill": "dash", "dash": [8, 8]}
            made = made.override_by_name(name, [dashboard.DynamicConfigValue("custom.lineStyle", style)])
        for letter, query in zip("ABCDEFGHIJ", queries, strict=False):
            made = made.with_target(self._target(letter, query))
        return made

    def table(self, title: str, says: str, key: Sequence[str], *columns: Column, span: int = WIDTH) -> Panel:
        """One row for each set of the labels ``key``, one column for each query."""
        made = table.Panel().title(title).description(says).datasource(SOURCE).unit("short").height(HEIGHT).span(span)
        names = {}
        for letter, column in zip("ABCDEFGHIJ", columns, strict=False):
            made = made.with_target(self._target(letter, Query(column.text), instant=True, table=True))
            names[f"Value #{letter}" if len(columns) > 1 else "Value"] = column.title
            made = made.override_by_name(column.title, [dashboard.DynamicConfigValue("unit", column.unit)])
        order = {name: i for i, name in enumerate((*key, *names))}
        options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
        made = made.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        return made.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=options))

    def timeline(self, title: str, says: str, query: Query, span: int = WIDTH) -> Panel:
        """One bar for each series, drawn while its value is 1."""
        shown = dashboard.ValueMap({"1": dashboard.ValueMappingResult(text="yes", color="blue", index=0)})
        made = statetimeline.Panel().title(title).description(says).datasource(SOURCE).height(HEIGHT + 2).span(span)
        made = made.mappings([shown]).show_value(common.VisibilityMode.NEVER).row_height(0.8).merge_values(True)
        made = made.legend(
            commons.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(False)
        )
        return made.with_target(self._target("A", query))

    def heatmap(self, title: str, says: str, query: str, span: int = 12) -> Panel:
        """How a histogram's buckets filled over time."""
        made = heatmaps.Panel().title(title).description(says).datasource(SOURCE).height(HEIGHT).span(span)
        made = made.y_axis(heatmaps.YAxisConfig().unit("s"))
        colour = heatmaps.HeatmapColorOptions().mode(heatmap.HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
        made = made.color(colour)
        target = prometheus.Dataquery().ref_id("A").datasource(SOURCE).expr(self.scoped(query)).legend_format("{{le}}")
        return made.with_target(target.format(PromQueryFormat.HEATMAP).range())

    def scoped(self, text: str) -> str:
        """A query with its scope filled in."""
        return " ".join(text.split()).replace("{@", "{" + self.scope)

    def _target(self, letter: str, query: Query, *, instant: bool = False, table: bool = False) -> Builder[Dataquery]:
        made = prometheus.Dataquery().ref_id(letter).datasource(SOURCE).expr(self.scoped(query.text))
        made = made.instant() if instant else made.range()
        if query.legend:
            made = made.legend_format(query.legend)
        return made.format(PromQueryFormat.TABLE if table else PromQueryFormat.TIME_SERIES)


@dataclass(frozen=True, slots=True)
class Row:
    """A titled group of panels."""

    title: str
    panels: Sequence[Panel]


def board(
    uid: str, title: str, says: str, rows: Sequence[Row], *variables: Builder[dashboard.VariableModel]
) -> dashboard.Dashboard:
    """A whole dashboard: the data source, job and instance to choose, ``variables`` of its own, and its rows."""
    made = dashboards.Dashboard(title).uid(uid).description(says).tags(["lagcast"]).readonly()
    made = (
        made.tooltip(dashboard.DashboardCursorSync.CROSSHAIR).time("now-6h", "now").refresh("30s").timezone("browser")
    )
    others = dashboards.DashboardLink("Lagcast").type(dashboard.DashboardLinkType.DASHBOARDS).tags(["lagcast"])
    made = made.link(others.as_dropdown(True).include_vars(True).keep_time(True))
    made = made.with_variable(dashboards.DatasourceVariable("datasource").label("Data Source").type("prometheus"))
    made = made.with_variable(choice("job", "label_values(lagcast_tick_interval_seconds, job)", several=True))
    chosen = 'label_values(lagcast_tick_interval_seconds{job=~"$job"}, instance)'
    made = made.with_variable(choice("instance", chosen, several=True))
    for variable in variables:
        made = made.with_variable(variable)
    number = 0
    for row in rows:
        number += 1
        made = made.with_row(dashboards.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            made = made.with_panel(_numbered(panel, number))
    return made.build()


def choice(
    name: str, query: str, *, several: bool = False, hidden: bool = False, regex: str = ""
) -> Builder[dashboard.VariableModel]:
    """A variable whose values a query finds, anew when the shown time changes. ``several``: all of them at first."""
    made = dashboards.QueryVariable(name).label(name).query(query).datasource(SOURCE)
    made = made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    if several:
        everything = dashboard.VariableOption(selected=True, text="All", value="$__all")
        made = made.multi(True).include_all(True).all_value(".+").current(everything)
    if hidden:
        made = made.hide(dashboard.VariableHide.HIDE_VARIABLE)
    return made.regex(regex) if regex else made


class _Numbered(Builder[dashboard.Panel]):
    def __init__(self, panel: dashboard.Panel) -> None:
        self._panel = panel

    def build(self) -> dashboard.Panel:
        return self._panel


def _numbered(panel: Panel, number: int) -> Panel:
    made = panel.build()
    made.id_val = number
    return _Numbered(made)
