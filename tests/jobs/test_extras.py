"""What runs beside a live stream needs no package of the extras; what trains says so in a line."""

import logging
from pathlib import Path

import pytest

import jobs.run
from jobs.cli import COMMANDS
from jobs.machine.processes import PROJECT_DIR
from jobs.run import programs
from tests.installed import absent, locked, run_without

RUN, TRAIN, DEV = (PROJECT_DIR / f"requirements{size}.lock" for size in ("", "-train", "-dev"))
FOR_TRAINING = ("evaluate", "ablation")
LINE = "is missing, which comes with the extra `train`: `make install-train` installs it"
IMPORT = "from importlib import import_module\nfor name in sys.argv[1:]: import_module(name)"
START = "import runpy\nsys.argv[:] = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"


def test_each_size_has_the_versions_of_the_others() -> None:
    assert locked(RUN) < locked(TRAIN) < locked(DEV)


def test_what_runs_needs_the_packages_of_its_size_alone() -> None:
    lacks = absent(RUN, "candlecast")
    assert {"tensorflow", "keras", "matplotlib", "onnx", "playwright", "pytest"} <= lacks
    modules = {
        target.partition(":")[0]
        for name, (target, _) in COMMANDS.items()
        if name not in FOR_TRAINING
    }
    others = ("jobs.predict_stream", "stream.query", "model.shipped", "dashboard.site")
    done = run_without(lacks, IMPORT, *others, *sorted(modules))
    assert done.returncode == 0, done.stderr


def test_what_trains_needs_the_packages_of_its_size_alone() -> None:
    done = run_without(absent(TRAIN, "candlecast"), IMPORT, "jobs.evaluate", "model.learning")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", ["jobs/train.py", "jobs/retrain.py"])
def test_a_program_that_trains_says_what_installs_it(program: str) -> None:
    done = run_without(absent(RUN, "candlecast"), START, program)
    assert done.returncode == 78, done.stderr
    assert done.stderr.startswith("candlecast: ")
    assert LINE in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", FOR_TRAINING)
def test_a_command_that_trains_says_what_installs_it(name: str) -> None:
    done = run_without(absent(RUN, "candlecast"), "from jobs.cli import app\napp()", name)
    assert (done.returncode, LINE in done.stderr) == (78, True), done.stderr


def test_the_scoreboard_goes_without_arima_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CANDLECAST_HOME", str(tmp_path))
    code = "from jobs.cli import app\napp()"
    done = run_without(absent(RUN, "candlecast"), code, "score", "--all")
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert "event=arima_off" in line
    assert LINE in line


def test_run_leaves_retraining_out_where_nothing_can_train(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs.run, "without_train", lambda: f"keras {LINE}")
    with caplog.at_level(logging.WARNING):
        kept = programs(["ingest", "retrain"], tmp_path)
    assert [one.name for one in kept] == ["ingest"]
    assert LINE in caplog.text
