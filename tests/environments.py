"""The demo in the environments of other people: `make environments`.

Each cell is a shell with something of its user's in it. It passes where the demo ends with its
balance, or is refused in one line that names the variable.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TIMEOUT_S: Final = 300
ODD_NAME: Final = "a path with ü [x] {y} 'q' %41"
NOWHERE: Final = "/nonexistent"
PROXY: Final = "http://127.0.0.1:9"

CELLS: Final[dict[str, dict[str, str]]] = {
    "as it is": {},
    "no LANG": {"LANG": "", "LC_ALL": ""},
    "LC_ALL=C": {"LC_ALL": "C"},
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "JAVA_TOOL_OPTIONS": "-Duser.language=tr"},
    "German": {"LC_ALL": "de_DE.UTF-8", "_JAVA_OPTIONS": "-Duser.language=de -Duser.country=DE"},
    "proxies": dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"), PROXY),
    "SPARK_HOME": {"SPARK_HOME": NOWHERE},
    "SPARK_CONF_DIR": {"SPARK_CONF_DIR": NOWHERE},
    "SPARK_LOCAL_IP": {"SPARK_LOCAL_IP": "10.255.255.1", "SPARK_LOCAL_HOSTNAME": "a.invalid"},
    "HADOOP_CONF_DIR": {"HADOOP_CONF_DIR": NOWHERE, "HADOOP_HOME": NOWHERE},
    "PYSPARK_PYTHON": {"PYSPARK_PYTHON": "python2", "PYSPARK_DRIVER_PYTHON": "jupyter"},
    "PYSPARK_SUBMIT_ARGS": {"PYSPARK_SUBMIT_ARGS": "--master yarn pyspark-shell"},
    "PYTHONPATH": {"PYTHONPATH": "{foreign}", "PYTHONSTARTUP": NOWHERE},
    "KERAS_BACKEND": {"KERAS_BACKEND": "jax"},
    "a foreign keras.json": {"KERAS_HOME": "{foreign}", "TF_USE_LEGACY_KERAS": "1"},
    "MLflow's": {"MLFLOW_TRACKING_URI": "http://a.invalid", "MLFLOW_REGISTRY_URI": "databricks"},
    "daylight saving": {"TZ": "America/New_York"},
    "no home": {"HOME": NOWHERE},
    "no folder for temporary files": {"TMPDIR": NOWHERE},
    ODD_NAME: {},
}


@contextmanager
def stage() -> Iterator[tuple[Path, Path]]:
    """A copy of the checkout at an odd path, and a project of someone else."""
    with tempfile.TemporaryDirectory() as folder:
        foreign = Path(folder) / "foreign"
        for name in ("conf", "model", "numpy"):
            (foreign / name).mkdir(parents=True)
            (foreign / name / "__init__.py").write_text("raise RuntimeError('not this one')\n")
        (foreign / "keras.json").write_text('{"backend": "jax", "floatx": "float16"}')
        copy = Path(folder) / ODD_NAME
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True)
        for name in listed.stdout.decode().splitlines():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
        (copy / ".jars").symlink_to(ROOT / ".jars")
        yield copy, foreign


def run(command: list[str], cell: str, copy: Path, foreign: Path) -> tuple[int, str]:
    """Run a command of ours in a cell; its exit code and the end of what it said."""
    env = {name: value.format(foreign=foreign) for name, value in CELLS[cell].items()}
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *command],
        cwd=copy if cell == ODD_NAME else ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout[-2_000:]


def main() -> int:
    """Run the cells, print a table; 1 where one has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cells whose name contains this")
    only = parser.parse_args().only
    failed = 0
    with stage() as (copy, foreign):
        for cell, variables in CELLS.items():
            if only not in cell:
                continue
            began = time.monotonic()
            code, said = run(["demo", "--exit"], cell, copy, foreign)
            named = code == 78 and any(name in said.splitlines()[-1] for name in variables)
            passed = code == 0 or named
            failed += not passed
            print(f"{'ok' if passed else 'FAILED':8}{time.monotonic() - began:5.0f} s  {cell}")
            if not passed:
                print(said)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
