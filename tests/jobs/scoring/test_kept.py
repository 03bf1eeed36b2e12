"""What `score` keeps of the warehouse does not grow with what compaction has taken away."""

import shutil
from pathlib import Path

from jobs.scoring.kept import new_files, opened
from jobs.scoring.scoreboard import update_scores
from tests.tables import bars, predictions, write


def noted(warehouse: Path) -> set[str]:
    with opened(warehouse) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM kept.files").fetchall()}


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, "bars", bars([1.0, 1.1, 1.2]), batch=f"q-{number}")
    write(tmp_path, "predictions", predictions([1.0, 1.1], [1.0, 1.1]))
    update_scores(tmp_path)
    assert len(noted(tmp_path)) == 4
    for number in (0, 1):
        shutil.rmtree(tmp_path / "bars" / f"batch=q-{number}")
    assert new_files(tmp_path) == []
    assert noted(tmp_path) == {
        "bars/batch=q-2/part-0.parquet",
        "predictions/batch=q-0/part-0.parquet",
    }
