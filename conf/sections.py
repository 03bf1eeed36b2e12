"""The sections of the settings: types and bounds. The values stand in `candlecast.toml` alone."""

import re
from datetime import UTC, date, datetime, time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from conf.address import is_address
from conf.errors import ConfigurationError
from conf.kafka import KafkaConnection
from conf.section import (
    SHIPPED,
    Days,
    NotNegativeInt,
    Port,
    PositiveDays,
    PositiveFloat,
    PositiveInt,
    PositiveSeconds,
    Seconds,
    Section,
    Share,
)
from conf.timeframes import Timeframe

# A gap of more bars than these may be cut out of a series (`model/series.py`).
Horizon = Annotated[int, Field(gt=0, le=1_440)]


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("must ascend, each once, the first being the one that decides")
    return values


def _topic_name(name: str) -> str:
    if not re.fullmatch(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}", name):
        raise ValueError("must be a topic of Kafka's: up to 249 of a-z, A-Z, 0-9, '.', '_' and '-'")
    return name


Topic = Annotated[str, AfterValidator(_topic_name)]


class Kafka(KafkaConnection):
    """How the broker is reached and what the topics are called, each of which has one role."""

    bars_topic: Topic = SHIPPED
    rejected_topic: Topic = SHIPPED
    predictions_topic: Topic = SHIPPED
    news_topic: Topic = SHIPPED
    sentiment_topic: Topic = SHIPPED
    partitions: PositiveInt = SHIPPED
    retention_days: PositiveDays | None = None
    rejected_retention_days: PositiveDays = SHIPPED

    @field_validator("rejected_topic", "predictions_topic", "news_topic", "sentiment_topic")
    @classmethod
    def _of_one_role(cls, name: str, info: ValidationInfo) -> str:
        """Kafka takes a dot and an underscore in names of topics for the same."""
        for role, other in info.data.items():
            if role.endswith("_topic") and other.replace(".", "_") == name.replace(".", "_"):
                said = f"both {name!r}" if other == name else f"{name!r} and {other!r}, too alike"
                raise ValueError(f"kafka.{info.field_name} and kafka.{role} are {said}")
        return name

    @property
    def retention_s(self) -> dict[str, float]:
        """How long records stay on the topics that do not keep them for ever, by topic."""
        days = dict.fromkeys(
            (self.bars_topic, self.predictions_topic, self.news_topic, self.sentiment_topic),
            self.retention_days,
        )
        days[self.rejected_topic] = self.rejected_retention_days
        return {topic: kept * 86_400.0 for topic, kept in days.items() if kept}


def _web_address(text: str) -> str:
    if not is_address(text):
        raise ValueError("must be an http(s) address, such as https://example.org")
    return text


class Ingest(Section):
    """What is polled, how often, and how politely."""

    source: str = SHIPPED
    symbols: list[str] = SHIPPED
    intervals: list[Timeframe] = SHIPPED
    intervals_of: dict[str, list[Timeframe]] = SHIPPED
    live: Literal["websocket", "poll"] = SHIPPED
    every_s: PositiveInt = SHIPPED
    grace_s: dict[Timeframe, Seconds] = SHIPPED
    backfill_bars: PositiveInt = SHIPPED
    overlap_bars: NotNegativeInt = SHIPPED
    calls_per: dict[Literal["second", "minute", "hour", "day", "month"], PositiveInt] = SHIPPED
    workers: PositiveInt = SHIPPED
    attempts: PositiveInt = SHIPPED
    timeout_s: Annotated[float, Field(gt=0, le=9)] = SHIPPED
    news_every_s: NotNegativeInt = SHIPPED
    earliest: date = SHIPPED
    metrics_host: str = SHIPPED
    metrics_port: Port = SHIPPED
    base_url: Annotated[str, AfterValidator(_web_address)] | None = None

    @property
    def earliest_ms(self) -> int:
        """When `earliest` begins, epoch ms UTC."""
        return int(datetime.combine(self.earliest, time(), UTC).timestamp() * 1000)

    def symbols_of(self, timeframe: str) -> list[str]:
        """Which symbols are polled at a timeframe.

        >>> polled = Ingest(symbols=["A-B", "C-D"], intervals=["1m"], intervals_of={"C-D": ["1h"]})
        >>> polled.symbols_of("1m"), polled.symbols_of("1h")
        (['A-B'], ['C-D'])
        """
        own = self.intervals_of
        return [name for name in self.symbols if timeframe in own.get(name, self.intervals)]


