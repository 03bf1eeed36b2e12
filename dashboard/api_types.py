"""What the HTTP API answers; times are epoch ms UTC, as in the topics."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
from pydantic import BaseModel, create_model

from dashboard.tables import PREDICTION_COLUMNS
from store.schema import COUNT, FLAG, NUMBER, PREDICTIONS, SCORES, SMALL, SPANS, TEXT, TIME, Table

if TYPE_CHECKING:
    SpanName = str
else:  # what pydantic checks, and a description of the API lists
    SpanName = Literal[tuple(SPANS)]
_INTEGERS: Final = dict.fromkeys((SMALL, COUNT, TIME), int)
_PYTHON: Final[dict[pa.DataType, type]] = {TEXT: str, NUMBER: float, FLAG: bool, **_INTEGERS}


def row_of(table: Table, columns: Iterable[str]) -> Any:
    """A model of rows of a table; what a row can do without may be null."""
    kinds = {name: _PYTHON[table.columns[name]] for name in columns}
    fields: dict[str, Any] = {
        name: (kind if name in table.required else kind | None, ...) for name, kind in kinds.items()
    }
    return create_model(table.name, **fields)


class Prediction(row_of(PREDICTIONS, PREDICTION_COLUMNS)):  # type: ignore[misc]
    """One prediction; the price should lie in `lower..upper` with probability `coverage`."""


class Score(row_of(SCORES, SCORES.columns)):  # type: ignore[misc]
    """A row of the scoreboard; null where there is nothing to compare with."""


class Model(BaseModel):
    """A registered model."""

    version: str
    interval: str
    is_champion: bool
    registered_at: int
    reason: str


class HealthAnswer(BaseModel):
    """Whether it runs; ages in seconds, null where there is nothing yet or nothing answers.

    `skipped` counts bars without a prediction that were written in the last 24 hours, by reason;
    `rejected` is the whole topic, `rejections` the reasons of its newest messages; `passed_over`
    counts records of the topics that are no predictions or rejections, by reason;
    `unreadable_files` are those of the warehouse, as far as they were asked for.
    """

    broker: str
    stream_answers: bool
    last_bar_age_s: float | None
    last_prediction_age_s: float | None
    lag_records: float | None
    lag_seconds: float | None
    micro_batch_seconds: float | None
    champions: dict[str, str]
    rejected: int
    rejections: dict[str, int]
    passed_over: dict[str, int]
    unreadable_files: int
    skipped: dict[str, int]
