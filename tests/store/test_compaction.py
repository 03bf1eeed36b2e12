"""Compaction changes how rows lie, and never which rows there are."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.errors import CandlecastError
from store import compaction
from store.compaction import LEAST_FOLDERS, compact_table
from store.retention import drop_old
from store.schema import ARIMA, BARS
from store.table_folder import TableFolder
from store.views import read_sql
from tests.store import hostile

NEVER = date(1970, 1, 1)
ALWAYS = date(2100, 1, 1)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
TODAY = NOON.date()


class Crash(BaseException):
    """What a kill is to the code: nothing catches it."""


class Bars:
    """A table of bars that a stream writes, a folder a micro-batch."""

    def __init__(self, warehouse_dir: Path) -> None:
        self.warehouse_dir = warehouse_dir
        self.folder = TableFolder(str(warehouse_dir), BARS)
        self._numbers = count()

    def write(self, *times: datetime, query: str = "query", close: float = 1.0) -> str:
        """Publish a micro-batch with a bar at each time; returns the folder's name."""
        name = f"{query}-{next(self._numbers)}"
        prices = dict.fromkeys(("open", "high", "low", "base_volume", "quote_volume"), 1.0)
        fixed = {"symbol": "BTC-USD", "interval": "1m", "source": "example", **prices}
        rows = [{**fixed, "open_time": t, "close": close, "fetched_at": t} for t in times]
        file = self.warehouse_dir / "bars" / f"batch={name}" / "part-0.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=BARS.stored), file)
        return name

    def minutes(self, first: datetime, minutes: int, query: str = "query") -> None:
        """A micro-batch for each of so many minutes."""
        for minute in range(minutes):
            self.write(first + timedelta(minutes=minute), query=query)

    def names(self) -> list[str]:
        return sorted(
            p.name.removeprefix("batch=") for p in (self.warehouse_dir / "bars").iterdir()
        )

    def rows(self) -> pd.DataFrame:
        return read_sql(self.warehouse_dir, "SELECT * FROM bars ORDER BY ALL")


@pytest.fixture
def bars(tmp_path: Path) -> Bars:
    return Bars(tmp_path)


def test_hours_of_the_running_day_become_a_folder_each(bars: Bars) -> None:
    bars.minutes(NOON, 61)
    newest = bars.write(NOON + timedelta(minutes=61))
    before = bars.rows()
    (merged,) = compact_table(bars.folder, closed_before=TODAY)
    pd.testing.assert_frame_equal(bars.rows(), before)
    assert bars.names() == ["hour-2026-11-01T12-0", "hour-2026-11-01T13-0", newest]
    assert (merged.sources, merged.folders, merged.rows) == (61, 2, 61)


def test_the_newest_folder_of_each_query_stays_since_it_may_be_written_again(bars: Bars) -> None:
    bars.minutes(NOON, 9, query="first")
    bars.minutes(NOON + timedelta(minutes=9), 2, query="second")
    compact_table(bars.folder, ALWAYS)
    assert bars.names() == ["day-2026-11-01-0", "first-8", "second-10"]


def test_a_closed_day_becomes_one_folder(bars: Bars) -> None:
    bars.minutes(NOON, 61)
    compact_table(bars.folder, closed_before=TODAY)
    newest = bars.write(NOON + timedelta(days=1))
    before = bars.rows()
    compact_table(bars.folder, closed_before=TODAY + timedelta(days=1), least=LEAST_FOLDERS)
    pd.testing.assert_frame_equal(bars.rows(), before)
    assert bars.names() == ["day-2026-11-01-0", newest]


def test_a_late_or_revised_bar_is_merged_into_its_day(bars: Bars) -> None:
    bars.minutes(NOON, 3)
    compact_table(bars.folder, ALWAYS)
    bars.write(NOON - timedelta(hours=5), NOON, close=2.0)
    bars.write(NOON + timedelta(days=9))
    before = bars.rows()
    compact_table(bars.folder, ALWAYS)
    pd.testing.assert_frame_equal(bars.rows(), before)
    assert [name for name in bars.names() if name.startswith("day")] == ["day-2026-11-01-1"]


