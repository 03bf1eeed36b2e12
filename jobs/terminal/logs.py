"""Logging of the programs: one line an event, `key=value`, on standard error."""

import logging
import sys
import time


def configure_logging(level: int = logging.INFO) -> None:
    """Called once by a program, never by a library; times are UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s %(message)s")
    formatter.converter = time.gmtime
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03d"
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("py4j", "alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Its errors come to us, and leave as one line of ours.
    logging.getLogger("kafka").propagate = False
