"""A stream that is restored from a backup goes on where the backup stood."""

import subprocess
import sys
from pathlib import Path

import pandas as pd

from conf.settings import Settings
from ingest.bar import Bar
from jobs.machine.processes import PROJECT_DIR
from tests.predictions import IDENTITY, batch_predictions
from tests.store.test_backup import apart
from tests.streams import RunningStream, environment


def run(settings: Settings, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *command],
        cwd=PROJECT_DIR,
        env={"PATH": "/usr/bin:/bin", **environment(settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_restored_stream_goes_on_without_a_row_lost_or_twice(
    stream: RunningStream, btc: list[Bar], tmp_path: Path
) -> None:
    stream.publish(btc[:100])
    stream.stop()
    run(stream.settings, "backup", str(tmp_path / "backup"))
    moved = apart(tmp_path / "new").model_copy(
        update={"kafka": stream.settings.kafka, "stream": stream.settings.stream}
    )
    run(moved, "restore", str(tmp_path / "backup"))
    restored = RunningStream(stream.spark, moved)
    restored.publish(btc[100:])
    restored.stop()
    bars, found = restored.table("bars"), restored.table("predictions")
    assert (len(bars), bars["open_time"].nunique()) == (len(btc), len(btc))
    expected = batch_predictions(btc, moved.registry)
    found, expected = (rows[IDENTITY].sort_values(IDENTITY) for rows in (found, expected))
    pd.testing.assert_frame_equal(
        found.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False
    )