class Window(Section):
    """The stream's window state; fixed for the life of a checkpoint."""

    lookback: PositiveInt = SHIPPED
    late_bars: PositiveInt = SHIPPED
    shards: PositiveInt = SHIPPED


def _once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("must name each leader once")
    return names


MOST_LEADERS: Final = 4
Leaders = Annotated[list[str], Field(max_length=MOST_LEADERS), AfterValidator(_once)]


class Market(Section):
    """What holds of the market: what trading costs, and which series move before others.

    `fee_bp` is of one side of a trade, in basis points. `leaders` are those of every symbol;
    `leaders_of` those of one symbol, or of the symbols that a pattern such as `KRAKEN:*` matches,
    in place of them.
    """

    fee_bp: Annotated[float, Field(ge=0, le=10_000)] = SHIPPED
    leaders: Leaders = SHIPPED
    leaders_of: dict[str, Leaders] = SHIPPED
    wait_s: Seconds = SHIPPED

    @property
    def width(self) -> int:
        """How many leaders a symbol has at most."""
        return max(len(names) for names in self._lists())

    @property
    def names(self) -> tuple[str, ...]:
        """Every leader of any symbol, each once."""
        return tuple(dict.fromkeys(name for names in self._lists() for name in names))

    def of(self, symbol: str) -> tuple[str | None, ...]:
        """The leaders of a symbol, `width` of them: None where it has none, or would be its own.
        A leader keeps its place, so that a model may tell the first from the second.

        >>> market = Market(leaders=["BTC-USD", "ETH-USD"], leaders_of={"K:*": ["C:BTC-USD"]})
        >>> market.of("LTC-USD"), market.of("BTC-USD"), market.of("K:BTC-USD")
        (('BTC-USD', 'ETH-USD'), (None, 'ETH-USD'), ('C:BTC-USD', None))
        """
        matching = (names for key, names in self.leaders_of.items() if fnmatchcase(symbol, key))
        own = self.leaders_of.get(symbol)
        names = next(matching, self.leaders) if own is None else own
        padded = [*names, *[None] * (self.width - len(names))]
        return tuple(None if name == symbol else name for name in padded)

    def _lists(self) -> list[list[str]]:
        return [self.leaders, *self.leaders_of.values()]


class Sentiment(Section):
    """Whether the news count, and from when on."""

    enabled: bool = SHIPPED
    delay_s: Seconds = SHIPPED
    silent_after_s: PositiveSeconds = SHIPPED
    max_articles_per_micro_batch: PositiveInt = SHIPPED


def local_folder(address: str) -> Path | None:
    """The folder of this machine that an address of Hadoop's names; None for other machines'.

    >>> local_folder("file:/data/candlecast")
    PosixPath('/data/candlecast')
    >>> local_folder("s3a://bucket/candlecast") is None
    True
    """
    if address.startswith("file:"):
        return Path(re.sub("^file:/+", "/", address))
    return None if "://" in address else Path(address)


class Warehouse(Section):
    """Where things go: tables and checkpoint to any path that Hadoop knows, reports to a folder."""

    dir: str = SHIPPED
    checkpoint_dir: str = SHIPPED
    reports_dir: str = SHIPPED

    @property
    def folder(self) -> Path:
        """`dir` for the programs that read it without Spark, as a folder of this machine.

        Raises ConfigurationError where it is none.

        >>> Warehouse(dir="file:///data/candlecast").folder
        PosixPath('/data/candlecast')
        """
        folder = local_folder(self.dir)
        if folder is None:
            raise ConfigurationError(
                f"warehouse.dir = {self.dir}: this program reads a folder of its machine; mount "
                "the warehouse there, or ask Spark (docs/scale.md says which programs run where)"
            )
        return folder


