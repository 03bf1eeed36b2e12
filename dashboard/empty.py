"""What the page says where there is nothing to show: what is missing, and what to do about it."""

import streamlit as st

_STATES = {
    "connecting": "Looking for the broker at {servers} ...",
    "no broker": "No broker answers at {servers}. `make demo` starts one with everything else; for "
    "another, set `CANDLECAST_KAFKA__BOOTSTRAP_SERVERS`.",
    "no topic": "The broker at {servers} has no topic of predictions yet: the stream makes it when "
    "it starts.",
}


def no_bars(state: str, servers: str) -> None:
    """Neither bars nor predictions anywhere."""
    if state in _STATES:
        st.warning(_STATES[state].format(servers=servers), icon=":material/power_off:")
    st.info(
        "No bars yet. `make demo` shows the whole path with recorded bars; `candlecast ingest` "
        "publishes live ones, and the stream archives them. This page fills by itself.",
        icon=":material/candlestick_chart:",
    )


def no_topic(state: str, servers: str) -> None:
    """There are bars, but the topic of predictions can't be read."""
    text = _STATES.get(state, "").format(servers=servers)
    st.warning(f"{text} What is shown comes from the tables alone.", icon=":material/power_off:")


def no_model() -> None:
    """Nothing was ever registered."""
    st.info(
        "No model yet. Bars are archived until there are enough of them; then "
        "`candlecast train` trains one, and the stream takes it up by itself.",
        icon=":material/school:",
    )


def no_predictions(has_champion: bool, timeframe: str, span: str) -> None:
    """There are bars in the range, but no predictions."""
    if not has_champion:
        st.info(
            f"No model is in service for {timeframe} bars, so nothing is predicted.",
            icon=":material/school:",
        )
        return
    st.info(
        f"No predictions in the last {span} of this series: its windows lack bars, or the model is "
        "newer than they are. Try a longer range.",
        icon=":material/search:",
    )


def nothing_in_range(symbol: str, timeframe: str, span: str) -> None:
    """Neither bars nor predictions of the series in the range."""
    st.info(
        f"No data of {symbol} {timeframe} in the last {span}. Try a longer range.",
        icon=":material/search:",
    )


def nothing_scored(computed: bool) -> None:
    """No score was ever computed, or no prediction's target time has passed."""
    text = (
        "Nothing to score yet: a prediction counts once its target time has passed."
        if computed
        else "No scores yet: run `candlecast score`, or `candlecast score --every 60` to keep them "
        "up to date."
    )
    st.info(text, icon=":material/hourglass_empty:")
