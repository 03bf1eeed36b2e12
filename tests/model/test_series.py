import datetime as dt
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.errors import NotEnoughBars
from conf.sections import Market
from conf.settings import Settings
from model.dataset import Span, covered, newest_share, windows_of
from model.news import ScoredArticles, with_news
from model.series import LONGEST_GAP_BARS, Series, newest_bars, on_grid
from store.recorded import read_file
from store.series import read_polled, read_warehouse
from tests.synthetic import START, random_bars

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


def with_odd_bars(odd: list[int], count: int = 300) -> tuple[Series, Series]:
    """A series of minutes from START on, without and with bars at other times."""
    bars, times = random_bars(count, seed=5), [START + i * 60_000 for i in range(count)]
    before = [time for time in odd if time < START]
    after = [time for time in odd if time > START]
    rows = np.concatenate([bars[: len(before)], bars, bars[: len(after)]])
    return on_grid("A-B", "1m", times, bars), on_grid("A-B", "1m", [*before, *times, *after], rows)


ODD = {
    "1970": [0],
    "2100": [4_102_444_800_000],
    "two eras": [0, 60_000, 946_684_800_000, 4_102_444_800_000],
    "a bar a year": [year * 31_557_600_000 // 60_000 * 60_000 for year in range(47)],
    "a gap just too long": [START + (300 + LONGEST_GAP_BARS + 1) * 60_000],
    "a gap that stays": [START + (300 + LONGEST_GAP_BARS) * 60_000],
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_bars_of_other_years_cost_a_bounded_number_of_rows_and_change_no_window(
    odd: list[int],
) -> None:
    plain, cut = with_odd_bars(odd)
    assert len(cut.bars) <= 300 + len(odd) * (1 + LONGEST_GAP_BARS)
    assert cut.n_present == 300 + len(odd)
    part = Span(0, 10**13)
    expected, found = (windows_of([one], part, 16, (1, 5)) for one in (plain, cut))
    np.testing.assert_array_equal(found.end_times, expected.end_times)
    np.testing.assert_array_equal(found.features(), expected.features())
    np.testing.assert_array_equal(found.targets, expected.targets)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_rows_and_times_tell_the_same_on_both_sides_of_a_cut(odd: list[int]) -> None:
    _, cut = with_odd_bars(odd)
    rows = np.arange(len(cut.bars))
    times = cut.close_times(rows)
    assert (np.diff(times) > 0).all()
    np.testing.assert_array_equal(cut.rows_closing(times), rows)
    opens = cut.open_times(np.flatnonzero(~np.isnan(cut.close)))
    assert opens.tolist() == sorted([*odd, *(START + i * 60_000 for i in range(300))])
    assert cut.end_time == opens[-1] + 60_000
    for time in (opens[0], START, START + 60_000, opens[-1], cut.end_time):
        assert cut.until(int(time)).n_present == np.count_nonzero(opens + 60_000 <= time)


def test_a_time_within_a_cut_has_a_row_without_a_bar() -> None:
    _, cut = with_odd_bars([0])
    rows = cut.rows_closing(np.array([60_000, 10**11, START, START + 60_000]))
    assert np.isnan(cut.close[rows]).tolist() == [False, True, True, False]


def test_news_fall_on_their_own_side_of_a_cut() -> None:
    _, cut = with_odd_bars([0])
    articles = ScoredArticles.of(
        [(time, (), 0.5, 1.0) for time in (30_000, 10**11, START + 90_000)]
    )
    count = with_news(cut, articles).bars[:, 6]
    there = cut.open_times(np.flatnonzero(count))
    assert there.tolist() == [0, START + 60_000]


def test_a_share_of_the_time_is_one_of_the_time_in_which_there_are_bars() -> None:
    plain, cut = with_odd_bars([0])
    part = Span(0, cut.end_time)
    assert newest_share(covered([plain], part), 0.2) == START + 240 * 60_000
    assert newest_share(covered([cut], part), 0.2) == START + 240 * 60_000 - 12_000


NAMES = ("A-B", "C-D")


def settings_of(folder: Path, symbols: list[str], max_bars: int = 100) -> Settings:
    base = Settings()
    return base.model_copy(
        update={
            "warehouse": base.warehouse.model_copy(update={"dir": str(folder)}),
            "ingest": base.ingest.model_copy(update={"symbols": symbols}),
            "training": base.training.model_copy(update={"max_bars": max_bars}),
        }
    )


@pytest.mark.parametrize(
    ("max_bars", "expected"),
    [(1, []), (3, [1, 1, 1]), (4, [1, 1, 1]), (5, [2, 2, 1]), (9, [3, 3, 2])],
)
def test_the_newest_bars_of_all_series_are_read_and_no_more(
    tmp_path: Path, max_bars: int, expected: list[int]
) -> None:
    rows = [_row(minute, 10.0, symbol=name) for name in ("A-B", "C-D") for minute in (0, 7, 9)]
    _write(tmp_path, "batch=q-0", *rows, _row(8, 1.0, symbol="E-F"), _row(1, 1.0, symbol="E-F"))
    settings = settings_of(tmp_path, ["A-B", "C-D", "E-F"], max_bars)
    if not expected:
        with pytest.raises(NotEnoughBars):
            read_polled(settings, "1m")
        return
    found = read_polled(settings, "1m")
    assert [one.n_present for one in found] == expected
    everything = read_warehouse(tmp_path, "1m")
    cut = newest_bars(everything, max_bars)
    assert [one.first_open_time for one in cut] == [one.first_open_time for one in found]
    assert [one.n_present for one in cut] == expected


def test_bars_of_leaders_are_read_beside_a_series_be_they_asked_for_or_not(tmp_path: Path) -> None:
    rows = [
        _row(minute, 1.0 + at, symbol=name) for minute in (0, 1) for at, name in enumerate(NAMES)
    ]
    _write(tmp_path, "batch=q-0", *rows)
    base = settings_of(tmp_path, list(NAMES))
    market = Market(leaders=["A-B", "NEW-COIN"])
    settings = base.model_copy(update={"market": market})
    (found,) = read_polled(settings, "1m", ["C-D"])
    assert found.leaders == ("A-B", "NEW-COIN")
    assert found.bars[:, [3, 9]].tolist() == [[2.0, 1.0], [2.0, 1.0]]
    assert np.isnan(found.bars[:, 12:]).all()


def test_a_model_learns_from_symbols_that_are_polled_and_from_no_others(tmp_path: Path) -> None:
    _write(tmp_path, "batch=q-0", _row(0, 1.0, symbol="A-B"), _row(0, 1.0, symbol="SPAM-X"))
    found = read_polled(settings_of(tmp_path, ["a-b", "NEW-COIN"]), "1m")
    assert [one.symbol for one in found] == ["A-B"]
    named = read_polled(settings_of(tmp_path, ["A-B"]), "1m", ["SPAM-X"])
    assert [one.symbol for one in named] == ["SPAM-X"]
    with pytest.raises(NotEnoughBars, match=r"of BTC-USD in .*, only of A-B, SPAM-X: set"):
        read_polled(settings_of(tmp_path, ["BTC-USD"]), "1m")


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_the_bars_since_a_time_keep_their_times(odd: list[int]) -> None:
    _, cut = with_odd_bars(odd)
    opens = cut.open_times(np.flatnonzero(~np.isnan(cut.close)))
    for time in (0, START, START + 30_000, int(opens[-1]), int(opens[-1]) + 1):
        found = cut.since(time)
        there = found.open_times(np.flatnonzero(~np.isnan(found.close)))
        assert there.tolist() == opens[opens >= time].tolist()
