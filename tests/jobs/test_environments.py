"""A session of Spark in the shell of someone else; `make environments` runs the demo in many."""

import os
import subprocess
import sys
from pathlib import Path

from jobs.machine.processes import PROJECT_DIR
from tests.conf.test_environment import HOSTILE


def test_a_hostile_shell_and_an_odd_folder_change_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "ü [x] {y} 'q' %41"
    folder.mkdir()
    # Python itself does not start with a PYTHONHOME of another.
    shell = {name: value for name, value in HOSTILE.items() if name != "PYTHONHOME"}
    query = "SELECT lower('TITLE'), current_timezone()"
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "sql", "--engine", "spark", query],
        cwd=PROJECT_DIR,
        env={**os.environ, **shell, "CANDLECAST_WAREHOUSE__DIR": str(folder), "HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "title" in done.stdout
    assert "UTC" in done.stdout
