import subprocess
import sys
from pathlib import Path

import pytest

from conf import locks
from conf.errors import AlreadyRunning
from conf.locks import only_one

HOLD = """
import sys, pathlib
from conf.locks import only_one
with only_one(pathlib.Path(sys.argv[1]), "the table"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_told_who_holds_the_lock_and_to_try_again(tmp_path: Path) -> None:
    file = tmp_path / "a" / "lock"
    with (
        only_one(file, "the table"),
        pytest.raises(AlreadyRunning, match="the table is held by process") as caught,
        only_one(file, "the table"),
    ):
        pass
    assert caught.value.exit_code == 75
    with only_one(file, "the table"):
        pass


def test_a_holder_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(AlreadyRunning, match=f"process {holder.pid} "),
            only_one(file, "the table"),
        ):
            pass
        holder.kill()
    with only_one(file, "the table"):
        pass


def test_without_locks_on_the_file_system_the_work_goes_on_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object) -> None:
        raise OSError(locks.errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with only_one(tmp_path / "lock", "the table"):
        assert "the table is not guarded" in caplog.text
