"""What is kept equals what is computed from all at once, whatever the order and the crashes."""

import functools
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.scoring import kept, scoreboard
from jobs.scoring.scoreboard import update_scores
from tests import tables
from tests.store import hostile
from tests.tables import MINUTE, bars, guesses, predictions, random_walk, write

COUNT = 9 * 1440


@functools.cache
def of_a_market() -> tuple[pd.DataFrame, pd.DataFrame]:
    close = random_walk(COUNT, seed=1)
    return bars(close), predictions(close, guesses(close, seed=2), horizon=5)


def in_steps(warehouse: Path, steps: list[int]) -> pd.DataFrame:
    """Bars and predictions written a part at a time, with a look after each."""
    rows, made = of_a_market()
    for number, (since, until) in enumerate(zip([0, *steps], [*steps, COUNT], strict=True)):
        write(warehouse, "bars", rows[since:until], f"q-{number}")
        write(warehouse, "predictions", made[since:until], f"q-{number}")
        board = update_scores(warehouse)
    return board


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return in_steps(tmp_path_factory.mktemp("whole"), [])


def test_looks_along_the_way_give_the_scores_of_one_look_at_the_end(
    tmp_path: Path, at_once: pd.DataFrame
) -> None:
    board = in_steps(tmp_path, [700, 701, 5_000, 11_000, 12_800])
    pd.testing.assert_frame_equal(board, at_once, rtol=1e-7)
    assert list(board["predictions"]) == [60, 1440, 7 * 1440, COUNT - 5]
    with kept.opened(tmp_path) as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM kept.predictions").fetchall()
    assert rows < 8 * 1440


def test_a_look_reads_no_file_twice(tmp_path: Path) -> None:
    in_steps(tmp_path, [])
    assert kept.new_files(tmp_path) == []
    write(tmp_path, "bars", of_a_market()[0][-1:], "q-9")
    assert [file.name for group in kept.new_files(tmp_path) for file in group] == [
        "bars/batch=q-9/part-0.parquet"
    ]


def test_a_compacted_day_changes_no_score(tmp_path: Path, at_once: pd.DataFrame) -> None:
    rows, made = of_a_market()
    in_steps(tmp_path, [5_000])
    write(tmp_path, "bars", rows[1440:2880], "day-2026-01-02-0")
    write(tmp_path, "predictions", made[1440:2880], "day-2026-01-02-0")
    write(tmp_path, "predictions", made[-1440:], "day-2026-01-09-0")
    pd.testing.assert_frame_equal(update_scores(tmp_path), at_once, rtol=1e-7)


def test_a_look_that_died_is_made_good_by_the_next(
    tmp_path: Path, at_once: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, made = of_a_market()
    for number, (since, until) in enumerate([(0, 6_000), (6_000, COUNT)]):
        write(tmp_path, "bars", rows[since:until], f"q-{number}")
        write(tmp_path, "predictions", made[since:until], f"q-{number}")
        monkeypatch.setattr(scoreboard, "close_blocks", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            update_scores(tmp_path)
        monkeypatch.undo()
    pd.testing.assert_frame_equal(update_scores(tmp_path), at_once, rtol=1e-7)


@pytest.mark.parametrize("content", [b"not a database" * 1000, None])
def test_a_file_that_is_damaged_is_made_anew(
    tmp_path: Path, at_once: pd.DataFrame, content: bytes | None
) -> None:
    in_steps(tmp_path, [])
    file = tmp_path / "_scores" / "outcomes.duckdb"
    file.write_bytes(file.read_bytes()[:20_000] if content is None else content)
    pd.testing.assert_frame_equal(update_scores(tmp_path), at_once, rtol=1e-7)


def test_a_bar_of_1970_or_2100_costs_nothing_and_changes_nothing(
    tmp_path: Path, at_once: pd.DataFrame
) -> None:
    rows, made = of_a_market()
    odd = rows[:2].assign(open_time=[pd.Timestamp(0), pd.Timestamp("2100-01-01")])
    write(tmp_path, "bars", pd.concat([odd, rows]))
    late = made[:1].assign(as_of=odd["open_time"][1], target_time=odd["open_time"][1] + 5 * MINUTE)
    write(tmp_path, "predictions", pd.concat([late, made]))
    pd.testing.assert_frame_equal(update_scores(tmp_path), at_once, rtol=1e-7)


@pytest.mark.parametrize("factor", [10.0, 0.1, 1e-300, 1e290, 5e-324 / 100])
def test_one_absurd_price_neither_decides_a_score_nor_breaks_it(
    tmp_path: Path, factor: float
) -> None:
    close = random_walk(1500, seed=1)
    # Forecasts that know a part of the next move: the skill is real.
    ahead = np.append(np.diff(np.log(close)), 0)
    guess = np.asarray(close) * np.exp(0.3 * ahead)
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close, list(guess)))
    before = update_scores(tmp_path).query("span == '24h'").iloc[0]
    close[700] *= factor
    write(tmp_path, "bars", bars(close, fetched_s=30.0)[690:710], "q-1")
    wrong = predictions(close, list(guess), version="1m-2")
    write(tmp_path, "predictions", wrong, "q-2")
    board = update_scores(tmp_path).query("span == '24h'")
    for row in board.to_dict("records"):
        assert row["skill_persistence"] == pytest.approx(before["skill_persistence"], abs=0.2)
        assert row["dm_p_persistence"] < 0.05
        figures = [value for value in row.values() if isinstance(value, float)]
        assert not np.isinf(figures).any()


