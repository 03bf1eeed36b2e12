"""What each registered model has seen, beside the predictions: scores leave that out."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pandas as pd

from conf.errors import ArtifactMismatch, ConfigurationError
from conf.events import event
from model.artifact import read_manifest
from model.registry import Registry
from store.files import append_rows
from store.schema import FITS
from store.views import read_sql

log = logging.getLogger(__name__)

_UNPROVEN: Final = "-unproven"


def update_fits(warehouse_dir: Path, registry: Registry) -> int:
    """Note in the table `fits` until when the registered models were trained that it lacks; returns
    how many those are. One whose manifest can't be read is left out, with a line in the log."""
    known = set(read_sql(warehouse_dir, "SELECT model_version FROM fits_raw")["model_version"])
    rows = list(_missing(registry, known))
    if rows:
        found = pd.DataFrame(rows)
        for name in ("trained_from", "trained_until"):
            found[name] = pd.to_datetime(found[name], unit="ms", utc=True)
        append_rows(warehouse_dir, FITS, "all", found)
    return len(rows)


def _missing(registry: Registry, known: set[str]) -> Iterator[dict[str, Any]]:
    for model in registry.models():
        version = model.version.removesuffix(_UNPROVEN)
        if version in known:
            continue
        try:
            manifest = read_manifest(registry.folder(model.version))
        except (ArtifactMismatch, ConfigurationError) as error:
            event(log, "fit_unknown", level=logging.WARNING, model=version, reason=error)
            continue
        yield {
            "model_version": version,
            "interval": manifest.interval,
            "trained_from": manifest.trained_from,
            "trained_until": manifest.trained_until,
        }
