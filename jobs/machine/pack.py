"""What a cluster's workers need, as files for `spark-submit`: `make wheel`, `make package`.

The workers only keep windows and predict: their environment holds the packages for that (the group
`worker` of pyproject.toml, locked in `requirements-worker.lock`), and no TensorFlow, MLflow or
dashboard.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
import venv_pack

from conf.errors import MissingPrerequisite
from jobs.machine.processes import PROJECT_DIR

LOCK_FILE: Final = PROJECT_DIR / "requirements-worker.lock"
DIST_DIR: Final = PROJECT_DIR / "dist"


def build_code(folder: Path) -> Path:
    """Build the wheel of this checkout into `folder`; return what `--py-files` takes.

    That is the wheel under another name: Spark puts a `.zip` on the workers' path, and passes over
    a `.whl` without a word.
    """
    shutil.rmtree(PROJECT_DIR / "build", ignore_errors=True)  # modules that are gone live on in it
    command = [*_pip(), "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    _run([*command, "--wheel-dir", str(folder), str(PROJECT_DIR)])
    (wheel,) = folder.glob("candlecast-*.whl")
    return Path(shutil.copy(wheel, folder / "candlecast.zip"))


def build_environment(folder: Path) -> Path:
    """Build the workers' environment in `folder`/environment, and what `--archives` takes of it.

    It holds a link to this machine's Python: workers need the same one at the same place.
    """
    environment = folder / "environment"
    shutil.rmtree(environment, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
    into = [*_pip(), "--python", str(environment), "install", "--quiet"]
    _run([*into, "--no-compile", "--require-hashes", "--no-deps", "-r", str(LOCK_FILE)])
    archive = folder / "environment.tar.gz"
    venv_pack.pack(prefix=str(environment), output=str(archive), compress_level=1, force=True)
    return archive


def pack(
    only_code: Annotated[bool, typer.Option("--code", help="the wheel alone")] = False,
) -> None:
    """Build what `spark-submit` hands to a cluster's workers, into dist/."""
    DIST_DIR.mkdir(exist_ok=True)
    for old in DIST_DIR.glob("candlecast*"):
        old.unlink()
    for build in (build_code,) if only_code else (build_code, build_environment):
        file = build(DIST_DIR)
        typer.echo(f"{file.relative_to(PROJECT_DIR)} {file.stat().st_size / 1e6:.1f} MB")


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingPrerequisite(f"{' '.join(command)} failed: {done.stderr.strip()}")


if __name__ == "__main__":
    typer.run(pack)
