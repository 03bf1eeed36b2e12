"""The chart: candles, their predictions, and the path ahead with its interval."""

from typing import Final

import pandas as pd
import plotly.graph_objects as go

# Legible on white and on black, and told apart without red and green.
UP: Final = "#2a9d8f"
DOWN: Final = "#d1495b"
PREDICTED: Final = "#e09f3e"
BAND: Final = "rgba(224, 159, 62, 0.18)"
PATH: Final = "#5e7ce2"
PATH_BAND: Final = "rgba(94, 124, 226, 0.25)"
HEIGHT: Final = 460
# Shares of the height: the news stand under the price, where there are any.
PRICE_ABOVE: Final = 0.24
NEWS_BELOW: Final = 0.18


def price_chart(
    candles: pd.DataFrame,
    predictions: pd.DataFrame,
    sentiment: pd.DataFrame,
    horizon: int,
    zone: str,
) -> go.Figure:
    """Draw one series; times of all tables are UTC without a zone and are shown in `zone`.

    Predicted prices stand at their target time, so that they lie over the close that they forecast.
    """
    candles, predictions = in_zone(candles, zone), in_zone(predictions, zone)
    figure = go.Figure()
    _add_candles(figure, candles)
    _add_past(figure, predictions[predictions["horizon"] == horizon], horizon)
    _add_path(figure, newest_path(predictions))
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 4, "r": 4, "t": 8, "b": 4},
        xaxis={"rangeslider": {"visible": False}, "title": zone},
        yaxis={"side": "right", "tickformat": ",.6~r", "automargin": True},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="x",
        dragmode="pan",
        uirevision="kept",  # a refresh must not undo a zoom
    )
    if not sentiment.empty:
        _add_sentiment(figure, in_zone(sentiment, zone))
    return figure


def in_zone(table: pd.DataFrame, zone: str) -> pd.DataFrame:
    """The times of a table on the clocks of `zone`, without a zone: Plotly knows none."""
    table = table.copy()
    for name, times in table.select_dtypes("datetime").items():
        table[name] = times.dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    return table


def newest_path(predictions: pd.DataFrame) -> pd.DataFrame:
    """The prediction at every horizon from the newest bar that was predicted from."""
    if predictions.empty:
        return predictions
    newest = predictions[predictions["as_of"] == predictions["as_of"].max()]
    latest = newest.sort_values("predicted_at").drop_duplicates("horizon", keep="last")
    path: pd.DataFrame = latest.sort_values("horizon")
    return path


def _add_candles(figure: go.Figure, candles: pd.DataFrame) -> None:
    figure.add_candlestick(
        x=candles["open_time"],
        **{price: candles[price] for price in ("open", "high", "low", "close")},
        name="price",
        increasing={"line": {"color": UP, "width": 1}},
        decreasing={"line": {"color": DOWN, "width": 1}},
    )
    figure.add_scatter(
        x=candles["close_time"],
        y=candles["close"],
        name="actual close",
        line={"color": "#8d99ae", "width": 1},
        hoverinfo="skip",
    )


def _add_past(figure: go.Figure, made: pd.DataFrame, horizon: int) -> None:
    runs = unbroken(made)
    _add_band(figure, runs, BAND, "interval")
    figure.add_scatter(
        x=_with_gaps([run["target_time"] for run in runs]),
        y=_with_gaps([run["predicted_close"] for run in runs]),
        name=f"predicted {horizon} ahead",
        mode="lines",
        line={"color": PREDICTED, "width": 1.5},
        hovertemplate="%{y:,.6~r}",
    )


def unbroken(made: pd.DataFrame) -> list[pd.DataFrame]:
    """Predictions of one horizon in runs without a gap."""
    if len(made) < 2:
        return [made] if len(made) else []
    made = made.sort_values(["as_of", "predicted_at"])
    steps = made["as_of"].diff()
    usual = steps[steps > pd.Timedelta(0)].min()
    return [run for _, run in made.groupby((steps > usual).cumsum())]


def _with_gaps(parts: list[pd.Series]) -> list[object]:
    """The values of all parts with None between them, where Plotly lifts the pen."""
    return [value for part in parts for value in (*part, None)][:-1]


def _add_sentiment(figure: go.Figure, sentiment: pd.DataFrame) -> None:
    figure.add_bar(
        x=sentiment["open_time"],
        y=sentiment["score"],
        customdata=sentiment["articles"],
        name="news",
        yaxis="y2",
        marker={"color": [UP if score >= 0 else DOWN for score in sentiment["score"]]},
        hovertemplate="%{y:+.2f} from %{customdata:.0f} articles",
    )
    figure.update_layout(
        yaxis={"domain": [PRICE_ABOVE, 1]},
        yaxis2={"domain": [0, NEWS_BELOW], "side": "right", "range": [-1, 1], "title": "news"},
        xaxis={"anchor": "y2"},
    )


def _add_path(figure: go.Figure, path: pd.DataFrame) -> None:
    if path.empty:
        return
    start = path.iloc[:1].assign(target_time=path["as_of"])
    start[["predicted_close", "lower", "upper"]] = start["last_close"].iloc[0]
    path = pd.concat([start, path])
    _add_band(figure, [path], PATH_BAND, "interval ahead")
    figure.add_scatter(
        x=path["target_time"],
        y=path["predicted_close"],
        name="ahead",
        mode="lines+markers",
        line={"color": PATH, "width": 2, "dash": "dot"},
        marker={"size": 8},
        hovertemplate="%{y:,.6~r}",
    )


def _add_band(figure: go.Figure, runs: list[pd.DataFrame], colour: str, name: str) -> None:
    """Fill what lies between `lower` and `upper` of each run."""
    times = [pd.concat([run["target_time"], run["target_time"][::-1]]) for run in runs]
    edges = [pd.concat([run["upper"], run["lower"][::-1]]) for run in runs]
    figure.add_scatter(
        x=_with_gaps(times),
        y=_with_gaps(edges),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=colour,
        hoverinfo="skip",
        name=name,
    )
