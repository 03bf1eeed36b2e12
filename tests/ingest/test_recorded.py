"""Recorded files: the three kinds, and rows that are no bars."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from conf.errors import ConfigurationError
from ingest.bar import Bar
from ingest.sources.recorded import read_bars

CSV = """time,open,high,low,close,volumefrom,volumeto
1514219880,10,12,9,11,1.5,16
1514219940,11,12,9,10,0,
1514220000,10,10,10,10,2,20
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bars.csv"
    path.write_text(text)
    return path


def rejected(path: Path) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    list(read_bars(path, "A-B", "1m", on_rejected=lambda b, why: found.append((b.open_time, why))))
    return found


def test_csv_gz_and_parquet_hold_the_same_bars(tmp_path: Path) -> None:
    plain = written(tmp_path, CSV)
    zipped = tmp_path / "bars.csv.gz"
    zipped.write_bytes(gzip.compress(CSV.encode()))
    parquet = tmp_path / "bars.parquet"
    pa.parquet.write_table(pa.csv.read_csv(plain), parquet)
    read = [
        [(b.open_time, b.close, b.base_volume, b.quote_volume) for b in read_bars(p, "A-B", "1m")]
        for p in (plain, zipped, parquet)
    ]
    assert read[0] == [
        (1514219880000, 11.0, 1.5, 16.0),
        (1514219940000, 10.0, 0.0, None),
        (1514220000000, 10.0, 2.0, 20.0),
    ]
    assert read[0] == read[1] == read[2]


def test_the_quote_volume_may_be_missing_altogether(tmp_path: Path) -> None:
    path = written(tmp_path, "time,open,high,low,close,volumefrom\n1514219880,1,1,1,1,0\n")
    assert [bar.quote_volume for bar in read_bars(path, "A-B", "1m")] == [None]


def test_a_row_that_breaks_a_rule_is_rejected_by_name_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = [
        "1514219880,10,12,9,11,1.5,16",
        "1514219940,8,12,9,10,1,1",  # open below low
        "1514219941,10,12,9,10,1,1",  # off the grid
        "1514220000,,12,9,10,1,1",  # no open
        ",10,12,9,10,1,1",  # no time
        "1514220060,10,12,9,10,-1,1",
        "1514220120,10,12,9,10,1,-1",
        "1514220180,10,12,9,10,1,1",
    ]
    path = written(tmp_path, "\n".join([CSV.splitlines()[0], *rows]))
    assert rejected(path) == [
        (1514219940000, "low must not exceed open"),
        (1514219941000, "open_time must lie on the interval's grid"),
        (1514220000000, "open must be positive and finite"),
        (-1000, "open_time must lie on the interval's grid"),
        (1514220060000, "base_volume must be finite and not negative"),
        (1514220120000, "quote_volume must be finite and not negative"),
    ]
    assert [b.open_time for b in read_bars(path, "A-B", "1m")] == [1514219880000, 1514220180000]


def test_a_rejected_bar_is_logged_where_nobody_asks_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, CSV.replace("10,10,10,10", "10,9,10,10"))
    assert len(list(read_bars(path, "A-B", "1m"))) == 2
    assert "event=bar_rejected symbol=A-B interval=1m open_time=1514220000000" in caplog.text


def test_vectorised_rules_judge_as_the_bar_itself_does(tmp_path: Path) -> None:
    path = written(tmp_path, CSV)
    assert all(bar.rejection_reason(now_ms=2**60) is None for bar in read_bars(path, "A-B", "1m"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("time,open\n1,2\n", "lacks high, low, close, volumefrom"),
        (CSV.replace("11,1.5", "eleven,1.5"), "holds no numbers"),
    ],
)
def test_a_file_of_another_form_is_refused_with_what_is_wrong(
    text: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        list(read_bars(written(tmp_path, text), "A-B", "1m"))


def test_a_missing_file_and_an_unknown_interval_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        list(read_bars(tmp_path / "none.csv", "A-B", "1m"))
    with pytest.raises(ConfigurationError, match="'7m' is none of"):
        list(read_bars(written(tmp_path, CSV), "A-B", "7m"))


@pytest.mark.parametrize(
    ("name", "symbol", "bars"),
    [
        ("btcusd_cryptocompare_cccagg_1m_2017-12", "BTC-USD", 3_660),
        ("ethusd_cryptocompare_cccagg_1m_2017-12", "ETH-USD", 3_655),
        ("btcusdt_binance_1m_10086rows_2024-12", "BTC-USDT", 10_086),
    ],
)
def test_every_shipped_bar_keeps_the_rules(
    name: str, symbol: str, bars: int, data_dir: Path
) -> None:
    path = data_dir / f"{name}.csv.gz"
    read: list[Bar] = list(read_bars(path, symbol, "1m"))
    assert len(read) == bars
    assert rejected(path) == []
