"""Four symbols of which two lead, and what should be predicted of them."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd

from conf.sections import Market
from conf.sections import Registry as RegistrySettings
from ingest.bar import Bar
from ingest.sources.recorded import read_bars
from tests.predictions import IDENTITY, assert_same_predictions, batch_predictions_with

MINUTE: Final = 60_000
START: Final = 1_514_220_000_000
COUNT: Final = 200
SYMBOLS: Final = ["BTC-USD", "LTC-USD", "ETH-USD", "XRP-USD"]
LEADERS: Final = SYMBOLS[:2]
Bars = dict[str, list[Bar]]


def four_symbols(data_dir: Path) -> Bars:
    """200 minutes of each symbol, the same ones: recorded prices at other times."""
    found: Bars = {}
    for number, symbol in enumerate(SYMBOLS):
        of = ("btcusd", "ethusd")[number % 2]
        file = data_dir / f"{of}_cryptocompare_cccagg_1m_2017-12.csv.gz"
        recorded = list(read_bars(file, symbol, "1m"))[COUNT * number : COUNT * (number + 1)]
        times = [START + minute * MINUTE for minute in range(COUNT)]
        found[symbol] = [
            replace(bar, open_time=time, fetched_at=time + MINUTE)
            for bar, time in zip(recorded, times, strict=True)
        ]
    return found


def expected(bars: Bars, market: Market, registry: RegistrySettings) -> pd.DataFrame:
    """By the champion where its leaders are there, else by the model that needs none."""
    every = [bar for of_symbol in bars.values() for bar in of_symbol]
    return batch_predictions_with(market, every, registry).drop_duplicates(IDENTITY)


def assert_as_expected(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """The same windows and prices, by the same models."""
    assert_same_predictions(found, wanted)
    found, wanted = (one.sort_values(IDENTITY)["model_version"] for one in (found, wanted))
    assert found.astype(str).tolist() == wanted.tolist()
