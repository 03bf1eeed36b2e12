"""What the page says where there is nothing to show: what is missing, and what to do about it."""

from typing import Final

import streamlit as st

BROKER: Final = {
    "connecting": "Looking for the broker at {servers} ...",
    "no broker": "No broker answers at {servers}. `make demo` starts one with everything else; for "
    "another, set `CANDLECAST_KAFKA__BOOTSTRAP_SERVERS`.",
    "no topic": "The broker at {servers} has no topic of predictions yet: the stream makes it when "
    "it starts.",
}
NO_BARS: Final = (
    "No bars yet. `make demo` shows the whole path with recorded bars; `candlecast ingest` "
    "publishes live ones, and the stream archives them. This page fills by itself."
)
NOTHING_IN_RANGE: Final = "No data of {symbol} {timeframe} in the last {span}. Try a longer range."
NO_MODEL: Final = (
    "No model yet. Bars are archived until there are enough of them; then "
    "`candlecast train` trains one, and the stream takes it up by itself."
)
NO_CHAMPION: Final = "No model is in service for {timeframe} bars, so nothing is predicted."
NO_PREDICTIONS: Final = (
    "No predictions in the last {span} of this series: its windows lack bars, or the model is "
    "newer than they are. Try a longer range."
)
NO_SCORES: Final = (
    "No scores yet: run `candlecast score`, or `candlecast score --every 60` to keep them up to "
    "date."
)
NOTHING_SCORED: Final = "Nothing to score yet: a prediction counts once its target time has passed."


def broker(state: str, servers: str, otherwise: str = "") -> None:
    """Say why the topic of predictions can't be read, where it can't, and what the page does."""
    if state in BROKER:
        text = f"{BROKER[state].format(servers=servers)} {otherwise}"
        st.warning(text, icon=":material/power_off:")
