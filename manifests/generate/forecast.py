"""How good the forecasts are: coverage, and loss against the simplest forecast there is."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from manifests.generate.panels import NAMESPACE, RATE, Column, Panels, Query, Row, board, choice

NAMED = "{{namespace}}/{{name}}"
BY = "sum by (namespace, name)"


def forecast() -> Dashboard:
    """Dashboard "Lagcast / Forecast quality"."""
    p = Panels(NAMESPACE)
    scored = f"({BY} (increase(lagcast_forecasts_scored_total{{@}}[{{w}}])) > 0)"

    def coverage(quantile: str, window: str) -> str:
        covered = f'{BY} (increase(lagcast_forecasts_covered_total{{@, quantile="{quantile}"}}[{{w}}]))'
        return f"{covered} / {scored}".replace("{w}", window)

    def against(what: str, window: str) -> str:
        loss = f'{BY} (increase(lagcast_forecast_loss_total{{@, quantile="0.5"}}[{{w}}]))'
        return f"{loss} / ({BY} (increase({what}{{@}}[{{w}}])) > 0)".replace("{w}", window)

    naive, outcome = "lagcast_forecast_naive_loss_total", "lagcast_forecast_outcome_total"
    now = Row(
        "Over the shown time",
        [
            p.table(
                "Services",
                "Coverage of a quantile: share of forecasts that the load did not exceed; the nearer to the quantile "
                "the better. Loss against naive: below 1 the forecast is better than 'as now'. Loss, relative: pinball "
                "loss of the median over the mean load.",
                ("namespace", "name"),
                *(
                    Column(f"covered at {q}", "percentunit", coverage(q, "$__range"))
                    for q in ("0.05", "0.5", "0.95", "0.99")
                ),
                Column("loss against naive", "short", against(naive, "$__range")),
                Column("loss, relative", "percentunit", against(outcome, "$__range")),
                Column("forecasts scored", "short", scored.replace("{w}", "$__range")),
            ),
        ],
    )
    over_time = Row(
        "Over time",
        [
            p.graph(
                "Coverage at 0.95",
                "Share of the last hour's forecasts whose 0.95 quantile the load did not exceed. Should be near 95 %.",
                "percentunit",
                Query(coverage("0.95", "1h"), NAMED),
            ),
            p.graph(
                "Coverage at 0.99",
                "Share of the last hour's forecasts whose 0.99 quantile the load did not exceed. Should be near 99 %.",
                "percentunit",
                Query(coverage("0.99", "1h"), NAMED),
            ),
            p.graph(
                "Loss against naive",
                "Pinball loss of the last hour's medians over that of 'as now'. Above 1 the forecast is of no use.",
                "short",
                Query(against(naive, "1h"), NAMED),
            ),
            p.graph(
                "Loss, relative",
                "Pinball loss of the last hour's medians over the mean load that came.",
                "percentunit",
                Query(against(outcome, "1h"), NAMED),
            ),
        ],
    )
    use = Row(
        "Use",
        [
            p.graph(
                "Decisions, by what they came from",
                "Decisive reasons of all decisions.",
                "ops",
                Query(f"sum by (reason) (rate(lagcast_decisions_total{{@}}[{RATE}]))", "{{reason}}"),
                stacked=True,
            ),
            p.graph(
                "Services, by the model of their forecast",
                "How many services are forecast by which model now.",
                "short",
                Query("count by (model) (max by (namespace, name, model) (lagcast_forecast_model{@}))", "{{model}}"),
                stacked=True,
            ),
        ],
    )
    namespace = choice("namespace", 'label_values(lagcast_scaler_info{job=~"$job"}, namespace)', several=True)
    says = "Each forecast is held against what came when its time had come: coverage of its quantiles, and its loss."
    return board("lagcast-forecast", "Lagcast / Forecast quality", says, [now, over_time, use], namespace)