def test_small_days_of_a_closed_month_become_one_folder(bars: Bars) -> None:
    for day in range(40):
        bars.write(NOON + timedelta(days=day))
    before = bars.rows()
    compact_table(bars.folder, closed_before=date(2026, 12, 9))
    pd.testing.assert_frame_equal(bars.rows(), before)
    days = [f"day-2026-12-0{day}-0" for day in range(1, 9)]
    assert bars.names() == [*days, "hour-2026-12-09T12-0", "month-2026-11-0", "query-39"]


def test_large_days_stay_days(bars: Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MONTH_BYTES", 100)
    for day in range(3):
        bars.write(NOON + timedelta(days=day))
    compact_table(bars.folder, ALWAYS)
    assert bars.names() == ["day-2026-11-01-0", "day-2026-11-02-0", "query-2"]


def test_few_new_folders_wait(bars: Bars) -> None:
    bars.minutes(NOON, LEAST_FOLDERS)
    assert compact_table(bars.folder, NEVER, LEAST_FOLDERS) == []
    bars.minutes(NOON + timedelta(hours=1), 1)
    assert len(compact_table(bars.folder, NEVER, LEAST_FOLDERS)) == 1


def test_whatever_the_rate_a_look_leaves_few_folders(bars: Bars) -> None:
    for look in range(6):
        for second in range(120):
            bars.write(NOON + timedelta(minutes=20 * look, milliseconds=500 * second))
        compact_table(bars.folder, closed_before=TODAY, least=LEAST_FOLDERS)
        assert len(bars.names()) <= LEAST_FOLDERS + 24


def crash_after(calls: int, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that works so many times, and then is killed before it does anything."""
    left = iter(range(calls))

    def called(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise Crash
        return method(*arguments)

    return called


def steps() -> Iterator[tuple[str, int]]:
    for method, calls in (("rows", 8), ("publish", 2), ("remove", 1), ("sweep", 1)):
        for after in range(calls):
            yield method, after


@pytest.mark.parametrize(("step", "after"), steps())
def test_a_run_that_is_killed_anywhere_loses_no_row_and_the_next_makes_it_good(
    bars: Bars, monkeypatch: pytest.MonkeyPatch, step: str, after: int
) -> None:
    bars.minutes(NOON, 3)
    compact_table(bars.folder, NEVER)
    bars.minutes(NOON + timedelta(minutes=58), 4)
    before = bars.rows()
    with monkeypatch.context() as killed, suppress(Crash):
        killed.setattr(TableFolder, step, crash_after(after, getattr(TableFolder, step)))
        compact_table(bars.folder, NEVER)
    pd.testing.assert_frame_equal(bars.rows(), before)
    bars.write(NOON + timedelta(hours=2))
    before = bars.rows()
    compact_table(bars.folder, NEVER)
    pd.testing.assert_frame_equal(bars.rows(), before)
    assert [name.rpartition("-")[0] for name in bars.names()] == [
        "hour-2026-11-01T12",
        "hour-2026-11-01T13",
        "query",
    ]


def test_a_removal_that_was_killed_half_way_leaves_no_empty_folder(bars: Bars) -> None:
    bars.minutes(NOON, 3)
    empty = bars.warehouse_dir / "bars" / "batch=query-0"
    (empty / "part-0.parquet").unlink()
    compact_table(bars.folder, NEVER)
    assert bars.names() == ["hour-2026-11-01T12-0", "query-2"]


def test_sources_stay_where_the_merged_folder_does_not_hold_every_row(
    bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars.minutes(NOON, 5)
    before, publish = bars.names(), TableFolder.publish

    def losing(folder: TableFolder, staged: str, name: str) -> None:
        file = f"{folder.path}/{staged}/part-0.parquet"
        pq.write_table(pq.read_table(file, partitioning=None).slice(1), file)
        publish(folder, staged, name)

    monkeypatch.setattr(TableFolder, "publish", losing)
    with pytest.raises(CandlecastError, match="1 are missing: the folders before stay"):
        compact_table(bars.folder, NEVER)
    assert set(before) <= set(bars.names())


def test_a_folder_never_takes_the_place_of_another(bars: Bars) -> None:
    name = bars.write(NOON)
    with bars.folder.staged() as (staged, _):
        pass
    with pytest.raises(CandlecastError, match="exists already"):
        bars.folder.publish(staged, name)
    assert len(bars.rows()) == 1


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4:200] = bytes(196)
    file.write_bytes(bytes(content))


def without_time(file: Path) -> None:
    rows = pq.read_table(file, partitioning=None)
    place = rows.column_names.index("open_time")
    nothing = pa.nulls(len(rows), rows.schema.field("open_time").type)
    pq.write_table(rows.set_column(place, "open_time", nothing), file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("spoil", [cut, flip, without_time, empty])
@pytest.mark.parametrize("victim", ["query-1", "hour-2026-11-01T11-0"])
def test_a_folder_that_cannot_be_read_is_named_once_and_left_alone(
    bars: Bars, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], victim: str
) -> None:
    bars.minutes(NOON, 4)
    for name in ("hour-2026-11-01T11-0", "hour-2026-11-01T11-1"):
        extra = bars.write(NOON - timedelta(minutes=9), query="other")
        (bars.warehouse_dir / "bars" / f"batch={extra}").rename(
            bars.warehouse_dir / "bars" / f"batch={name}"
        )
    spoil(bars.warehouse_dir / "bars" / f"batch={victim}" / "part-0.parquet")
    compact_table(bars.folder, ALWAYS)
    compact_table(bars.folder, ALWAYS)
    left = bars.names()
    assert victim in left
    assert "query-0" not in left
    assert caplog.text.count(f'batch={victim}"') == 1


def test_what_spark_leaves_beside_a_file_and_odd_names_are_passed_over(bars: Bars) -> None:
    bars.minutes(NOON, 3)
    table = bars.warehouse_dir / "bars"
    for name in ("_SUCCESS", ".part-0.parquet.crc", "_part.parquet"):
        (table / "batch=query-0" / name).write_text("not Parquet")
    (table / "batch=file").write_text("no folder")
    for odd in ("batch=", "batch=q-²", "batch=hour-2026-13-01T00-0", "batch=day-1-x", "other"):
        shutil.copytree(table / "batch=query-1", table / odd)
    compact_table(bars.folder, NEVER)
    assert {"query-1", "query-0"}.isdisjoint(bars.names())
    assert {"hour-2026-11-01T12-0", "query-2", "file", "q-²", "other"} < set(bars.names())


def test_a_table_of_another_writer_keeps_a_folder_that_it_has_just_made(tmp_path: Path) -> None:
    made = tmp_path / "arima" / "batch=2026-11-01"
    made.mkdir(parents=True)
    drop_old(TableFolder(str(tmp_path), ARIMA), keep_days=1, now=NOON)
    assert made.is_dir()


def test_files_of_other_columns_are_merged(bars: Bars) -> None:
    bars.minutes(NOON, 3)
    file = bars.warehouse_dir / "bars" / "batch=query-1" / "part-0.parquet"
    rows = pq.read_table(file, partitioning=None).drop_columns(["source"])
    pq.write_table(rows.append_column("new", pa.array([1])), file)
    compact_table(bars.folder, ALWAYS)
    assert bars.rows()["source"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("kind", ["the year 50000", "before 1970"])
def test_a_row_of_no_calendar_keeps_no_other_from_being_compacted(
    tmp_path: Path, kind: str
) -> None:
    table = Bars(tmp_path)
    table.minutes(NOON - timedelta(days=2), 5)
    hostile.add_absurd_rows(tmp_path, kind)
    compact_table(table.folder, TODAY, 1)
    drop_old(table.folder, 400, NOON)
    assert sum(name.startswith("day-2026-10-30") for name in table.names()) == 1
