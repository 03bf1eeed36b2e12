"""A warehouse of weeks or a year, as the stream and its compaction leave it, made in minutes.

Random walks, and what the registry's champion predicts of them. The newest minutes lie in a folder
a minute, through the Parquet sink's own writer; the days before them in one folder a day, in the
order of rows of compaction's own days.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from conf.timeframes import TIMEFRAME_MS
from model.forecast import Forecaster
from model.layout import BAR_COLUMNS
from store.files import BATCH
from store.periods import Period
from store.schema import BARS, PREDICTIONS, STREAM_TABLES
from stream.forecast_udf import columns_of, prediction_table
from stream.to_parquet import as_stored, write_rows

Floats = NDArray[np.float64]
MINUTE_MS: Final = TIMEFRAME_MS["1m"]
DAY_MS: Final = TIMEFRAME_MS["1d"]
SEED: Final = 8
# How long after a bar's close it is fetched, and then predicted.
FETCHED_AFTER_MS: Final = 2_000
PREDICTED_AFTER_MS: Final = 3_000
# Kept of the bars before a piece, so that its first bar has a window.
CONTEXT_BARS: Final = 200


@dataclass
class Market:
    """Minutes of some symbols from `first_ms` (epoch ms) on, made piece by piece in time."""

    names: list[str]
    first_ms: int
    made: int = 0

    def __post_init__(self) -> None:
        self._log_open = np.full(len(self.names), np.log(100.0))
        self._moves, self._reaches, self._trades = (
            np.random.default_rng((SEED, part)) for part in range(3)
        )

    def next(self, minutes: int) -> Floats:
        """The next bars (n_symbols, minutes, 6); the same in small pieces and in large ones."""
        shape = (minutes, len(self.names))
        log_close = self._log_open + np.cumsum(self._moves.normal(0, 1e-3, shape), axis=0)
        log_open = np.vstack([self._log_open, log_close[:-1]])
        reach = np.abs(self._reaches.normal(0, 3e-4, (*shape, 2)))
        high = np.exp(np.maximum(log_open, log_close) + reach[..., 0])
        low = np.exp(np.minimum(log_open, log_close) - reach[..., 1])
        volume = self._trades.lognormal(0, 1, shape)
        close = np.exp(log_close)
        self._log_open = log_close[-1]
        self.made += minutes
        quote_volume = volume * (high + low + 2 * close) / 4
        columns = (np.exp(log_open), high, low, close, volume, quote_volume)
        return np.stack(columns, axis=2).transpose(1, 0, 2)


class Recorder:
    """Lays a market's bars down in `folder`, predicted by `forecaster` once there is one.

    `query` is the name of the query that would have written them.
    """

    def __init__(self, folder: Path, market: Market, query: str = "soak") -> None:
        self.forecaster: Forecaster | None = None
        self._folder = folder
        self._market = market
        self._query = query
        self._before = np.empty((len(market.names), 0, BAR_COLUMNS))

    def lay_days(self, days: int) -> None:
        """The next days, in one folder a day each."""
        for _ in range(days):
            day = Period.of(datetime.fromtimestamp(self._now_ms / 1000, UTC), "day")
            for name, rows in self._piece(DAY_MS // MINUTE_MS).items():
                table = STREAM_TABLES[name]
                order = [(column, "ascending") for column in (*table.identity[:2], table.time)]
                place = self._folder / name / f"{BATCH}{day.folder(0)}"
                place.mkdir(parents=True)
                ordered = as_stored(rows.sort_by(order), table.stored)
                pq.write_table(ordered, place / "part-0.parquet", compression="zstd")

    def lay_minutes(self, minutes: int, folder: Path | None = None) -> None:
        """The next minutes, in a folder a minute each; in `folder`, where it is given."""
        first = self._market.made
        for name, rows in self._piece(minutes).items():
            table, root = STREAM_TABLES[name], (folder or self._folder) / name
            a_minute = len(rows) // minutes
            for minute in range(minutes):
                part = rows.slice(minute * a_minute, a_minute)
                staged = write_rows([part], table.stored, f"file:{root}", "_writing-")
                (root / str(staged)).rename(root / f"{BATCH}{self._query}-{first + minute}")

    @property
    def _now_ms(self) -> int:
        return self._market.first_ms + self._market.made * MINUTE_MS

    def _piece(self, minutes: int) -> dict[str, pa.Table]:
        """The rows of the next minutes by table, packed as the stream packs them, in time order."""
        closes = self._now_ms + (np.arange(minutes) + 1) * MINUTE_MS
        bars = np.concatenate([self._before, self._market.next(minutes)], axis=1)
        self._before = bars[:, -CONTEXT_BARS:]
        found = {BARS.name: self._bars(bars[:, -minutes:], closes)}
        if self.forecaster is not None:
            found[PREDICTIONS.name] = self._predicted(self.forecaster, bars, closes)
        return found

    def _bars(self, bars: Floats, closes: NDArray[np.int64]) -> pa.Table:
        names = ("open", "high", "low", "close", "base_volume", "quote_volume")
        by_minute = bars.transpose(1, 0, 2).reshape(-1, BAR_COLUMNS)
        closed = np.repeat(closes, len(self._market.names))
        known: dict[str, Any] = {name: pa.array(by_minute[:, i]) for i, name in enumerate(names)}
        known |= {
            "symbol": self._symbols(len(closes)),
            "interval": pa.repeat("1m", len(closed)),
            "source": pa.repeat("soak", len(closed)),
            "open_time": pa.array(closed - MINUTE_MS),
            "fetched_at": pa.array(closed + FETCHED_AFTER_MS),
        }
        unknown = pa.nulls(len(closed))
        columns = [known.get(field.name, unknown).cast(field.type) for field in BARS.packed]
        return pa.table(columns, schema=BARS.packed)

    def _symbols(self, minutes: int) -> pa.Array:
        """The name of each row of so many minutes."""
        return pa.array(np.tile(np.array(self._market.names, dtype=object), minutes))

    def _predicted(
        self, forecaster: Forecaster, bars: Floats, closes: NDArray[np.int64]
    ) -> pa.Table:
        """What the stream would have predicted of the closes' bars, each in its minute."""
        count, length, _ = bars.shape
        ends = np.arange(length - len(closes), length)[:, None] + np.arange(count) * length
        forecast = forecaster.predict(bars.reshape(-1, BAR_COLUMNS), ends.ravel())
        windows = pa.table(
            {"symbol": self._symbols(len(closes)), "as_of": np.repeat(closes, count)}
        )
        rows = prediction_table(
            "1m", forecaster, windows, columns_of(forecast), (self._query, 0), "how far"
        )
        closed = rows["as_of"].to_numpy()
        for name, values in (
            ("batch_id", closed // MINUTE_MS),
            ("predicted_at", closed + PREDICTED_AFTER_MS),
        ):
            rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))
        return rows.select(PREDICTIONS.packed.names).cast(PREDICTIONS.packed)


def publish(staged: Path, folder: Path) -> None:
    """Move the batch folders of `staged` into the warehouse in `folder`, as a micro-batch would."""
    for batch in sorted(staged.glob(f"*/{BATCH}*")):
        batch.rename(folder / batch.parent.name / batch.name)


def folders(folder: Path) -> dict[str, int]:
    """How many batch folders each table has."""
    return {
        path.name: sum(1 for _ in path.glob(f"{BATCH}*"))
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith("_")
    }
