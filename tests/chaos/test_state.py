"""What chaos counts as unreadable, and how it breaks a registry and gives it back."""

import json
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from model.registry import Registry
from tests.chaos.registry import AWAY, DAMAGED, FAULTS, LOCKED, trouble
from tests.chaos.report import ChaosReport, save
from tests.chaos.state import unreadable


def test_a_file_that_cannot_be_read_is_named_and_an_unfinished_one_is_not(tmp_path: Path) -> None:
    good, cut = tmp_path / "good.parquet", tmp_path / "cut.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(good)
    cut.write_bytes(good.read_bytes()[:-5])
    (tmp_path / "state.json").write_text('{"a": ')
    (tmp_path / "lines.jsonl").write_text('{"a": 1}\n{"a"')
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 500)
    (tmp_path / "outcomes.duckdb").write_bytes(b"no database" * 500)
    unfinished = tmp_path / "_writing-q-1"
    unfinished.mkdir()
    (unfinished / "part-0.parquet").write_bytes(b"")
    (tmp_path / ".state.json").write_text("{")
    found = {Path(line.partition(":")[0]).name for line in unreadable(tmp_path)}
    assert found == {"cut.parquet", "state.json", "lines.jsonl", "mlflow.db", "outcomes.duckdb"}


@pytest.fixture
def world(tmp_path: Path, mlflow_database: Path) -> Any:
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    (tmp_path / "models").mkdir()
    return SimpleNamespace(folder=tmp_path, models=tmp_path / "models")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_registry_in_trouble_is_as_it_was_afterwards(world: Any, fault: str) -> None:
    database = world.folder / "mlflow.db"
    before = database.read_bytes()
    with trouble(world, fault):
        if fault == LOCKED:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                sqlite3.connect(database, timeout=0).execute("CREATE TABLE x (a)")
        elif fault == DAMAGED:
            assert unreadable(world.folder)
        else:
            assert fault == AWAY
            assert not database.exists()
            world.models.mkdir()  # what a program makes meanwhile is no hindrance
    assert database.read_bytes() == before
    assert Registry(f"sqlite:///{database}", str(world.models)).champion("1m") is None


def test_the_report_of_several_seeds_sums_them_up(tmp_path: Path) -> None:
    reports = [ChaosReport(seed, "local", killed={"score": 2, "ingest": seed}) for seed in (1, 2)]
    reports[0].before_cut.lost = 3
    save(reports, tmp_path / "chaos.json")
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert found["killed"] == {"score": 4, "ingest": 3}
    assert found["lost"] == 3
    assert not found["good"]
    assert [run["seed"] for run in found["runs"]] == [1, 2]
