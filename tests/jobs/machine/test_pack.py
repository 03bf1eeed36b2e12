"""What a cluster's workers are given is enough for what they import."""

from jobs.machine.pack import LOCK_FILE
from jobs.machine.processes import PROJECT_DIR
from tests.installed import absent, locked, run_without

PRELOAD = """
from importlib import import_module
from spark.worker_daemon import PRELOADED

for name in PRELOADED:
    import_module(name)
"""


def test_workers_have_the_versions_that_everything_else_has() -> None:
    of_workers = locked(LOCK_FILE)
    assert of_workers
    assert of_workers <= locked(PROJECT_DIR / "requirements.lock")


def test_workers_run_with_the_packages_of_their_environment_alone() -> None:
    # What Spark brings to a worker itself, and our code, which comes as a wheel.
    lacks = absent(LOCK_FILE, "pyspark", "py4j", "candlecast")
    assert "tensorflow" in lacks
    done = run_without(lacks, PRELOAD)
    assert done.returncode == 0, done.stderr
