"""MLflow's client: the place where a registry's trouble comes in and becomes an error of ours."""

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final

from conf.errors import (
    CandlecastError,
    ConfigurationError,
    MissingPrerequisite,
    RegistryUnavailable,
)
from model import empty_registry

# Codes by which MLflow answers; they are no trouble.
NOT_FOUND: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
EXISTS_ALREADY: Final = "RESOURCE_ALREADY_EXISTS"
# How long a database may be locked, or a server silent, until the registry counts as away. MLflow's
# own patience: 20 s for a lock, 16 minutes for a server.
PATIENCE_S: Final = 3
ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(PATIENCE_S),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # A connection that is kept goes on with a file that was replaced. A new one takes 2 ms.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}
_SQLITE: Final = "sqlite:///"
# A pattern in the text of a failure, what it stands for, and what to do. The first that is found.
_KNOWN: Final[tuple[tuple[str, type[CandlecastError], str], ...]] = (
    (
        r"disk is full|No space left|disk quota",
        MissingPrerequisite,
        "its disk is full: free some space",
    ),
    (r"database (table )?is locked", RegistryUnavailable, "another program holds its lock"),
    (
        r"database schema|can't locate revision|no such (table|column)",
        ConfigurationError,
        "its database is of another version of MLflow: start it with that version, or make a copy "
        "and run `mlflow db upgrade`",
    ),
    (
        r"not a database|malformed|file is encrypted",
        ConfigurationError,
        "its file is damaged: restore it from a backup, or set another registry.tracking_uri",
    ),
    (
        r"readonly database|unable to open database|Permission denied|unsupported URI|No module",
        ConfigurationError,
        "check registry.tracking_uri and the rights of its folder",
    ),
    (
        r"can't load plugin|could not parse|error code 40[0134]|PERMISSION_DENIED|UNAUTHENTICATED"
        r"|invalid format|invalid JSON",
        ConfigurationError,
        "registry.tracking_uri is no registry of MLflow, or it refuses us",
    ),
)


class Client:
    """MLflow's client of a registry, each of whose methods raises errors of ours.

    RegistryUnavailable where the registry is locked or does not answer, ConfigurationError where it
    is damaged, of another schema or refuses us, MissingPrerequisite where its disk is full. What
    MLflow answers (`NOT_FOUND`, `EXISTS_ALREADY`) stays its own exception. MLflow is imported here,
    since the import takes a second.
    """

    def __init__(self, uri: str) -> None:
        os.environ.update(ENVIRONMENT)
        self._uri = uri
        with ours(uri):
            from mlflow import MlflowClient

            _be_brief()
            file = sqlite_file(uri)
            if file is not None:
                _prepare(file)
            self._client = MlflowClient(uri, uri)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A method of MLflow's client."""
        method: Callable[..., Any] = getattr(self._client, name)

        @wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            with ours(self._uri):
                return method(*arguments, **named)

        return call


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite registry; None for another.

    >>> sqlite_file("sqlite:///warehouse/mlflow.db")
    PosixPath('warehouse/mlflow.db')
    """
    return Path(uri.removeprefix(_SQLITE).split("?")[0]) if uri.startswith(_SQLITE) else None


def shown(uri: str) -> str:
    """A registry's address without user and password.

    >>> shown("postgresql://ann:secret@db/models")
    'postgresql://db/models'
    """
    return re.sub(r"//[^/@\s]*@", "//", uri)


@contextmanager
def ours(uri: str) -> Iterator[None]:
    """Raise an error of ours where MLflow, or the database below it, fails in the block."""
    try:
        yield
    except CandlecastError:
        raise
    except Exception as error:
        if not _is_foreign(error) or _is_answer(error):
            raise
        raise registry_error(uri, error) from error


def registry_error(uri: str, error: BaseException) -> CandlecastError:
    """The error of ours for a registry's failure: away, unless it says something else."""
    text = " ".join(shown(str(error)).split())
    for pattern, kind, meaning in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return kind(f"the registry {shown(uri)} can't be used: {meaning} ({text[:200]})")
    return RegistryUnavailable(f"the registry {shown(uri)} does not answer ({text[:200]})")


def _is_foreign(error: Exception) -> bool:
    """Whether the error is another package's; one of our own code's is not the registry's."""
    kinds = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return bool(kinds & {"mlflow", "sqlalchemy", "sqlite3", "alembic", "requests", "urllib3"}) or (
        isinstance(error, OSError | ModuleNotFoundError)
    )


def _is_answer(error: Exception) -> bool:
    code = getattr(error, "error_code", None)
    return code in (*NOT_FOUND, EXISTS_ALREADY) and "unsupported URI" not in str(error)


def _prepare(file: Path) -> None:
    """Let readers and a writer work side by side (WAL); finds out whether it is a database."""
    file.parent.mkdir(parents=True, exist_ok=True)
    empty_registry.copy_to(file)
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE_S)) as database:
            database.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):  # who may only read can do so without
            raise


def _be_brief() -> None:
    """Bound how long MLflow waits for a database, and leave reports of failures to us."""
    import mlflow.store.db.utils as database
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    for name, level in {"mlflow": logging.WARNING, "alembic": logging.WARNING}.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger(database.__name__).setLevel(logging.CRITICAL)
    database.MAX_RETRY_COUNT = 3  # ten take 100 s
    if not event.contains(Engine, "before_cursor_execute", _shorter_wait):
        event.listen(Engine, "before_cursor_execute", _shorter_wait, retval=True)


def _shorter_wait(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any
) -> tuple[str, Any]:
    """MLflow sets how long SQLite waits for a lock in each of its sessions."""
    if statement.startswith("PRAGMA busy_timeout"):
        statement = f"PRAGMA busy_timeout = {PATIENCE_S * 1000}"
    return statement, parameters
