"""What was written, against what an undisturbed run writes: nothing missing, nothing twice."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar
from ingest.clock import Clock
from ingest.sources import SourceOptions
from ingest.sources.synthetic import Synthetic
from store.views import open_duckdb
from stream.state.rings import WARMING_UP
from tests.chaos.world import FROM, SYMBOLS, World
from tests.predictions import IDENTITY, PRICES, batch_predictions, batch_predictions_with
from tests.streams import read_topic

BAR_COLUMNS: Final = [
    *("symbol", "interval", "open_time", "open", "high", "low", "close"),
    *("base_volume", "quote_volume", "source", "fetched_at"),
]
MINUTE_MS: Final = TIMEFRAME_MS["1m"]
TABLES: Final = ("bars", "predictions", "skipped")
TOLERANCE: Final = 1e-5
# The model that reads no leaders.
ALONE: Final = "1m-1"
Rows = Counter[tuple[Any, ...]]


@dataclass
class Balance:
    """Rows that are missing, rows that are there more often than they should be, and the rest.

    Of the Parquet tables `bars`, `predictions` and `skipped` and of the topics together: the topic
    `predictions` may hold a row more often, so it adds to `lost` alone.
    """

    rows: int = 0
    lost: int = 0
    twice: int = 0
    different: int = 0
    without_leaders: int = 0

    @property
    def bad(self) -> int:
        """Rows that are not as they should be."""
        return self.lost + self.twice + self.different

    def compare(self, found: Rows, expected: Rows, *, at_least: bool = False) -> None:
        """Count what `found` lacks of `expected`, and has beyond it unless `at_least`."""
        self.rows += expected.total()
        self.lost += (expected - found).total()
        if not at_least:
            self.twice += (found - expected).total()

    def compare_prices(self, found: pd.DataFrame, expected: pd.DataFrame) -> None:
        """Count the predictions that are not those of the undisturbed run, by the same model."""
        by = [*IDENTITY, "model_version"]
        both = found.merge(expected, on=by, how="left", suffixes=("", "_expected"))
        right = np.all(
            [
                np.isclose(both[name], both[f"{name}_expected"], rtol=TOLERANCE, atol=0)
                for name in PRICES
            ],
            axis=0,
        )
        self.different += int((~right).sum())


def balance(world: World, *, compacted: bool = False, through_views: bool = False) -> Balance:
    """Hold tables and topics of a settled world against a plain pass over the market's bars.

    The market is made from a seed, so what ingest should have published is known without the
    topic. Each message of the topic is one row of `bars`; `compacted`, each bar is. `through_views`
    reads the tables as `candlecast sql` does, without the rows that an earlier checkpoint has
    written already.
    """
    bars = market(world.until_ms())
    on_topic = world.bars_on_topic()
    by_model = in_ms(predictions_of(world, bars))
    # Which of two models it was, the time of arrival decides: each window is predicted by one.
    predicted = by_model.drop_duplicates(IDENTITY)
    tables = tables_of(world, through_views=through_views)
    if compacted:  # a bar that came twice may lie in one merged folder and in one that is not yet
        tables["bars"] = tables_of(world, through_views=True)["bars"]
    found = Balance()
    found.compare(bar_rows(on_topic), bar_rows(bars), at_least=True)
    expected_bars = bar_rows(set(on_topic) if through_views or compacted else on_topic)
    found.compare(rows_of(tables["bars"], BAR_COLUMNS), expected_bars)
    found.compare(rows_of(tables["predictions"], IDENTITY), rows_of(predicted, IDENTITY))
    found.compare_prices(tables["predictions"], by_model)
    found.compare(rows_of(tables["skipped"], ["symbol", "as_of", "reason"]), warming_up(world))
    sent = predictions_on_topic(world)
    found.compare(rows_of(sent, IDENTITY), rows_of(predicted, IDENTITY), at_least=True)
    found.compare_prices(sent, by_model)
    found.without_leaders = int((tables["predictions"]["model_version"] == ALONE).sum())
    return found


def predictions_of(world: World, bars: list[Bar]) -> pd.DataFrame:
    """What each model says of each window that it can read."""
    market, registry = world.settings.market, world.settings.registry
    if market.width:
        return batch_predictions_with(market, bars, registry)
    return batch_predictions(bars, registry).assign(model_version=ALONE)


def market(until_ms: int) -> list[Bar]:
    """Every bar that ingest is to publish: those that close by `until_ms`."""
    source = Synthetic(SourceOptions(clock=Clock()))
    first_ms = int(FROM.timestamp() * 1000)
    return [bar for name in SYMBOLS for bar in source.stream(name, "1m", first_ms, until_ms)]


def warming_up(world: World) -> Rows:
    """The rows of `skipped`: the first bars of each symbol, as many as a window looks back."""
    first = int(FROM.timestamp() * 1000)
    closes = [first + (i + 1) * MINUTE_MS for i in range(world.settings.window.lookback)]
    return Counter((name, close, WARMING_UP) for name in SYMBOLS for close in closes)


def bar_rows(bars: Any) -> Rows:
    """Bars as rows of `BAR_COLUMNS`."""
    return Counter(tuple(getattr(bar, name) for name in BAR_COLUMNS) for bar in bars)


def rows_of(table: pd.DataFrame, columns: list[str]) -> Rows:
    """The rows of a table, how often each."""
    return Counter(table[columns].itertuples(index=False, name=None))


def tables_of(world: World, *, through_views: bool) -> dict[str, pd.DataFrame]:
    """The tables, their times in epoch ms as on the topics."""
    folder = world.disk.folder
    if not through_views:
        return {name: in_ms(pd.read_parquet(folder / name)) for name in TABLES}
    with open_duckdb(folder) as views:
        return {name: in_ms(views.execute(f"SELECT * FROM {name}").df()) for name in TABLES}


def in_ms(table: pd.DataFrame) -> pd.DataFrame:
    """The same with every time as epoch ms."""
    times = table.select_dtypes(["datetime", "datetimetz"])
    return table.assign(
        **{name: times[name].dt.as_unit("ms").astype("int64") for name in times.columns}
    )


def predictions_on_topic(world: World) -> pd.DataFrame:
    """Every message of the topic of the predictions."""
    kafka = world.settings.kafka
    messages = read_topic(kafka.bootstrap_servers, kafka.predictions_topic)
    return pd.DataFrame([json.loads(message) for message in messages])
