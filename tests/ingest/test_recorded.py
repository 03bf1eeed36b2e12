"""Recorded files: rows that are no bars, and files that are no recordings."""

import gzip
import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfigurationError
from ingest.bar import Bar
from ingest.publish import rejection_record
from ingest.recorded.bars import read_recorded
from ingest.recorded.tables import Lines, text_blocks
from ingest.sources.recorded import read_bars
from ingest.sources.recorded_news import read_headlines

CSV = """time,open,high,low,close,volumefrom,volumeto
1514219880,10,12,9,11,1.5,16
1514219940,11,12,9,10,0,
1514220000,10,10,10,10,2,20
"""
TIMES = ["1514219880", "1514219940", "1514220000"]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bars.csv"
    path.write_text(text)
    return path


def rejected(path: Path) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    list(read_bars(path, "A-B", "1m", on_rejected=lambda b, why: found.append((b.open_time, why))))
    return found


def test_the_quote_volume_may_be_missing_altogether(tmp_path: Path) -> None:
    path = written(tmp_path, "time,open,high,low,close,volumefrom\n1514219880,1,1,1,1,0\n")
    assert [bar.quote_volume for bar in read_bars(path, "A-B", "1m")] == [None]


def test_a_row_that_breaks_a_rule_is_rejected_by_name_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = [
        *(f"{1514219880 + 60 * minute},10,12,9,11,1.5,16" for minute in range(12)),
        "1514229940,8,12,9,10,1,1",  # open below low
        "1514229941,10,12,9,10,1,1",  # off the grid
        "1514230000,,12,9,10,1,1",  # no open
        "1514230060,ten,12,9,10,1,1",
        ",10,12,9,10,1,1",  # no time
        "soon,10,12,9,10,1,1",
        "1514230120,10,12,9,10,-1,1",
        "1514230140,10,12,9,10,1,-1",
        "15142302",  # cut off
    ]
    path = written(tmp_path, "\n".join([CSV.splitlines()[0], *rows]))
    assert sorted(rejected(path)) == [
        (-1, "a row must have as many cells as the others"),
        (-1, "time must be unix time or a date"),
        (-1, "time must be unix time or a date"),
        (1514229940000, "low must not exceed open"),
        (1514229941000, "open_time must lie on the interval's grid"),
        (1514230000000, "open must be a number from 1e-30 to 1e+30"),
        (1514230060000, "open must be a number from 1e-30 to 1e+30"),
        (1514230120000, "base_volume must be a number from 0 to 1e+30"),
        (1514230140000, "quote_volume must be a number from 0 to 1e+30"),
    ]
    assert len(list(read_bars(path, "A-B", "1m"))) == 12


def test_a_rejected_row_says_where_it_stood(tmp_path: Path) -> None:
    path = written(tmp_path, "# from example.org\n" + CSV.replace("10,10,10,10", "10,9,10,10"))
    found: list[str] = []
    list(read_bars(path, "A-B", "1m", on_rejected=lambda bar, _: found.append(bar.source)))
    assert found == ["recorded:bars.csv:5"]


def test_of_several_rows_of_one_time_the_last_good_one_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = "1514219880,10,12,9,9.5,1.5,16\n1514219880,10,12,9,99,1.5,16\n"
    read = list(read_bars(written(tmp_path, CSV + more), "A-B", "1m"))
    assert [bar.close for bar in read] == [9.5, 10.0, 10.0]
    assert "bars=3 rejected=1 doubles=1" in caplog.text


def test_a_row_without_prices_is_a_gap_and_no_fault(tmp_path: Path) -> None:
    path = written(tmp_path, CSV + "1514220060,NaN,NaN,NaN,NaN,NaN,NaN\n1514220120,,,,,0,0\n")
    assert len(list(read_bars(path, "A-B", "1m"))) == 3
    assert rejected(path) == []


