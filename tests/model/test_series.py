import datetime as dt
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.errors import ConfigurationError, NotEnoughBars
from model.series import read_file
from store.series import read_warehouse

SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("interval", pa.string()),
        ("open_time", pa.timestamp("us", tz="UTC")),
        *[(n, pa.float64()) for n in ("open", "high", "low", "close", "base_volume")],
        ("quote_volume", pa.float64()),
        ("source", pa.string()),
        ("fetched_at", pa.timestamp("us", tz="UTC")),
    ]
)


def _row(minute: int, close: float, fetched: int = 0, symbol: str = "BTC-USD") -> dict[str, object]:
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    return {
        "symbol": symbol,
        "interval": "1m",
        "open_time": start + dt.timedelta(minutes=minute),
        "open": close,
        "high": close,
        "low": close,
        "close": close,
        "base_volume": 1.0,
        "quote_volume": None,
        "source": "test",
        "fetched_at": start + dt.timedelta(days=1, minutes=fetched),
    }


def _write(folder: Path, batch: str, *rows: dict[str, object]) -> None:
    target = folder / "bars" / batch
    target.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), target / "part.parquet")


def test_the_newest_version_of_a_bar_wins(tmp_path: Path) -> None:
    _write(tmp_path, "batch=q-0", _row(0, 10.0), _row(1, 11.0, fetched=5))
    _write(tmp_path, "batch=q-1", _row(1, 99.0, fetched=2), _row(0, 12.0, fetched=9))
    (series,) = read_warehouse(tmp_path, "1m")
    assert series.close.tolist() == [12.0, 11.0]
    assert series.first_open_time == 1_704_067_200_000


def test_a_missing_bar_is_a_row_of_nan(tmp_path: Path) -> None:
    _write(tmp_path, "batch=q-0", _row(0, 10.0), _row(3, 11.0))
    (series,) = read_warehouse(tmp_path, "1m")
    np.testing.assert_array_equal(series.close, [10.0, np.nan, np.nan, 11.0])
    assert series.n_present == 2


def test_bars_from_the_given_time_on_are_left_out(tmp_path: Path) -> None:
    _write(tmp_path, "batch=q-0", _row(0, 10.0), _row(1, 11.0))
    (series,) = read_warehouse(tmp_path, "1m", until_ms=1_704_067_260_000)
    assert series.close.tolist() == [10.0]


def test_a_batch_still_being_written_is_not_read(tmp_path: Path) -> None:
    _write(tmp_path, "batch=q-0", _row(0, 10.0))
    _write(tmp_path, "_writing-q-1", _row(1, 11.0))
    (series,) = read_warehouse(tmp_path, "1m")
    assert series.close.tolist() == [10.0]


def test_each_symbol_is_a_series(tmp_path: Path) -> None:
    _write(tmp_path, "batch=q-0", _row(0, 10.0), _row(0, 2.0, symbol="ETH-USD"))
    assert [s.symbol for s in read_warehouse(tmp_path, "1m")] == ["BTC-USD", "ETH-USD"]
    assert [s.symbol for s in read_warehouse(tmp_path, "1m", ["ETH-USD"])] == ["ETH-USD"]


def test_a_symbol_without_bars_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "batch=q-0", _row(0, 10.0))
    with pytest.raises(NotEnoughBars, match="no 1m bars of LTC-USD"):
        read_warehouse(tmp_path, "1m", ["LTC-USD"])


def test_an_empty_warehouse_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughBars, match="run the stream"):
        read_warehouse(tmp_path, "1m")


def test_a_recorded_file_is_laid_out_on_the_grid(tmp_path: Path) -> None:
    file = tmp_path / "x.csv.gz"
    lines = "time,open,high,low,close,volumefrom,volumeto\n60,1,2,1,2,5,\n180,2,3,2,3,5,9\n"
    file.write_bytes(gzip.compress(lines.encode()))
    series = read_file(file, "BTC-USD", "1m")
    assert series.first_open_time == 60_000
    np.testing.assert_array_equal(series.close, [2.0, np.nan, 3.0])
    np.testing.assert_array_equal(series.bars[:, 5], [np.nan, np.nan, 9.0])


def test_a_file_with_another_header_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.csv.gz"
    file.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(ConfigurationError, match="expected time,open"):
        read_file(file, "BTC-USD", "1m")
