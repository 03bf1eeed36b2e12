"""The one settings object: values from `candlecast.toml`, environment over file.

`CANDLECAST_KAFKA__BOOTSTRAP_SERVERS=host:9092` overrides `[kafka] bootstrap_servers`;
`CANDLECAST_CONFIG=FILE` names another file. Secrets come from the environment only.
"""

import os
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from conf.errors import ConfigurationError
from conf.kafka import KafkaConnection
from conf.timeframes import Timeframe

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Share = Annotated[float, Field(gt=0, lt=1)]

DEFAULT_FILE = files("conf") / "candlecast.toml"


class Section(BaseModel):
    """A table of the settings file; a name that does not exist is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Kafka(KafkaConnection):
    """How the broker is reached and what the topics are called."""

    bars_topic: str = "bars"
    rejected_topic: str = "bars.rejected"
    predictions_topic: str = "predictions"
    news_topic: str = "news"
    sentiment_topic: str = "sentiment"
    partitions: PositiveInt = 4
    retention_days: PositiveInt | None = None


class Ingest(Section):
    """What is polled, how often, and how politely."""

    source: str = "cryptocompare"
    symbols: list[str] = ["BTC-USD", "ETH-USD"]
    intervals: list[Timeframe] = ["1m"]
    intervals_of: dict[str, list[Timeframe]] = {}
    every_s: PositiveInt = 60
    grace_s: dict[Timeframe, Annotated[float, Field(ge=0)]] = {}
    backfill_bars: PositiveInt = 10_080
    overlap_bars: Annotated[int, Field(ge=0)] = 5
    calls_per: dict[Literal["second", "minute", "hour", "day", "month"], PositiveInt] = {
        "second": 20,
        "minute": 300,
    }
    workers: PositiveInt = 8
    attempts: PositiveInt = 5
    timeout_s: Annotated[float, Field(gt=0, le=9)] = 8.0
    news_every_s: Annotated[int, Field(ge=0)] = 0
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    base_url: str | None = None


class Window(Section):
    """The stream's window state; fixed for the life of a checkpoint."""

    lookback: PositiveInt = 60
    late_bars: PositiveInt = 60
    shards: PositiveInt = 2


class Sentiment(Section):
    """Whether the news count, and from when on."""

    enabled: bool = False
    delay_s: Annotated[float, Field(ge=0)] = 900
    silent_after_s: PositiveFloat = 1800
    max_articles_per_micro_batch: PositiveInt = 2_500


class Warehouse(Section):
    """Where things go: tables and checkpoint to any path that Hadoop knows, reports to a folder."""

    dir: str = "warehouse"
    checkpoint_dir: str = "warehouse/_checkpoints"
    reports_dir: str = "reports"

    @property
    def folder(self) -> Path:
        """`dir` for the programs that read it without Spark, as a folder of this machine.

        Raises ConfigurationError where it is none.

        >>> Warehouse(dir="file:///data/candlecast").folder
        PosixPath('/data/candlecast')
        """
        scheme, separator, rest = self.dir.partition("://")
        if not separator:
            return Path(self.dir)
        if scheme == "file":
            return Path(rest)
        raise ConfigurationError(
            f"warehouse.dir = {self.dir}: this program reads a folder of its machine; mount the "
            "warehouse there, or ask Spark (docs/scale.md says which programs run where)"
        )


class Compaction(Section):
    """How `jobs/compact.py` keeps the tables small."""

    closed_after_h: Annotated[float, Field(gt=0)] = 2
    keep_days: Annotated[int, Field(ge=0)] = 0


class Stream(Section):
    """How the Spark query runs."""

    trigger_s: Annotated[float, Field(ge=0)] = 0
    max_bars_per_micro_batch: PositiveInt = 100_000
    forget_after_days: PositiveFloat = 7
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9108


class Training(Section):
    """How a model is trained; the learning rate is the paper's."""

    horizons: list[PositiveInt] = [1, 5, 15]
    units: PositiveInt = 16
    members: Annotated[int, Field(ge=2)] = 6
    learning_rate: PositiveFloat = 0.01
    max_epochs: PositiveInt = 30
    patience: PositiveInt = 4
    batch_size: PositiveInt = 64
    validation_share: Share = 0.2
    test_share: Share = 0.15
    seed: int = 7


class Intervals(Section):
    """How often a prediction interval shall hold the price, and how fast it adapts."""

    coverage: Share = 0.9
    adapt_rate: PositiveFloat = 0.02


