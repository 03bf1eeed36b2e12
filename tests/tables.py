"""Small warehouses with known content, written as the stream writes them."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from store.views import read_sql

START = datetime(2026, 1, 1)
MINUTE = timedelta(minutes=1)


def write(warehouse: Path, table: str, rows: pd.DataFrame, batch: str = "q-0") -> None:
    """One folder of a table; times to the microsecond, as Spark writes them."""
    folder = warehouse / table / f"batch={batch}"
    folder.mkdir(parents=True, exist_ok=True)
    times = dict.fromkeys(rows.select_dtypes(include=["datetime"]).columns, "datetime64[us]")
    rows.astype(times).to_parquet(folder / "part-0.parquet", index=False)


def read_board(warehouse: Path) -> pd.DataFrame:
    """The view `scoreboard`: empty before `candlecast score` has run."""
    order = "symbol, interval, horizon, model_version, backfilled, span"
    return read_sql(warehouse, f"SELECT * FROM scoreboard ORDER BY {order}")


def bars(
    close: list[float], symbol: str = "BTC-USD", start: datetime = START, fetched_s: float = 1.0
) -> pd.DataFrame:
    """Minutes in a row with these closes."""
    price = np.asarray(close, float)
    opened = pd.Series([start + i * MINUTE for i in range(len(price))])
    return pd.DataFrame(
        {
            "symbol": symbol,
            "interval": "1m",
            "open_time": opened,
            "open": price,
            "high": price * 1.001,
            "low": price * 0.999,
            "close": price,
            "base_volume": 1.0,
            "quote_volume": price,
            "source": "test",
            "fetched_at": opened + MINUTE + timedelta(seconds=fetched_s),
            "trades": 7,
            "taker_base_volume": 0.5,
            "taker_quote_volume": price / 2,
        }
    )


def predictions(
    close: list[float],
    predicted: list[float],
    horizon: int = 1,
    symbol: str = "BTC-USD",
    half_width: float = 0.001,
    version: str = "1m-1",
    predicted_after: timedelta = timedelta(seconds=2),
) -> pd.DataFrame:
    """What was predicted from each of the bars with these closes, one row a bar."""
    last = np.asarray(close, float)[: len(predicted)]
    as_of = pd.Series([START + (i + 1) * MINUTE for i in range(len(last))])
    guess = np.asarray(predicted, float)
    return pd.DataFrame(
        {
            "symbol": symbol,
            "interval": "1m",
            "as_of": as_of,
            "horizon": np.int32(horizon),
            "target_time": as_of + horizon * MINUTE,
            "last_close": last,
            "predicted_close": guess,
            "lower": guess * (1 - half_width),
            "upper": guess * (1 + half_width),
            "coverage": 0.9,
            "model_version": version,
            "query_id": "q",
            "batch_id": np.int64(0),
            "predicted_at": as_of + predicted_after,
        }
    )


def random_walk(count: int, seed: int) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, 0.001, count)
    return [float(x) for x in 100 * np.exp(np.cumsum(noise))]


def guesses(close: list[float], seed: int, size: float = 0.0005) -> list[float]:
    """Predictions that differ from the last price by noise, 0 for some."""
    noise = np.random.default_rng(seed).normal(0, size, len(close))
    noise[::17] = 0
    return [float(x) for x in np.asarray(close) * np.exp(noise)]
