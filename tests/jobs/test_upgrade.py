"""From what an older version has left to this one: what `upgrade --check` says, what comes of it.

`fixtures/e5c62c9.tar.xz` was written by the programs of commit e5c62c9, its demo on Binance's
minutes: the settings file, the newest two micro-batches of bars and predictions, the checkpoint
(without Spark's own files of the state), the registry and its model.
"""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from conf.errors import ArtifactMismatch, ConfigurationError, DataLoss
from conf.sections import Registry, Warehouse
from conf.settings import Settings, load_settings
from ingest.bar import VERSIONS, Bar
from jobs.machine.broker import EmbeddedBroker
from jobs.upgrade import ORDER, upgrade
from store.views import read_sql
from stream.query import start_query
from tests.streams import RunningStream, stream_settings

LEFT = Path(__file__).parent / "fixtures" / "e5c62c9.tar.xz"
OF_BEFORE = "SELECT symbol, as_of, horizon, predicted_close FROM predictions WHERE as_of <= ?"
MINUTE_MS = 60_000


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the older version has left, and settings by which this one finds it."""
    with tarfile.open(LEFT) as packed:
        packed.extractall(tmp_path, filter="data")
    monkeypatch.setenv("CANDLECAST_CONFIG", str(tmp_path / "candlecast.toml"))
    monkeypatch.setenv("CANDLECAST_HOME", str(tmp_path / "warehouse"))
    load_settings.cache_clear()
    yield tmp_path
    load_settings.cache_clear()


@pytest.fixture
def mended(left: Path) -> Path:
    """The same, its settings file as the check asks for."""
    file = left / "candlecast.toml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith("refresh_s")))
    return left


def contents(folder: Path) -> dict[str, str]:
    files = (one for one in folder.rglob("*") if one.is_file())
    return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


def test_a_setting_that_is_gone_is_named_with_what_to_do(left: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"dashboard\.refresh_s: take it out") as said:
        upgrade(check=True)
    assert str(said.value).count(";") == 0, "every other setting is still one"


def test_the_check_says_of_each_part_what_comes_of_it_and_writes_nothing(
    mended: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(mended)
    with pytest.raises(DataLoss, match="before the upgrade"):
        upgrade(check=True)
    said = capsys.readouterr().out
    assert "ok      settings: each is known" in said
    assert "bars: 2 files; 2 lack trades, taker_base_volume, taker_quote_volume: null there" in said
    assert "predictions: 2 files; 2 lack scale, q05" in said
    assert "ACT     checkpoint: the checkpoint in" in said
    assert "window state of version 4" in said
    assert "ok      registry: 1m-1-unproven serves on" in said
    assert ORDER in said
    assert contents(mended) == before


def test_where_everything_is_taken_up_the_check_ends_well(
    mended: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(mended / "warehouse" / "_checkpoints")
    upgrade(check=True)
    assert "the stream reads the topics from their beginning" in capsys.readouterr().out
    shutil.rmtree(mended / "warehouse")
    upgrade(check=True)
    assert "ACT" not in capsys.readouterr().out


def test_a_table_of_a_newer_version_and_a_model_that_is_refused_need_a_person(
    mended: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(mended / "warehouse" / "_checkpoints")
    monkeypatch.setenv("CANDLECAST_WINDOW__LOOKBACK", "30")
    file = sorted((mended / "warehouse" / "bars").rglob("*.parquet"))[-1]
    rows = pq.read_table(file, partitioning=None)
    pq.write_table(rows.append_column("mood", pa.nulls(len(rows), pa.string())), file)
    with pytest.raises((ConfigurationError, ArtifactMismatch), match=r"\(2 of it\)"):
        upgrade(check=True)
    said = capsys.readouterr().out
    assert "bars was written by a newer version, which has mood too" in said
    assert "1m-1-unproven forecasts 1m and looks back 60 bars" in said


def test_without_the_flag_nothing_is_done(mended: Path) -> None:
    with pytest.raises(ConfigurationError, match="--check"):
        upgrade(check=False)


def old_messages(bars: list[Bar]) -> list[bytes]:
    """Bars as the older version published them."""
    return [
        json.dumps({"v": 1, **{name: getattr(bar, name) for name in VERSIONS[1]}}).encode()
        for bar in bars
    ]


def archived(folder: Path) -> list[Bar]:
    """The bars in the table, oldest first."""
    rows = read_sql(folder, f"SELECT {', '.join(VERSIONS[1])} FROM bars ORDER BY open_time")
    for name in ("open_time", "fetched_at"):
        rows[name] = rows[name].astype("datetime64[ms]").astype("int64")
    return [Bar(**row) for row in rows.to_dict("records")]


def next_bars(last: Bar, count: int) -> list[Bar]:
    """Bars of this version that follow another."""
    times = [last.open_time + n * MINUTE_MS for n in range(1, count + 1)]
    return [
        replace(last, open_time=at, close=last.close + n % 2, high=last.high + 1, trades=7)
        for n, at in enumerate(times)
    ]


def test_the_stream_goes_on_with_the_old_tables_and_model_once_the_checkpoint_is_away(
    mended: Path, spark: SparkSession, broker: EmbeddedBroker, topic_prefix: str
) -> None:
    home = mended / "warehouse"
    registry = Registry(tracking_uri=f"sqlite:///{home}/mlflow.db", artifact_dir=f"{home}/models")
    place = Warehouse(dir=str(home), checkpoint_dir=str(home / "_checkpoints"))
    made = stream_settings(broker, topic_prefix, mended, registry)
    settings: Settings = made.model_copy(update={"warehouse": place})
    bars = archived(home)
    until = pd.Timestamp(bars[-1].close_time, unit="ms")
    before = read_sql(home, OF_BEFORE, [until])
    with pytest.raises(DataLoss, match="window state of version 4"):
        start_query(spark, settings)

    shutil.rmtree(place.checkpoint_dir)  # as its message says: move it away
    stream = RunningStream(spark, settings)
    try:
        stream.send(*old_messages(bars))
        stream.publish(next_bars(bars[-1], 3))
    finally:
        stream.stop()
    after = read_sql(home, OF_BEFORE, [until])
    assert len(after) == len(before), "each window counts once"
    live = read_sql(home, "SELECT * FROM predictions WHERE as_of > ?", [until])
    assert len(live) == 9  # three minutes, three horizons
    assert set(live["model_version"]) == {"1m-1-unproven"}
    known = read_sql(home, "SELECT count(*) AS bars, count(trades) AS told FROM bars")
    assert known.to_dict("records") == [{"bars": len(bars) + 3, "told": 3}]