@pytest.mark.parametrize("kind", ["uint64", "int64", "uint32", "int32", "float64", "decimal128"])
def test_a_time_may_be_a_number_of_any_kind(kind: str, tmp_path: Path) -> None:
    of = pa.decimal128(20, 3) if kind == "decimal128" else pa.type_for_alias(kind)
    unit = 1 if kind.endswith("32") else 1_000
    times = [None, 1514219880 * unit, 1514219940 * unit]
    columns = {name: [1.0] * 3 for name in ("open", "high", "low", "close", "volume")}
    pq.write_table(pa.table({"time": pa.array(times, of), **columns}), tmp_path / "a.parquet")
    recorded = read_recorded(tmp_path / "a.parquet", "A-B", "1m")
    assert recorded.good.open_time.tolist() == [1514219880000, 1514219940000]


def test_a_time_beyond_64_bits_is_none(tmp_path: Path) -> None:
    times = pa.array([1514219880, 2**63, 2**64 - 1, 1514219940], pa.uint64())
    columns = {name: [1.0] * 4 for name in ("open", "high", "low", "close", "volume")}
    pq.write_table(pa.table({"time": times, **columns}), tmp_path / "a.parquet")
    assert rejected(tmp_path / "a.parquet") == [(-1, "time must be unix time or a date")] * 2


@pytest.mark.parametrize("twice", ["open", "time", "Volume USDT"])
def test_two_columns_of_one_name_are_refused_by_name(twice: str, tmp_path: Path) -> None:
    names = ["time", "open", "high", "low", "close", "Volume BTC", "Volume USDT", "note", "note"]
    names.append(twice)
    cells = [1514219880, *[1.0] * 9]
    text = written(tmp_path, f"{','.join(names)}\n{','.join(map(str, cells))}\n")
    packed = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([cell]) for cell in cells], names), packed)
    for path in (text, packed):
        with pytest.raises(
            ConfigurationError, match=f"column {twice}: expected one of that name, found 2"
        ):
            read_recorded(path, "BTC-USDT", "1m")


def test_a_files_name_is_sent_with_replacements_where_it_is_no_utf_8(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / os.fsdecode(b"M\xe4rz.csv")
    path.write_text(CSV.replace("10,10,10,10", "10,9,10,10"))
    found: list[Bar] = []
    good = list(read_bars(path, "A-B", "1m", on_rejected=lambda bar, _: found.append(bar)))
    assert [Bar.from_json(bar.to_json()).source for bar in good] == ["recorded:M\ufffdrz.csv"] * 2
    record = rejection_record("bars.rejected", found[0], "high", 0)
    assert json.loads(record.value)["source"] == "recorded:M\ufffdrz.csv:4"
    assert "file=M\ufffdrz.csv" in caplog.text
    path.write_bytes(b"time,title,source,subject\n1634068800,M\xe4rz,b,bitcoin\n")
    (article,) = read_headlines(path, 0)
    assert json.loads(article.to_json())["title"] == "M\ufffdrz"


def test_a_bar_that_has_not_ended_is_rejected(tmp_path: Path) -> None:
    found: list[str] = []
    path = written(tmp_path, CSV)
    read = read_bars(
        path, "A-B", "1m", now_ms=1514220000000, on_rejected=lambda _, why: found.append(why)
    )
    assert len(list(read)) == 2
    assert found == ["the bar must be closed, not in the future"]


def test_a_rejected_bar_is_logged_where_nobody_asks_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, CSV.replace("10,10,10,10", "10,9,10,10"))
    assert len(list(read_bars(path, "A-B", "1m"))) == 2
    assert "event=bar_rejected symbol=A-B interval=1m open_time=1514220000000" in caplog.text


def test_vectorised_rules_judge_as_the_bar_itself_does(tmp_path: Path) -> None:
    path = written(tmp_path, CSV)
    assert all(bar.rejection_reason(now_ms=2**60) is None for bar in read_bars(path, "A-B", "1m"))


