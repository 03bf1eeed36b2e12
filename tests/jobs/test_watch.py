from rich.console import Console

from dashboard.api_types import Ahead, Card, Record
from jobs.watch import board

RECORD = Record(
    span="7d",
    backfilled=False,
    model_version="1m-1",
    predictions=900,
    skill=0.031,
    p_value=0.01,
    verdict="better",
    covered=0.9,
    promised=0.9,
)
AHEAD = Ahead(
    horizon=15,
    as_of=0,
    target_time=900_000,
    last_close=100.0,
    predicted_close=100.1,
    lower=99.5,
    upper=100.5,
    coverage=0.9,
    model_version="1m-1",
    predicted_at=2_000,
    livelier=0.8,
    record=RECORD,
)


def test_a_row_says_what_comes_next_and_how_good_that_was() -> None:
    card = Card(symbol="BTC-USD", interval="1m", times=[0], closes=[100.0], ahead=[AHEAD])
    console = Console(width=200, record=True)
    console.print(board([card], now_s=32.0))
    text = console.export_text()
    for part in ("BTC-USD 1m", "±0.50% in 15 min", "livelier than 80%", "3.10% better", "30 s ago"):
        assert part in text


def test_a_series_without_a_prediction_says_so() -> None:
    card = Card(symbol="BTC-USD", interval="1m", times=[], closes=[], ahead=[])
    console = Console(width=200, record=True)
    console.print(board([card], now_s=0.0))
    assert "nothing yet" in console.export_text()