class Housekeeping(Section):
    """What `candlecast housekeeping` removes besides rows."""

    models_days: PositiveDays = SHIPPED


class Compaction(Section):
    """How `candlecast housekeeping` keeps the tables small."""

    closed_after_h: Annotated[float, Field(gt=0, le=8_784)] = SHIPPED
    keep_days: Days = SHIPPED


class Stream(Section):
    """How the Spark query runs."""

    trigger_s: Seconds = SHIPPED
    max_bars_per_micro_batch: PositiveInt = SHIPPED
    no_executors_s: PositiveSeconds = SHIPPED
    forget_after_days: Annotated[float, Field(gt=0, le=36_525)] = SHIPPED
    metrics_host: str = SHIPPED
    metrics_port: Port = SHIPPED


class Training(Section):
    """How a model is trained; the learning rate is the paper's."""

    horizons: Annotated[tuple[Horizon, ...], Field(min_length=1), AfterValidator(_ascending)] = (
        SHIPPED
    )
    units: PositiveInt = SHIPPED
    members: Annotated[int, Field(ge=2, le=100)] = SHIPPED
    learning_rate: PositiveFloat = SHIPPED
    max_epochs: PositiveInt = SHIPPED
    patience: PositiveInt = SHIPPED
    batch_size: PositiveInt = SHIPPED
    max_bars: PositiveInt = SHIPPED
    validation_share: Share = SHIPPED
    test_share: Share = SHIPPED
    seed: NotNegativeInt = SHIPPED


class Intervals(Section):
    """How often a prediction interval should hold the price, and how fast it adapts."""

    coverage: Share = SHIPPED
    adapt_rate: PositiveFloat = SHIPPED


class Evaluation(Section):
    """Walk-forward evaluation; see docs/model.md for why so."""

    folds: PositiveInt = SHIPPED
    first_train_share: Share = SHIPPED
    coverage_share: Share = SHIPPED


class Promotion(Section):
    """What the gate asks of a challenger."""

    level: Share = SHIPPED
    min_windows: PositiveInt = SHIPPED
    shipped: bool = SHIPPED


class Retrain(Section):
    """When a challenger is trained: on a schedule, or when the champion does badly live.

    Live figures are those of the last `live_windows` times with predictions that were made before
    their target time.
    """

    schedule: Literal["daily", "weekly", "monthly"] = SHIPPED
    check_every_s: PositiveSeconds = SHIPPED
    live_windows: PositiveInt = SHIPPED
    min_skill: float = SHIPPED
    coverage_tolerance: Share = SHIPPED


class Score(Section):
    """When a distribution counts as drifted: population stability against the training range."""

    psi_watch: PositiveFloat = SHIPPED
    psi_alarm: PositiveFloat = SHIPPED
    metrics_host: str = SHIPPED
    metrics_port: Port = SHIPPED


class Dashboard(Section):
    """Where the page and the HTTP API listen, and how much one visitor may ask."""

    host: str = SHIPPED
    port: Port = SHIPPED
    api_host: str = SHIPPED
    api_port: Port = SHIPPED
    api_hosts: list[str] = SHIPPED
    requests_per_minute: PositiveInt = SHIPPED
    listeners_per_client: PositiveInt = SHIPPED


class Alerts(Section):
    """What is worth a message; where to is a secret (ALERT_WEBHOOK_URL)."""

    form: Literal["slack", "discord", "telegram"] = SHIPPED
    telegram_chat_id: str = SHIPPED
    silent_intervals: PositiveInt = SHIPPED
    lag_records: PositiveInt = SHIPPED
    gap_bars: PositiveInt = SHIPPED
    rejected_share: Share = SHIPPED
    coverage_tolerance: Share = SHIPPED
    min_predictions: PositiveInt = SHIPPED
    repeat_after_s: PositiveInt = SHIPPED
    outside_interval: bool = SHIPPED
    livelier_than: Annotated[float, Field(ge=0, lt=1)] = SHIPPED


class Registry(Section):
    """Where MLflow keeps its models."""

    tracking_uri: str = SHIPPED
    artifact_dir: str = SHIPPED
