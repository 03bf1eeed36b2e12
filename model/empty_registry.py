"""An empty registry to copy: MLflow works three seconds to make one, and a first prediction waits.

`make install` makes it beside the installed packages; without it MLflow makes a registry itself.
"""

import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

FOLDER: Final = Path(sys.prefix) / "share" / "candlecast"


def template() -> Path:
    """Where the empty registry of the installed MLflow lies."""
    return FOLDER / f"mlflow-{version('mlflow-skinny')}.db"


def copy_to(file: Path) -> None:
    """Let an empty registry be at `file` where nothing is yet, whole from its first moment on."""
    if file.exists() or not template().is_file():
        return
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    # Another program's is there by now, the disk is full or has no hard links: MLflow sees to it.
    with suppress(OSError):
        try:
            shutil.copyfile(template(), staging)
            os.link(staging, file)
        finally:
            staging.unlink(missing_ok=True)


def make(file: Path) -> None:
    """Have MLflow make an empty registry at `file`."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{made}").search_registered_models()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        with closing(sqlite3.connect(made, isolation_level=None)) as database:
            # MLflow's default experiment names a folder of whoever made it.
            database.execute("DELETE FROM experiments")
            database.execute("VACUUM INTO ?", [str(file)])