@given(
    st.lists(st.text(st.sampled_from('",;|1 #x\0\xe9€'), max_size=8), max_size=6),
    st.sampled_from(",;|\t"),
    st.sampled_from(["utf-8", "latin-1", "utf-16"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_whatever_stands_in_a_line_each_other_line_is_read(
    odd: list[str], delimiter: str, encoded: str, end: str
) -> None:
    head, *good = [line.replace(",", delimiter) for line in CSV.splitlines()]
    text = end.join([head, good[0], *odd, *good[1:]])
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(text.encode(encoded, "replace"))
        lines = Lines()
        blocks = list(text_blocks(Path(file.name), "A-B", lines))
    times = [time for block in blocks for time in block["time"].to_pylist()]
    assert len(times) + len(lines.ragged) + len(lines.notes) == len(good) + len(odd)
    assert [time for time in times if time in TIMES] == TIMES


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("written_as", "price"),
    [
        *(("0,123", 0.123), ("0,5", 0.5), ("1.234,5", 1234.5), ("12,3456", 12.3456)),
        *(("1,234.5", 1234.5), ("1,234,567", 1234567.0), ("0.123", 0.123), ("1,234", None)),
    ],
)
def test_a_comma_means_the_same_whatever_stands_between_cells(
    delimiter: str, written_as: str, price: float | None, tmp_path: Path
) -> None:
    cells = ['"1514219880"', *[f'"{written_as}"'] * 5]
    head = CSV.splitlines()[0].split(",")[:6]
    path = written(tmp_path, "\n".join(map(delimiter.join, [head, cells])))
    if price is None:
        with pytest.raises(ConfigurationError, match="before the decimals or between thousands"):
            read_recorded(path, "A-B", "1m")
    else:
        values = read_recorded(path, "A-B", "1m").good.values
        assert [values["open"].tolist(), values["base_volume"].tolist()] == [[price], [price]]


@pytest.mark.parametrize(("price", "among"), [("0,5", ";"), ("0.5", ";"), ("0.5", ",")])
@pytest.mark.parametrize(
    ("volume", "amount"),
    [("12.5", 12.5), ("12,5", 12.5), ("0,123", 0.123), ("0.123", 0.123), ("1,2,3", None)],
)
def test_a_number_that_can_mean_one_thing_alone_means_that_whatever_the_others_are(
    price: str, among: str, volume: str, amount: float | None, tmp_path: Path
) -> None:
    rows = [["1514219880", *[price] * 5], ["1514219940", *[price] * 4, volume]]
    lines = [CSV.splitlines()[0].split(",")[:6], *[[f'"{cell}"' for cell in row] for row in rows]]
    path = written(tmp_path, "\n".join(map(among.join, lines)))
    found = read_recorded(path, "A-B", "1m").good.values
    assert found["open"][0] == found["base_volume"][0] == 0.5
    assert found["base_volume"][1:].tolist() == ([] if amount is None else [amount])


@pytest.mark.parametrize("line", [100, 9_999])
@pytest.mark.parametrize("before", ["", "1", "10,12,9,11,"])
def test_a_quote_that_none_closes_costs_its_own_line(
    before: str, line: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"{1514219880 + 60 * minute},10,12,9,11,1.5,16,note" for minute in range(10_000)]
    rows[line - 2] = rows[line - 2].replace(f",{before}", f',{before}"', 1)
    path = written(tmp_path, "\n".join([CSV.splitlines()[0] + ",note", *rows]))
    good = list(read_bars(path, "A-B", "1m"))
    assert len(good) == 9_999
    assert f'bars=9999 rejected=1 doubles=0 first="line {line}: ' in caplog.text


def of_several(tmp_path: Path, column: str, names: Sequence[str]) -> Path:
    """A file of a bar for each name, the n-th of price n."""
    rows = [f"{name},1514219880,{n},{n},{n},{n},{n}" for n, name in enumerate(names, 1)]
    return written(tmp_path, "\n".join([f"{column},time,open,high,low,close,volume", *rows]))


@pytest.mark.parametrize(
    ("names", "symbol", "chosen"),
    [
        (("BTCB-USD", "BTC-BUSD"), "BTC-BUSD", 2),
        (("btc-usdt", "BTC-USDT", "BTCUSDT"), "BTC-USDT", 2),
        (("ETHUSDT", "BTCUSDT"), "BTC-USDT", 2),
        (("ETH/USDT", " btc/usdt "), "BTC-USDT", 2),
        (("BTC-USDT", "KRAKEN:BTC-USDT"), "KRAKEN:BTC-USDT", 2),
        (("ETH-USDT", "BTC-USDT"), "KRAKEN:BTC-USDT", 2),
        (("BTC-USDT", "BTC/USDT:USDT"), "KRAKEN:BTC-USDT:USDT", 2),
        (("BTCB/USD", "BTC/BUSD"), "BTC-BUSD", "BTC-BUSD among several, found BTC/BUSD, BTCB/USD"),
        (("btc-usdt", "BTCUSDT"), "BTC-USDT", "BTC-USDT among several, found BTCUSDT, btc-usdt"),
        (("BTC-USDT:USDT", "ETH-USDT"), "BTC-USDT", "among several, found BTC-USDT:USDT, ETH-U"),
    ],
)
def test_of_several_symbols_the_one_that_is_asked_for_is_read(
    names: tuple[str, ...], symbol: str, chosen: int | str, tmp_path: Path
) -> None:
    path = of_several(tmp_path, "symbol", names)
    if isinstance(chosen, str):
        with pytest.raises(ConfigurationError, match=f"column symbol: expected .*{chosen}"):
            read_recorded(path, symbol, "1m")
    else:
        assert read_recorded(path, symbol, "1m").good.values["open"].tolist() == [chosen]


@pytest.mark.parametrize("names", [("1M", "1m"), ("1h", "1M", "1m"), ("5m", "1M", "1min", "1 m")])
def test_a_month_is_no_minute(names: tuple[str, ...], tmp_path: Path) -> None:
    path = of_several(tmp_path, "interval", names)
    assert read_recorded(path, "A-B", "1m").good.values["open"].tolist() == [len(names)]
    with pytest.raises(ConfigurationError, match="column interval: expected 15m among several"):
        read_recorded(path, "A-B", "15m")


@pytest.mark.parametrize("symbol", ["BTC-USDT", "BTC-USDT:USDT", "K:BTC-USDT", "K:BTC-USDT:BTC"])
@pytest.mark.parametrize("form", ["Volume {}", "volume_{}", "Volume ({})"])
def test_a_volume_is_of_the_coin_that_its_column_names(
    symbol: str, form: str, tmp_path: Path
) -> None:
    for coins in (("BTC", "USDT"), ("USDT", "BTC")):
        names = ",".join(map(form.format, coins))
        cells = ",".join("15000" if coin == "USDT" else "1.5" for coin in coins)
        path = written(tmp_path, f"time,open,high,low,close,{names}\n1514219880,1,1,1,1,{cells}\n")
        values = read_recorded(path, symbol, "1m").good.values
        assert [values["base_volume"][0], values["quote_volume"][0]] == [1.5, 15000.0]
    path = written(
        tmp_path, f"time,open,high,low,close,{form.format('USDT')}\n1514219880,1,1,1,1,9"
    )
    with pytest.raises(ConfigurationError, match="line 1: lacks volume"):
        read_recorded(path, symbol, "1m")


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name in names:
            zipped.writestr(name, CSV)
    return file.getvalue()


def hourly(unit: int) -> bytes:
    rows = "".join(f"{(1514217600 + 3600 * h) * unit},1,1,1,1,1\n" for h in range(5))
    return f"time,open,high,low,close,volume\n{rows}".encode()


REFUSED = {
    "empty": (b"", "line 1: expected a header or a row; the file is empty"),
    "blank": (b"\n\n", "line 1: expected a header or a row; the file is empty"),
    "a page": (b"<!DOCTYPE html>\n<p>Sign in\n", "line 1: expected a header such as time,open"),
    "JSON": (b'[[1514219880000,"1","1","1","1","1"]]', "line 1: expected a header such as"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "line 1: expected a header such as"),
    "no bars": (CSV.splitlines()[0].encode(), "line 2: expected a row, found the end"),
    "columns lacking": (b"# a\ntime,open\n1,2\n", "line 2: lacks high, low, close, volume; found"),
    "prices alone": (
        b"snapped_at,price,market_cap,total_volume\n2021-01-01 00:00:00 UTC,1,1,1\n",
        "line 1: expected a header such as time,open.*found 'snapped_at,price",
    ),
    "too few cells": (b"1514219880,1,1,1,1\n", "line 1: expected a header, or 6, 7, 12 cells"),
    "a comma of thousands or of decimals": (
        CSV.replace(",", ";").replace("10;", "10,500;").encode(),
        "line 2: 10,500 has a comma before the decimals or between thousands; expected prices",
    ),
    "day or month first": (
        CSV.replace("1514219880", "02/01/2018 00:00")
        .replace("1514219940", "02/01/2018 00:01")
        .replace("1514220000", "02/01/2018 00:02")
        .encode(),
        "02/01/2018 00:00 may have the day or the month first",
    ),
    "hours as minutes": (hourly(1), "expected bars of 1m, found bars of 1h"),
    "hours in ns as minutes": (hourly(10**9), "expected bars of 1m, found bars of 1h"),
    "other symbols": (
        b"symbol,time,open,high,low,close,volume\nC-D,1514219880,1,1,1,1,1\nE-F,1514219880,1,1,1,1,1",
        "column symbol: expected A-B among several, found C-D, E-F",
    ),
    "times cut by a spreadsheet": (
        CSV.replace("1514219880", "1.5E+12")
        .replace("1514219940", "1.5E+12")
        .replace("1514220000", "1.5E+12")
        .encode(),
        "found 1, beside 0 rows that are none and 2 that repeat a time",
    ),
    "two files in a zip": (
        archive("a.csv", "b.csv"),
        "one CSV file in the archive, found a.csv, b",
    ),
    "a spreadsheet": (archive("xl/workbook.xml"), "one CSV file in the archive, found xl/workbook"),
    "half a gzip": (gzip.compress(CSV.encode())[:40], "can't be read"),
    "half a zip": (archive("a.csv")[:60], "can't be read"),
    "Parquet's beginning": (b"PAR1 and nothing else", "can't be read"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_of_another_form_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    content, reason = REFUSED[what]
    path = tmp_path / "bars.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as refused:
        list(read_bars(path, "A-B", "1m"))
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_a_timeframe_two_times_at_least_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("time,open,high,low,close,volume\n" + "noon,1,1,1,1,1\n" * 3)
    with pytest.raises(ConfigurationError, match=r"expected two bars or more.*found 0"):
        read_recorded(path, "A-B")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Is a directory"):
        list(read_bars(tmp_path, "A-B", "1m"))


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


def test_one_bad_headline_costs_itself_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "news.csv"
    rows = ["1634068800,a,b,bitcoin", "soon,a,b,c", "1634068801,a", "1634068802,a,b,ethereum"]
    file.write_text("\n".join(["time,title,source,subject", *rows]))
    assert [a.published_at for a in read_headlines(file, 0)] == [1634068800000, 1634068802000]
    assert caplog.text.count("event=headline_rejected file=news.csv line=") == 2
    file.write_bytes(gzip.compress(b"time,title\n1,a\n"))
    with pytest.raises(ConfigurationError, match="lacks source, subject"):
        list(read_headlines(file, 0))
