"""The page, run by Streamlit: what is predicted, how sure, was it right, is it running?

Streamlit runs this file from top to bottom for every open page; what is costly is shared
(`Sources`), and the parts that change are fragments, which run again by themselves.
"""

import re
from typing import Any, Final

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from conf.settings import load_settings
from conf.shown import shown_price
from conf.timeframes import TIMEFRAME_MS
from dashboard import empty
from dashboard.api_types import HealthAnswer
from dashboard.chart import in_zone, price_chart
from dashboard.health import read_health
from dashboard.scores import LEGEND, shown_board, styled
from dashboard.sources import Sources
from store.schema import SPANS

RANGES: Final = {"1 h": 1, "3 h": 3, "12 h": 12, "1 d": 24, "7 d": 168, "30 d": 720, "all": 0}
REFRESH_S: Final = load_settings().dashboard.refresh_s
SLOW_REFRESH_S: Final = 5 * REFRESH_S
HOUR_MS: Final = 3_600_000
SHOWN_ARTICLES: Final = 50


@st.cache_resource
def sources() -> Sources:
    """What all pages share; lives as long as the server."""
    return Sources.open(load_settings())


@st.cache_data(ttl=REFRESH_S / 2, max_entries=64, show_spinner=False)
def read_range(
    symbol: str, timeframe: str, since_ms: int, bars: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Candles, predictions, sentiment and articles; twenty pages of one series ask once."""
    shared = sources()
    wanted = symbol, timeframe, since_ms, bars
    return (
        shared.tables.series_of("bars", *wanted),
        shared.predictions(*wanted),
        shared.tables.series_of("sentiment", *wanted),
        shared.tables.articles(symbol, since_ms, SHOWN_ARTICLES),
    )


@st.cache_data(ttl=REFRESH_S / 2, show_spinner=False)
def read_scores() -> pd.DataFrame | None:
    """The scoreboard; every page shows the same."""
    return sources().tables.scores()


@st.cache_data(ttl=REFRESH_S / 2, show_spinner=False)
def health() -> HealthAnswer:
    """The health of all that runs; every page shows the same."""
    return read_health(sources())


def main() -> None:
    """Lay the page out."""
    st.set_page_config(page_title="Candlecast", page_icon=candle(), layout="wide")
    st.title("Candlecast", anchor=False)
    st.caption("Predictions of cryptocurrency prices, checked against actual prices. No advice.")
    series = sources().series()
    if not series:
        waiting()
        return
    # Boxes of a width of their own stand side by side on a phone too.
    with st.container(key="choices", horizontal=True):
        symbols = sorted({symbol for symbol, _ in series})
        symbol = st.selectbox("Symbol", symbols, width=160)
        timeframes = [i for i in TIMEFRAME_MS if (symbol, i) in series]
        timeframe = st.selectbox("Interval", timeframes, width=100)
        horizons = sources().horizons(timeframe) or load_settings().training.horizons
        horizon = st.selectbox("Horizon (bars)", horizons, width=130)
        span = st.selectbox("Range", list(RANGES), index=2, width=100)
        clock = st.selectbox("Times", ["UTC", "local"], width=100)
    zone = "UTC" if clock == "UTC" else st.context.timezone or "UTC"
    live(symbol, timeframe, horizon, span, zone, len(series))
    scoreboard()
    models(zone)
    running()


def candle() -> Image.Image:
    """The page's icon, drawn here: Streamlit fetches named icons from elsewhere."""
    icon = np.zeros((32, 32, 4), np.uint8)
    icon[2:30, 15:17] = icon[8:24, 9:23] = (42, 157, 143, 255)
    return Image.fromarray(icon)


@st.fragment(run_every=REFRESH_S)
def waiting() -> None:
    """The page before there is any bar; becomes the whole page by itself."""
    if sources().series():
        st.rerun(scope="app")
    empty.broker(sources().newest.state, load_settings().kafka.bootstrap_servers)
    st.info(empty.NO_BARS, icon=":material/candlestick_chart:")


@st.fragment(run_every=REFRESH_S)
def live(symbol: str, timeframe: str, horizon: int, span: str, zone: str, known: int) -> None:
    """The newest prediction in figures, and the chart."""
    shared = sources()
    series = shared.tables.series()
    if len(shared.series()) > known:
        st.rerun(scope="app")
    newest = series.get((symbol, timeframe), 0)
    hours = RANGES[span]
    since = max(0, newest - hours * HOUR_MS) if hours else 0
    bars = hours * HOUR_MS // TIMEFRAME_MS[timeframe] if hours else 10**6
    candles, predictions, sentiment, articles = read_range(symbol, timeframe, since, bars)
    if candles.empty and predictions.empty:
        text = empty.NOTHING_IN_RANGE.format(symbol=plain(symbol), timeframe=timeframe, span=span)
        st.info(text, icon=":material/search:")
        return
    figures(candles, predictions[predictions["horizon"] == horizon], timeframe, zone)
    with st.container(key="chart"):
        st.plotly_chart(
            price_chart(candles, predictions, sentiment, horizon, zone),
            key=f"chart {symbol} {timeframe}",
            config={"displaylogo": False, "scrollZoom": True, "displayModeBar": False},
        )
    if not articles.empty:
        news(articles, zone)
    if predictions.empty:
        served = shared.registry.champion(timeframe)
        text = empty.NO_PREDICTIONS if served else empty.NO_CHAMPION
        icon = ":material/search:" if served else ":material/school:"
        st.info(text.format(timeframe=timeframe, span=span), icon=icon)
    servers = load_settings().kafka.bootstrap_servers
    empty.broker(shared.newest.state, servers, "What is shown comes from the tables alone.")


def news(articles: pd.DataFrame, zone: str) -> None:
    """The newest articles, from when on they counted, and how they were scored."""
    shown = in_zone(articles, zone)
    shown["score"] = shown["score"].map("{:+.2f}".format)
    names = {"available_at": "counts from", "published_at": "published"}
    with st.expander(f"The news behind it: the newest {len(shown)}"), st.container(key="news"):
        st.dataframe(shown.rename(columns=names), hide_index=True)


def figures(candles: pd.DataFrame, made: pd.DataFrame, timeframe: str, zone: str) -> None:
    """The newest bar and the newest prediction of the chosen horizon."""
    columns = st.container(key="figures").columns([2, 2, 4, 3])
    if not candles.empty:
        bar = candles.iloc[-1]
        columns[0].metric("Last close", shown_price(bar["close"]))
        columns[0].caption(f"bar until {shown_time(bar['close_time'], zone)}")
    if made.empty:
        return
    row = made.sort_values(["as_of", "predicted_at"]).iloc[-1]
    change = row["predicted_close"] / row["last_close"] - 1
    columns[1].metric("Predicted", shown_price(row["predicted_close"]), f"{change:+.3%}", "off")
    columns[1].caption(
        f"for {shown_time(row['target_time'], zone)}, by {plain(row['model_version'])}"
    )
    columns[2].metric(
        f"{row['coverage']:.0%} interval",
        f"{shown_price(row['lower'])} to {shown_price(row['upper'])}",
    )
    columns[2].caption(f"{(row['upper'] - row['lower']) / row['last_close']:.3%} of the price wide")
    columns[3].metric("Target time", shown_time(row["target_time"], zone))
    columns[3].caption(f"{row['horizon']} x {timeframe} after {shown_time(row['as_of'], zone)}")


def plain(text: str) -> str:
    """A text from elsewhere as it is: without links, pictures and headings of Markdown."""
    return re.sub(r"([^\w\s])", r"\\\1", str(text))


def shown_time(time: Any, zone: str) -> str:
    """A UTC time on the clocks of `zone`, to the minute."""
    return f"{pd.Timestamp(time).tz_localize('UTC').tz_convert(zone):%Y-%m-%d %H:%M}"


@st.fragment(run_every=2 * REFRESH_S)
def scoreboard() -> None:
    """How good the predictions were; live ones and backfilled ones apart."""
    st.subheader("Was it right?", anchor=False)
    board = read_scores()
    if board is None or board.empty:
        text = empty.NO_SCORES if board is None else empty.NOTHING_SCORED
        st.info(text, icon=":material/hourglass_empty:")
        return
    columns = st.columns(2)
    span = columns[0].segmented_control("Over", list(SPANS), default="24h", key="span") or "24h"
    has_live = bool((~board["backfilled"].astype(bool)).any())
    made = columns[1].segmented_control(
        "Predictions", ["live", "backfilled"], default="live" if has_live else "backfilled"
    )
    shown = shown_board(board, span, made == "backfilled")
    with st.container(key="scoreboard"):
        if shown.empty:
            st.info(f"The target time of no {made} prediction has passed in this span.")
        else:
            st.dataframe(styled(shown), hide_index=True)
    until = f"{board['last_target'].max():%Y-%m-%d %H:%M} UTC"
    st.caption(f"{LEGEND} Backfilled: made after their target time. Scored up to {until}.")


@st.fragment(run_every=SLOW_REFRESH_S)
def models(zone: str) -> None:
    """The models, what was decided about them and why, and whether their world has changed."""
    st.subheader("Models", anchor=False)
    registered, decided = sources().registry.models(), sources().decisions()
    if not registered:
        st.info(empty.NO_MODEL, icon=":material/school:")
        return
    rows = [
        {
            "model": model.version,
            "state": "in service" if model.is_champion else "",
            "registered": shown_time(pd.Timestamp(model.registered_at, unit="ms"), zone),
            "reason": model.tags.get("reason", ""),
        }
        for model in registered
    ]
    with st.container(key="models"):
        st.dataframe(pd.DataFrame(rows), hide_index=True)
    if decided:
        st.markdown("**Decisions of the gate**")
        st.dataframe(pd.DataFrame(decided), hide_index=True)
    drift = sources().tables.drift()
    if not drift.empty:
        st.markdown("**Drift against the training range** (population stability index)")
        st.dataframe(drift.drop(columns="checked_at").round(3), hide_index=True)


@st.fragment(run_every=REFRESH_S)
def running() -> None:
    """Whether everything runs."""
    st.subheader("Is it running?", anchor=False)
    now = health()
    columns = st.container(key="health").columns(4)
    columns[0].metric("Last bar", age(now.last_bar_age_s))
    columns[1].metric("Last prediction", age(now.last_prediction_age_s))
    lag = "-" if now.lag_records is None else f"{now.lag_records:,.0f} records"
    columns[2].metric("Lag", lag)
    seconds = "-" if now.micro_batch_seconds is None else f"{now.micro_batch_seconds:.2f} s"
    columns[3].metric("Micro-batch", seconds)
    answers = "answers" if now.stream_answers else "does not answer"
    st.caption(f"Broker: {now.broker}. The stream {answers} ({sources().metrics_url}).")
    rejected = f"rejected ({now.rejected:,} in all)"
    counts = [
        {"what": what, "reason": reason, "count": count}
        for what, reasons in (
            ("skipped in 24 h", now.skipped),
            (rejected, now.rejections),
            ("no record of ours", now.passed_over),
        )
        for reason, count in reasons.items()
    ]
    if counts:
        st.dataframe(pd.DataFrame(counts), hide_index=True)


def age(seconds: float | None) -> str:
    """How long ago, in the unit that fits."""
    if seconds is None:
        return "none yet"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


if __name__ == "__main__":  # as Streamlit runs it
    main()
