"""What a first start would wait for, done once by the install: an empty registry to copy, and the
bytecode of what runs. All bytecode would be 200 MB."""

import logging
from importlib import import_module
from typing import Final

from model import empty_registry
from spark.worker_daemon import preload

IMPORTED: Final = (
    *("ccxt", "mlflow", "sqlalchemy"),
    *("jobs.predict_stream", "stream.query", "model.shipped"),
    *("jobs.demo.stage", "jobs.ingest_bars", "jobs.score", "dashboard.site"),
)


def main() -> None:
    """Make both; a second time costs the imports."""
    logging.disable(logging.INFO)
    empty_registry.make(empty_registry.template())
    for name in IMPORTED:
        import_module(name)
    preload()


if __name__ == "__main__":
    main()
