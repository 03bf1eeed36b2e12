"""Which models serve from which micro-batch on, noted beside the checkpoint before it is begun.

A micro-batch that comes again is predicted by the models with which it was begun, whatever the
registry says by then: so Kafka, which was written first, and Parquet hold the same rows. And a
start has something to serve while the registry is away.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pyspark.sql import SparkSession

from conf.errors import ArtifactMismatch
from conf.events import event
from model.champions import Champions
from model.served import Models, models_from_json, models_to_json, sealed, unsealed
from spark.files import read_text, write_text
from store.table_folder import file_system

log = logging.getLogger(__name__)

NOTE: Final = "served.json"


def served_before(checkpoint: str) -> set[str]:
    """The timeframes at which models served the newest micro-batch of a checkpoint: these serve
    on, also where the registry is gone."""
    try:
        files, path = file_system(f"{checkpoint}/{NOTE}")
        with files.open_input_stream(path) as note:
            newest = unsealed(note.read().decode())[-1]["models"]
        return set(dict(newest))
    except (ArtifactMismatch, OSError, LookupError, TypeError, ValueError):
        return set()  # there is none, or the start of the query says what is wrong with it


class Since(NamedTuple):
    """Models, and the first micro-batch that they served."""

    batch_id: int
    models: Models


class ServiceRecord:
    """What `MicroBatchWriter` asks for the models of a micro-batch.

    `file` is the note; `repeated` the micro-batch that an earlier start has begun and not ended,
    None where there is none.
    """

    def __init__(
        self, spark: SparkSession, file: str, champions: Champions, repeated: int | None
    ) -> None:
        """Raises an error of ours where the registry is away and nothing has served before."""
        self._write: Callable[[str], None] = lambda text: write_text(spark, file, text)
        self._champions = champions
        self._repeated = repeated
        self._noted = _noted(spark, file)
        champions.begin(self._noted[-1].models if self._noted else {})

    def models(self, batch_id: int) -> Models:
        """The models that predict a micro-batch; they are noted when this returns."""
        if batch_id == self._repeated:
            begun_with = [since.models for since in self._noted if since.batch_id <= batch_id]
            if begun_with:
                return self._champions.servable(begun_with[-1])
        models = self._champions.current()
        if not self._noted or models != self._noted[-1].models:
            self._note(Since(batch_id, models))
        return models

    def _note(self, newest: Since) -> None:
        before = [since for since in self._noted if since.batch_id < newest.batch_id]
        # Only the micro-batch at hand can come again, so that one entry before it is enough.
        self._noted = [*before[-1:], newest]
        content = [{"from": n.batch_id, "models": models_to_json(n.models)} for n in self._noted]
        self._write(sealed(content))


def _noted(spark: SparkSession, file: str) -> list[Since]:
    """What was noted; nothing, with a warning, where the note is damaged."""
    try:
        text = read_text(spark, file)
        if text is None:
            return []
        found: list[Any] = unsealed(text)
        return [Since(int(one["from"]), models_from_json(one["models"])) for one in found]
    except (ArtifactMismatch, OSError, KeyError, TypeError, ValueError) as error:
        event(log, "state_unreadable", level=logging.WARNING, file=file, reason=error)
        return []
