"""What a cluster's workers are given is enough for what they import."""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

from jobs.machine.pack import LOCK_FILE
from jobs.machine.processes import PROJECT_DIR

# What Spark brings to a worker itself, and our code, which comes as a wheel.
THERE: Final = {"pyspark", "py4j", "candlecast"}
ON_A_WORKER: Final = '''
import sys

ABSENT = set(ABSENT_JSON)

class Without:
    """A finder that knows none of ABSENT."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name in ABSENT else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
from importlib import import_module
from spark.worker_daemon import PRELOADED

for name in PRELOADED:
    import_module(name)
'''


def locked(file: Path) -> set[str]:
    """`name==version` of each package of a lock file."""
    return set(re.findall(r"^[a-z0-9.-]+==[^ ;]+", file.read_text(), re.MULTILINE))


def test_workers_have_the_versions_that_everything_else_has() -> None:
    of_workers = locked(LOCK_FILE)
    assert of_workers
    assert of_workers <= locked(PROJECT_DIR / "requirements.lock")


def test_workers_run_with_the_packages_of_their_environment_alone() -> None:
    has = THERE | {package.partition("==")[0] for package in locked(LOCK_FILE)}
    absent = [
        module
        for module, owners in packages_distributions().items()
        if has.isdisjoint(re.sub(r"[-_.]+", "-", owner).lower() for owner in owners)
    ]
    assert "tensorflow" in absent
    code = ON_A_WORKER.replace("ABSENT_JSON", json.dumps(absent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
