"""What the HTTP API answers; times are epoch ms UTC, as in the topics."""

from typing import Literal

from pydantic import BaseModel

SpanName = Literal["1h", "24h", "7d", "all"]


class Prediction(BaseModel):
    """One prediction; the price shall lie in `lower..upper` with probability `coverage`."""

    symbol: str
    interval: str
    as_of: int
    horizon: int
    target_time: int
    last_close: float
    predicted_close: float
    lower: float
    upper: float
    coverage: float
    model_version: str
    predicted_at: int


class Score(BaseModel):
    """A row of the scoreboard; null where there is nothing to compare with."""

    symbol: str
    interval: str
    horizon: int
    model_version: str
    backfilled: bool
    span: str
    predictions: int
    skill_persistence: float | None
    skill_arima: float | None
    arima_predictions: int
    mae: float
    mse: float
    r2: float | None
    directional_accuracy: float | None
    direction_low: float
    direction_high: float
    interval_coverage: float
    promised_coverage: float
    mean_width: float
    dm_persistence: float
    dm_p_persistence: float
    dm_arima: float | None
    dm_p_arima: float | None
    first_target: int
    last_target: int


class Model(BaseModel):
    """A registered model."""

    version: str
    interval: str
    is_champion: bool
    registered_at: int
    reason: str


class HealthAnswer(BaseModel):
    """Whether it runs; ages in seconds, null where nothing has come or nothing answers."""

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
    skipped: dict[str, int]
