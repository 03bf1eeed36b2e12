"""A session on a cluster asks who is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from conf.ports import free_port
from jobs.machine.processes import PROJECT_DIR


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "session.py"
    file.write_text(
        "from conf.settings import load_settings\n"
        "from jobs.terminal.program import run_program\n"
        "from spark.session import build_session\n"
        "run_program(lambda: build_session(load_settings()))\n"
    )
    return file


def test_on_a_cluster_no_session_begins_without_the_secret(program: Path) -> None:
    submit = [str(Path(sys.executable).parent / "spark-submit")]
    submit += ["--master", f"spark://127.0.0.1:{free_port()}", str(program)]
    done = subprocess.run(
        submit, cwd=PROJECT_DIR, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 78
    assert "candlecast: CANDLECAST_SPARK_SECRET is not set" in done.stdout + done.stderr
