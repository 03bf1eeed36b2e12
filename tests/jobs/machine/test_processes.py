"""A program's processes end with whoever started it, however that ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jobs.machine.processes import LOG_END_BYTES, PROJECT_DIR, Program, wait_until

# A child that starts one of its own; both write their ids and wait.
FAMILY = """
import os, pathlib, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
def said(name):
    (folder / f".{name}").write_text(str(os.getpid()))
    (folder / f".{name}").rename(folder / name)
if len(sys.argv) == 2:
    subprocess.Popen([sys.executable, __file__, sys.argv[1], "grandchild"])
    said("child")
else:
    said("grandchild")
time.sleep(600)
"""
# `candlecast run` with such a child instead of its programs.
SUPERVISOR = """
import sys
from pathlib import Path
from jobs import run
from jobs.machine.processes import Program
from jobs.terminal.program import run_program
folder = Path(sys.argv[1])
family = [sys.executable, str(folder / "family.py"), str(folder)]
run.programs = lambda names, logs: [Program("family", family, {}, folder / "log")]
run_program(lambda: run.run("family"))
"""
MEMBERS = ("child", "grandchild")


@pytest.fixture
def family(tmp_path: Path) -> list[str]:
    """The command of the child."""
    (tmp_path / "family.py").write_text(FAMILY)
    return [sys.executable, str(tmp_path / "family.py"), str(tmp_path)]


def members(folder: Path) -> list[psutil.Process]:
    """The child and what it started, once both are there."""
    assert wait_until(lambda: all((folder / name).exists() for name in MEMBERS), timeout_s=60)
    return [psutil.Process(int((folder / name).read_text())) for name in MEMBERS]


def all_end(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=30)
    return not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def hear_hang_up() -> None:
    """In a child: `nohup make test` lets all that it starts ignore SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def supervisor(folder: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "CANDLECAST_WAREHOUSE__DIR": str(folder / "warehouse")}
    command = [sys.executable, "-c", SUPERVISOR, str(folder)]
    return subprocess.Popen(
        command,
        cwd=PROJECT_DIR,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_hang_up,
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_nothing_outlives_the_supervisor(tmp_path: Path, family: list[str], how: int) -> None:
    with supervisor(tmp_path) as running:
        found = members(tmp_path)
        os.kill(running.pid, how)
        assert running.wait(30) == (-how if how == signal.SIGKILL else 0)
        assert all_end(found)


def test_a_second_supervisor_is_told_who_runs_already(tmp_path: Path, family: list[str]) -> None:
    with supervisor(tmp_path) as first:
        members(tmp_path)
        with supervisor(tmp_path) as second:
            _, said = second.communicate(timeout=60)
        assert second.returncode == 75
        assert f"is held by process {first.pid} " in said
        first.terminate()


def test_what_a_killed_program_left_over_ends_with_it(tmp_path: Path, family: list[str]) -> None:
    with Program("family", family, {}, tmp_path / "log") as program:
        child, grandchild = members(tmp_path)
        child.kill()
        assert wait_until(lambda: program.exit_code == -signal.SIGKILL, timeout_s=30)
        assert all_end([grandchild])


def test_temporary_files_of_a_killed_program_go_with_it(tmp_path: Path) -> None:
    script = "import tempfile, time; print(tempfile.mkdtemp(), flush=True); time.sleep(600)"
    with Program("untidy", [sys.executable, "-c", script], {}, tmp_path / "log") as program:
        assert wait_until(lambda: program.log_tail(1) != "", timeout_s=30, check=program.check)
        left = Path(program.log_tail(1))
        assert left.is_dir()
        assert tmp_path in left.parents
        program.kill()
        assert not left.exists()


def test_a_stopped_program_leaves_nothing(tmp_path: Path, family: list[str]) -> None:
    with Program("family", family, {}, tmp_path / "log"):
        found = members(tmp_path)
    assert all_end(found)


def test_of_a_huge_log_only_the_end_is_read(tmp_path: Path) -> None:
    script = f"import sys; sys.stdout.write('{'x' * 99}\\n' * 100_000); print('candlecast: why')"
    program = Program("talker", [sys.executable, "-c", script], {}, tmp_path / "log").start()
    assert wait_until(lambda: not program.running, timeout_s=60)
    assert program.last_words() == "candlecast: why"
    assert len(program.log_tail(1_000_000)) <= LOG_END_BYTES
    program.stop()


def test_a_log_is_bounded_while_the_program_runs_on(tmp_path: Path) -> None:
    script = "import sys, time\nwhile True:\n    print('x' * 999, flush=True); time.sleep(0.001)"
    log = tmp_path / "log"
    with Program("talker", [sys.executable, "-c", script], {}, log) as program:
        for _ in range(3):
            assert wait_until(lambda: log.stat().st_size > 100_000, timeout_s=60)
            program.bound_log(100_000)
        assert wait_until(lambda: log.stat().st_size > 0, timeout_s=60)
        assert log.read_bytes().lstrip(b"x")[:1] == b"\n"  # no hole before it
        assert sorted(path.name for path in tmp_path.glob("*log*")) == ["log", "log.1"]
        assert set(program.last_words()) == {"x"}  # perhaps of a line that is being written


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_is_told_to_end_leaves_no_temporary_folder(tmp_path: Path, how: int) -> None:
    script = (
        "import tempfile, time; from jobs.terminal.program import run_program\n"
        "def main():\n"
        "    with tempfile.TemporaryDirectory() as folder:\n"
        "        print(folder, flush=True); time.sleep(600)\n"
        "run_program(main)"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command,
        cwd=PROJECT_DIR,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_hang_up,
    ) as running:
        assert running.stdout is not None
        folder = Path(running.stdout.readline().strip())
        assert folder.is_dir()
        running.send_signal(how)
        assert running.wait(30) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
