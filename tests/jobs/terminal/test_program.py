"""A program ends in one way: a line for people, and an exit code for whoever started it."""

import errno
import os
import sqlite3
from collections.abc import Callable

import duckdb
import pytest

from conf.errors import BrokerUnavailable, ConfigurationError, DataLoss
from jobs.terminal.program import run_program


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokerUnavailable("it is away"), 75),
        (ConfigurationError("it is wrong"), 78),
        (DataLoss("it is gone"), 65),
    ],
)
def test_an_error_of_ours_is_the_last_line_and_an_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(raising(error))
    assert ended.value.code == code
    assert capsys.readouterr().err == f"candlecast: {error}\n"


def test_a_defect_keeps_its_stack_trace_and_has_an_exit_code_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(raising(ZeroDivisionError("by nothing")))
    assert ended.value.code == 70
    assert "ZeroDivisionError: by nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "scores/part-0.parquet"),
        OSError("Error writing bytes to file. Detail: [errno 27] File too large"),
        duckdb.IOException("IO Error: Could not write file: No space left on device"),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
def test_a_full_disk_needs_a_person_whoever_met_it(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        try:
            raise error
        except type(error) as cause:
            raise RuntimeError("could not save") from cause

    with pytest.raises(SystemExit) as ended:
        run_program(main)
    assert ended.value.code == 78
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("candlecast: the disk is full: free some space and start again (")


def test_ctrl_c_is_a_good_end() -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(raising(KeyboardInterrupt()))
    assert ended.value.code == 0


@pytest.mark.parametrize(("result", "code"), [(None, 0), (3, 3)])
def test_a_number_is_the_exit_code(result: int | None, code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(lambda: result)
    assert ended.value.code == code
