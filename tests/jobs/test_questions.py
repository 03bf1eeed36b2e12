"""`candlecast sql --engine duckdb` and `candlecast export`: the warehouse and nothing else."""

from pathlib import Path

import pandas as pd
import pytest

from conf.errors import ConfigurationError
from jobs.export import export_rows
from jobs.sql import ask_duckdb
from tests.store import hostile
from tests.tables import START, bars, write

STRANGE = "it's [x] {y} 50%"


@pytest.fixture
def warehouse(tmp_path: Path) -> str:
    hostile.good(tmp_path / STRANGE)
    hostile.add_bad_file(tmp_path / STRANGE, "cut")
    return str(tmp_path / STRANGE)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("SELECT count(*) FROM bars", 4),
        ("WITH a AS (SELECT 7 AS b) SELECT b FROM a", 7),
        ("DESCRIBE bars", "symbol"),
    ],
)
def test_a_question_is_answered(warehouse: str, query: str, first: object) -> None:
    assert ask_duckdb(query, warehouse)[1][0][0] == first


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_csv('https://example.com/a.csv')",
        "COPY (SELECT 1) TO 'out.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "ATTACH 'other.db'",
        "SET threads = 64",
        "PRAGMA database_list",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "SELECT CAST('a' AS INT)",
        "SELECT nothing FROM bars",
        "-- nothing",
        ";",
    ],
)
def test_what_is_no_question_about_the_warehouse_is_refused_in_one_line(
    warehouse: str, query: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"\w+ \w+") as error:
        ask_duckdb(query, warehouse)
    assert "\n" not in str(error.value)


def test_no_text_of_an_exported_table_is_a_formula(tmp_path: Path) -> None:
    rows = pd.concat([bars([1.0], symbol) for symbol in ("=HYPERLINK(1)", "-A", "@B", "A-B")])
    write(tmp_path, "bars", rows)
    file = tmp_path / "out.csv"
    assert export_rows(tmp_path, "bars", file, "csv") == 4
    shown = sorted(pd.read_csv(file)["symbol"])
    assert shown == ["'-A", "'=HYPERLINK(1)", "'@B", "A-B"]
    export_rows(tmp_path, "bars", tmp_path / "out.parquet", "parquet")
    assert "@B" in set(pd.read_parquet(tmp_path / "out.parquet")["symbol"])


def test_an_export_leaves_bad_files_aside_and_takes_any_path(
    warehouse: str, tmp_path: Path
) -> None:
    file = tmp_path / f"{STRANGE} out" / "bars.csv"
    assert export_rows(warehouse, "bars", file, "csv", since=START) == 4
    with pytest.raises(ConfigurationError, match="can't be written"):
        export_rows(warehouse, "bars", file / "below" / "bars.csv", "csv")