class Evaluation(Section):
    """Walk-forward evaluation; see docs/model.md for why so."""

    folds: PositiveInt = 5
    first_train_share: Share = 0.7
    coverage_share: Share = 0.15


class Promotion(Section):
    """What the gate asks of a challenger."""

    level: Share = 0.05
    min_windows: PositiveInt = 100


class Retrain(Section):
    """When a challenger is trained: on a schedule, or when the champion does badly live.

    Live figures are those of the last `live_windows` predictions made before their target time.
    """

    schedule: Literal["daily", "weekly", "monthly"] = "weekly"
    check_every_s: PositiveFloat = 300
    live_windows: PositiveInt = 1000
    min_skill: float = -0.01
    coverage_tolerance: Share = 0.05


class Score(Section):
    """When a distribution counts as drifted: population stability against the training range."""

    psi_watch: PositiveFloat = 0.1
    psi_alarm: PositiveFloat = 0.25
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 0


class Dashboard(Section):
    """Where the page and the HTTP API listen, and how often the page looks for something new."""

    host: str = "127.0.0.1"
    port: Port = 8501
    refresh_s: PositiveFloat = 2.0
    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    requests_per_minute: PositiveInt = 600


class Alerts(Section):
    """What is worth a message; where to is a secret (ALERT_WEBHOOK_URL)."""

    form: Literal["slack", "discord", "telegram"] = "slack"
    telegram_chat_id: str = ""
    silent_intervals: PositiveInt = 3
    lag_records: PositiveInt = 1_000
    coverage_tolerance: Share = 0.05
    min_predictions: PositiveInt = 500
    repeat_after_s: PositiveInt = 21_600


class Registry(Section):
    """Where MLflow keeps its models."""

    tracking_uri: str = "sqlite:///warehouse/mlflow.db"
    artifact_dir: str = "warehouse/models"


class Settings(BaseSettings):
    """All settings, validated once at start."""

    model_config = SettingsConfigDict(
        env_prefix="CANDLECAST_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # what was found may be a secret
    )

    kafka: Kafka = Kafka()
    ingest: Ingest = Ingest()
    window: Window = Window()
    sentiment: Sentiment = Sentiment()
    warehouse: Warehouse = Warehouse()
    compaction: Compaction = Compaction()
    stream: Stream = Stream()
    training: Training = Training()
    intervals: Intervals = Intervals()
    evaluation: Evaluation = Evaluation()
    promotion: Promotion = Promotion()
    retrain: Retrain = Retrain()
    registry: Registry = Registry()
    score: Score = Score()
    dashboard: Dashboard = Dashboard()
    alerts: Alerts = Alerts()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the file."""
        # In a zip, as Spark hands code on, the file of the package is no file of the machine.
        with as_file(DEFAULT_FILE) as shipped:
            file = Path(os.environ.get("CANDLECAST_CONFIG", shipped))
            if not file.is_file():
                raise ConfigurationError(f"settings file {file} does not exist (CANDLECAST_CONFIG)")
            from_file = TomlConfigSettingsSource(settings_cls, file)
        for section, name in SECRET_SETTINGS:
            table = from_file.toml_data.get(section)
            if isinstance(table, dict) and name in table:
                raise ConfigurationError(
                    f"{file}: {section}.{name} is a secret: take it out of the file and set "
                    f"CANDLECAST_{section.upper()}__{name.upper()} in the environment"
                )
        return init_settings, env_settings, from_file


SECRET_SETTINGS: Final = frozenset(
    (section, name)
    for section, kind in Settings.model_fields.items()
    for name, setting in kind.annotation.model_fields.items()  # type: ignore[union-attr]
    if setting.annotation == SecretStr | None
)


class Secrets(BaseSettings):
    """What only the environment may hold; printing it shows stars. A source reads its own key."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    alert_webhook_url: SecretStr | None = None


@cache
def load_settings() -> Settings:
    """Read and validate the settings once a process.

    Raises ConfigurationError naming each setting that is wrong and what was found there.
    """
    try:
        return Settings()
    except SettingsError as error:
        raise ConfigurationError(f"settings: {error}") from error
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}{_found(e)}"
            for e in error.errors()
        ]
        raise ConfigurationError("settings: " + "; ".join(lines)) from error


def _found(error: ErrorDetails) -> str:
    """What stands where something else should, unless it may be a secret."""
    may_be_secret = error["type"] == "extra_forbidden" or error["loc"] in SECRET_SETTINGS
    value = error["input"]
    return "" if may_be_secret or isinstance(value, dict) else f" (found {value!r})"