def test_a_price_that_never_moves_is_a_tie_and_covered(tmp_path: Path) -> None:
    close = [1.0] * 300
    write(tmp_path, "bars", bars(close))
    rounding = [1.0000000178] * 300
    write(tmp_path, "predictions", predictions(close, rounding, half_width=0.0))
    row = update_scores(tmp_path).query("span == 'all'").iloc[0]
    assert row["dm_p_persistence"] == 1.0
    assert row["interval_coverage"] == 1.0
    assert np.isnan(row["skill_persistence"])
    assert np.isnan(row["directional_accuracy"])
    assert (row["direction_low"], row["direction_high"]) == (0, 1)


def test_a_version_that_no_longer_serves_keeps_its_scores(tmp_path: Path) -> None:
    close = random_walk(1000, seed=1)
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close[:300], close[:300]))
    expected = update_scores(tmp_path).query("span == 'all'")["predictions"].tolist()
    much_later = tables.START + timedelta(days=30)
    long = random_walk(800, seed=2)
    rows = predictions(long, long, version="1m-2")
    for name in ("as_of", "target_time", "predicted_at"):
        rows[name] += timedelta(days=30)
    write(tmp_path, "bars", bars(long, start=much_later), "q-1")
    write(tmp_path, "predictions", rows, "q-1")
    update_scores(tmp_path)
    with kept.opened(tmp_path) as connection:
        connection.execute("UPDATE kept.state SET look = look + 300")
    write(tmp_path, "bars", bars(long, fetched_s=9.0, start=much_later)[-1:], "q-2")
    board = update_scores(tmp_path).query("span == 'all' and model_version == '1m-1'")
    assert board["predictions"].tolist() == expected
    with kept.opened(tmp_path) as connection:
        query = "SELECT count(*) FROM kept.predictions WHERE model_version = '1m-1'"
        assert connection.execute(query).fetchall() == [(0,)]


def noted(warehouse: Path) -> set[str]:
    with kept.opened(warehouse) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM kept.files").fetchall()}


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, "bars", bars([1.0, 1.1, 1.2]), batch=f"q-{number}")
    write(tmp_path, "predictions", predictions([1.0, 1.1], [1.0, 1.1]))
    update_scores(tmp_path)
    assert len(noted(tmp_path)) == 4
    for number in (0, 1):
        shutil.rmtree(tmp_path / "bars" / f"batch=q-{number}")
    assert kept.new_files(tmp_path) == []
    assert noted(tmp_path) == {
        "bars/batch=q-2/part-0.parquet",
        "predictions/batch=q-0/part-0.parquet",
    }


SPOILT = [kind for kind in hostile.BAD_FILES if kind not in ("no file", "a pipe")]


@pytest.mark.parametrize("kind", [*SPOILT, "the year 50000", "before 1970"])
def test_a_spoilt_file_takes_nothing_from_the_scores_of_others(tmp_path: Path, kind: str) -> None:
    close = random_walk(40, seed=1)
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close, guesses(close, seed=2)), "made")
    if kind in SPOILT:
        hostile.add_bad_file(tmp_path, kind)
    else:
        hostile.add_absurd_rows(tmp_path, kind)
    assert update_scores(tmp_path)["predictions"].max() == 39
