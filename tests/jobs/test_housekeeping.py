"""`candlecast housekeeping`: one at a time, and what is too old goes."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import typer.main
from click.testing import CliRunner

from conf.errors import AlreadyRunning, CandlecastError, ConfigurationError
from conf.sections import Compaction, Warehouse
from jobs.cli import group
from jobs.housekeeping import drop_rows, guarded
from jobs.machine.processes import PROJECT_DIR
from store.files import append_rows
from store.locks import Work, only_worker
from store.periods import Period
from store.schema import ARIMA, BARS, TABLES
from store.table_folder import TableFolder
from tests.store.test_compaction import Bars

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)


def started(warehouse_dir: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "CANDLECAST_WAREHOUSE__DIR": str(warehouse_dir)}
    command = [sys.executable, "-m", "jobs.cli", "compact"]
    return subprocess.Popen(command, cwd=PROJECT_DIR, env=env, stderr=subprocess.PIPE, text=True)


def test_two_at_once_lose_nothing_and_each_is_done_or_told_to_wait(tmp_path: Path) -> None:
    bars = Bars(tmp_path)
    for day in range(30):
        bars.minutes(NOW - timedelta(days=day), 10)
    before = bars.rows()
    with started(tmp_path) as one, started(tmp_path) as other:
        said = {run.communicate(timeout=120)[1][-300:]: run.returncode for run in (one, other)}
    assert set(said.values()) <= {0, 75}, said
    assert all("housekeeping on" in text for text, code in said.items() if code == 75)
    pd.testing.assert_frame_equal(bars.rows(), before)
    assert len(bars.names()) <= 32


def test_the_second_of_a_kind_is_refused_and_another_kind_is_not(tmp_path: Path) -> None:
    warehouse = Warehouse(dir=str(tmp_path), checkpoint_dir=str(tmp_path / "c"))
    with only_worker(warehouse, "housekeeping"), only_worker(warehouse, "score"):
        with (
            pytest.raises(AlreadyRunning, match=r"housekeeping on .* is held by process"),
            only_worker(warehouse, "housekeeping"),
        ):
            pass
        # The same checkpoint counts, whatever the warehouse.
        elsewhere = Warehouse(dir=str(tmp_path / "other"), checkpoint_dir=str(tmp_path / "c"))
        with (
            only_worker(warehouse, "stream"),
            pytest.raises(AlreadyRunning),
            only_worker(elsewhere, "stream"),
        ):
            pass


@pytest.mark.parametrize(("work", "setting"), [("score", "dir"), ("stream", "checkpoint_dir")])
def test_work_where_no_folder_can_be_made_names_the_setting(
    tmp_path: Path, work: Work, setting: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nope")):
        warehouse = Warehouse(**{setting: str(place)})
        with (
            pytest.raises(ConfigurationError, match=rf"^warehouse\.{setting}: {place}"),
            only_worker(warehouse, work),
        ):
            pass


def test_a_pause_is_not_negative() -> None:
    for program in ("housekeeping", "score"):
        shown = CliRunner().invoke(typer.main.get_command(group), [program, "--every", "-5"])
        assert (shown.exit_code, type(shown.exception)) == (2, SystemExit), shown.output


def test_a_warehouse_of_other_machines_is_not_guarded_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    warehouse = Warehouse(dir="s3a://bucket/candlecast")
    with only_worker(warehouse, "score"), only_worker(warehouse, "score"):
        assert "score on s3a://bucket/candlecast is not guarded" in caplog.text


def test_rows_older_than_the_retention_go_from_every_table(tmp_path: Path) -> None:
    bars = Bars(tmp_path)
    for days in (10, 9, 1):
        bars.write(NOW - timedelta(days=days))
    folder = tmp_path / "bars"
    old = Period.of(NOW - timedelta(days=10), "day").folder(0)
    (folder / "batch=query-0").rename(folder / f"batch={old}")
    for day in ("2026-11-18", "2026-11-27"):
        append_rows(tmp_path, ARIMA, day, arima(day))
    for table in TABLES.values():
        drop_rows(TableFolder(str(tmp_path), table), Compaction(keep_days=7), NOW)
    assert bars.names() == ["query-2"]
    assert [path.name for path in (tmp_path / "arima").iterdir()] == ["batch=2026-11-27"]


def arima(day: str) -> pd.DataFrame:
    time = pd.Timestamp(day, tz="UTC")
    row = {"symbol": "A-B", "interval": "1m", "as_of": time, "horizon": 1, "arima_close": 1.0}
    return pd.DataFrame([{**row, "fitted_until": time}])


def test_a_clock_that_is_years_ahead_empties_no_table(tmp_path: Path) -> None:
    bars = Bars(tmp_path)
    for days in (9, 1, 0):
        bars.write(NOW - timedelta(days=days))
    ahead = NOW + timedelta(days=5_000)
    drop_rows(TableFolder(str(tmp_path), BARS), Compaction(keep_days=7), ahead)
    assert bars.names() == ["query-1", "query-2"]


def test_one_row_of_the_far_future_keeps_no_other(tmp_path: Path) -> None:
    bars = Bars(tmp_path)
    for days in (9, -20_000):
        bars.write(NOW - timedelta(days=days))
    drop_rows(TableFolder(str(tmp_path), BARS), Compaction(keep_days=7), NOW)
    assert bars.names() == ["query-1"]


def test_without_a_retention_every_row_stays(tmp_path: Path) -> None:
    bars = Bars(tmp_path)
    bars.write(datetime(2017, 1, 1, tzinfo=UTC))
    drop_rows(TableFolder(str(tmp_path), BARS), Compaction(keep_days=0), NOW)
    assert len(bars.names()) == 1


def test_a_folder_that_does_not_say_how_old_it_is_stays(tmp_path: Path) -> None:
    bars = Bars(tmp_path)
    name = bars.write(datetime(2017, 1, 1, tzinfo=UTC))
    (tmp_path / "bars" / f"batch={name}" / "part-0.parquet").write_bytes(b"PAR1")
    drop_rows(TableFolder(str(tmp_path), BARS), Compaction(keep_days=7), NOW)
    assert bars.names() == [name]


def test_files_without_a_row_keep_nothing_and_end_nothing(tmp_path: Path) -> None:
    bars = Bars(tmp_path)
    name = bars.write(datetime(2017, 1, 1, tzinfo=UTC))
    file = tmp_path / "bars" / f"batch={name}" / "part-0.parquet"
    schema = pq.read_schema(file)
    pq.ParquetWriter(file, schema).close()
    drop_rows(TableFolder(str(tmp_path), BARS), Compaction(keep_days=7), NOW)
    assert bars.names() == []


def test_one_table_that_fails_leaves_the_others_their_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with guarded(goes_on=True):
        raise CandlecastError("the disk is odd")
    assert "the disk is odd" in caplog.text
    with pytest.raises(CandlecastError), guarded(goes_on=False):
        raise CandlecastError("the disk is odd")
