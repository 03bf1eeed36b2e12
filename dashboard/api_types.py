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
    `unreadable_files` are those of the warehouse, as far as they were asked for. `waiting_bars`
    wait for the bars of their leaders; `leader_waits` counts since the stream's start how waits
    ended: the leaders' `came`, or it `ran_out`; and the windows predicted `without` leaders.
    """

    broker: str
    stream_answers: bool
    last_bar_age_s: float | None
    last_prediction_age_s: float | None
    lag_records: float | None
    lag_seconds: float | None
    waiting_bars: float | None
    leader_waits: dict[str, float]
    micro_batch_seconds: float | None
    champions: dict[str, str]
    rejected: int
    rejections: dict[str, int]
    passed_over: dict[str, int]
    unreadable_files: int
    skipped: dict[str, int]


class Record(BaseModel):
    """How good the predictions of a series at one horizon were, over a span up to the newest.

    `verdict` is "better" or "worse" than the last price where chance does not explain it (p below
    0.05), else "early": too early to tell.
    """

    span: str
    backfilled: bool
    model_version: str
    predictions: int
    skill: float | None
    p_value: float | None
    verdict: str
    covered: float | None
    promised: float | None


class _Told(BaseModel):
    """What a prediction tells; null where its model was made without it."""

    horizon: int
    as_of: int
    target_time: int
    last_close: float
    predicted_close: float
    lower: float
    upper: float
    coverage: float
    scale: float | None = None
    q05: float | None = None
    q10: float | None = None
    q25: float | None = None
    q50: float | None = None
    q75: float | None = None
    q90: float | None = None
    q95: float | None = None
    proven: str | None = None
    model_version: str
    livelier: float | None
    record: Record | None


class Ahead(_Told):
    """The newest prediction of a series at one horizon; `livelier` is the share of the last week's
    expected sizes that were smaller, null where too little is known of the week."""

    predicted_at: int


class Outlook(_Told):
    """How far the price may move within `horizon` bars; null where it is not known.

    `scale` is the mean size expected of the log return, `livelier` the share of the last week's
    that were smaller; `exceeds` the probability that the price then lies more than `move`, a share,
    from the last. `proven` is what the gate found the model to tell better than chance.
    """

    symbol: str
    interval: str
    move: float
    exceeds: float | None
    sentence: str


class Card(BaseModel):
    """One series: its newest closes with the open times of their bars, and what comes next."""

    symbol: str
    interval: str
    times: list[int]
    closes: list[float]
    ahead: list[Ahead]


class Chart(BaseModel):
    """One series as columns, ascending in time; a candle stands for `step_ms` of time.

    `candles` has time (the open), open, high, low, close and volume; `predicted` target_time,
    predicted_close, lower and upper of one horizon; `news` time, score and articles.
    """

    step_ms: int
    bar_ms: int
    horizons: list[int]
    candles: dict[str, list[float | None]]
    predicted: dict[str, list[float | None]]
    news: dict[str, list[float | None]]


class Bucket(BaseModel):
    """Outcomes of one stretch of time; `skill_low..skill_high` is its 95 % interval."""

    since: int
    until: int
    predictions: int
    skill: float | None
    skill_low: float | None
    skill_high: float | None
    below: float
    inside: float
    above: float


class Paid(BaseModel):
    """What acting on the sign of each forecast would have made, in basis points; no advice.

    `gain_bp` is the mean of a forecast before fees, `turnover` how many times it bought or sold;
    `break_even_bp` the fee of one side at which nothing is left, with its 95 % interval, null where
    it is too early to tell; `fee_bp` what the venue usually takes.
    """

    gain_bp: float
    turnover: float
    break_even_bp: float | None
    low_bp: float | None
    high_bp: float | None
    fee_bp: float
    sentence: str


class History(BaseModel):
    """Was it right, over time, and would it have paid; `whole` and `paid` are of all of it, null
    where nothing has been revealed. `pit` are the shares of prices below the first quantile,
    between two, and above the last, null where no prediction had any.

    Of predictions made before their target time; of `backfilled` ones where there are no others.
    """

    promised: float | None
    whole: Bucket | None
    verdict: str
    backfilled: bool
    buckets: list[Bucket]
    pit: list[float] | None
    paid: Paid | None


class Trouble(BaseModel):
    """What does not run, and what to do about it."""

    part: str
    text: str
    remedy: str


class Decision(BaseModel):
    """One decision about a champion."""

    decided_at: int
    action: str
    interval: str
    challenger: str
    champion: str | None
    promoted: bool
    reason: str


class Article(BaseModel):
    """A news article; it counts from `available_at` on, `score` is from -1 to 1."""

    available_at: int
    published_at: int
    source: str
    title: str
    score: float
