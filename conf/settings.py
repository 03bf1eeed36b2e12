"""The one settings object: values from `candlecast.toml`, environment over file.

`CANDLECAST_KAFKA__BOOTSTRAP_SERVERS=host:9092` overrides `[kafka] bootstrap_servers`;
`CANDLECAST_CONFIG=FILE` names a file with what differs from the shipped one, `CANDLECAST_HOME=DIR`
a folder for all that is kept. Secrets come from the environment only. Types and bounds stand in
`conf/sections.py`, values in `candlecast.toml` alone.
"""

import json
import os
import tomllib
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import (
    SecretStr,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from conf.errors import ConfigurationError
from conf.section import (
    shipped_values,
)
from conf.sections import (
    Alerts,
    Compaction,
    Dashboard,
    Evaluation,
    Housekeeping,
    Ingest,
    Intervals,
    Kafka,
    Market,
    Promotion,
    Registry,
    Retrain,
    Score,
    Sentiment,
    Stream,
    Training,
    Warehouse,
    Window,
)

_PREFIX: Final = "CANDLECAST_"


class _Environment(EnvSettingsSource):
    """The variables; one that should be JSON and is none stays the text that it is, so that it is
    refused by name as any other wrong value."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


class Settings(BaseSettings):
    """All settings, validated once at start."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # what was found may be a secret
    )

    kafka: Kafka
    ingest: Ingest
    window: Window
    market: Market
    sentiment: Sentiment
    warehouse: Warehouse
    compaction: Compaction
    housekeeping: Housekeeping
    stream: Stream
    training: Training
    intervals: Intervals
    evaluation: Evaluation
    promotion: Promotion
    retrain: Retrain
    registry: Registry
    score: Score
    dashboard: Dashboard
    alerts: Alerts

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then CANDLECAST_HOME, then the file of CANDLECAST_CONFIG,
        then the shipped one."""
        home = os.environ.get("CANDLECAST_HOME")
        placed = InitSettingsSource(settings_cls, _placed(home) if home else {})
        files = InitSettingsSource(settings_cls, _from_files())
        return init_settings, _Environment(settings_cls), placed, files


_SETTINGS: Final = {
    (section, name): setting
    for section, kind in Settings.model_fields.items()
    for name, setting in kind.annotation.model_fields.items()  # type: ignore[union-attr]
}
SECRET_SETTINGS: Final = frozenset(
    place for place, setting in _SETTINGS.items() if setting.annotation == SecretStr | None
)


def _placed(folder: str) -> dict[str, dict[str, str]]:
    """The settings by which tables, checkpoint, registry and reports lie in one folder."""
    return {
        "warehouse": {
            "dir": folder,
            "checkpoint_dir": f"{folder}/_checkpoints",
            "reports_dir": f"{folder}/reports",
        },
        "registry": {
            "tracking_uri": f"sqlite:///{folder}/mlflow.db",
            "artifact_dir": f"{folder}/models",
        },
    }


def home_variables(folder: Path | str) -> dict[str, str]:
    """The variables by which all that is kept lies in `folder`, whatever else is set.

    >>> home_variables("/data")["CANDLECAST_REGISTRY__TRACKING_URI"]
    'sqlite:////data/mlflow.db'
    """
    return {
        _variable(section, name): value
        for section, table in _placed(str(folder)).items()
        for name, value in table.items()
    }


def _from_files() -> dict[str, Any]:
    """The tables of the user's file over those of the shipped one, setting by setting.

    Raises ConfigurationError where the user's is missing, is not TOML or holds a secret.
    """
    tables: dict[str, Any] = dict(shipped_values())
    name = os.environ.get("CANDLECAST_CONFIG")
    if not name:
        return tables
    try:
        own = tomllib.loads(Path(name).read_text())
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"settings file {name} does not exist (CANDLECAST_CONFIG)"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"settings file {name} can't be read: {error}") from error
    # pydantic-settings would take `Window` for `window`, and drop it in favour of the shipped one.
    if strange := [section for section in own if section not in Settings.model_fields]:
        said = "; ".join(f"{section}: {_NO_SETTING}" for section in strange)
        raise ConfigurationError(f"settings: {said} ({name})")
    for section, setting in SECRET_SETTINGS:
        table = own.get(section)
        if isinstance(table, dict) and setting in table:
            raise ConfigurationError(
                f"{name}: {section}.{setting} is a secret: take it out of the file and set "
                f"CANDLECAST_{section.upper()}__{setting.upper()} in the environment"
            )
    for section, table in own.items():
        known = tables.get(section, {})
        tables[section] = {**known, **table} if isinstance(table, dict) else table
    return tables


_NO_SETTING: Final = "there is no such setting"
# Settings of older versions, and what to do about each.
_GONE: Final = {"dashboard.refresh_s": "take it out: the page hears by itself of what is new"}
# Behind the prefix, variables that are ours and no settings.
_OTHERS: Final = ("CONFIG", "HOME", "SPARK_SECRET")
_FOUND_CHARACTERS: Final = 200
# What stands in a variable where the shipped file has nothing in the list or table.
_EXAMPLES: Final = {"list_type": '["BTC-USD","ETH-USD"]', "dict_type": '{"ETH-USD": ["1d"]}'}


class Secrets(BaseSettings):
    """What only the environment may hold; printing it shows stars. A source reads its own key."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    alert_webhook_url: SecretStr | None = None
    candlecast_spark_secret: SecretStr | None = None


@cache
def load_settings() -> Settings:
    """Read and validate the settings once a process.

    Raises ConfigurationError naming each setting that is wrong and what was found there, and each
    variable that names none.
    """
    _check_variables()
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        raise wrong_settings(error) from error


def _check_variables() -> None:
    """Raise ConfigurationError for variables that look like ours, and are of no section."""
    known = [*_OTHERS, *(_variable(*place).removeprefix(_PREFIX) for place in _SETTINGS)]
    heads = {*_OTHERS, *(section.upper() for section in Settings.model_fields)}
    said = []
    for name in sorted(os.environ):
        rest = name.upper().removeprefix(_PREFIX)
        if rest != name.upper() and rest.partition("__")[0] not in heads:
            (like,) = get_close_matches(rest, known, 1) or ["SECTION__SETTING"]
            said.append(f"{name}: expected {_PREFIX}{like}")
    if said:
        raise ConfigurationError(f"no such variable: {'; '.join(said)}")


def wrong_settings(error: ValidationError, *section: str) -> ConfigurationError:
    """Names each setting that is wrong and what was found there.

    With `section` the values did not come from the environment.
    """
    lines = []
    for one in error.errors():
        place = tuple(str(part) for part in (*section, *one["loc"]))
        name, found = ".".join(place), _found(one, place)
        said = f"{one['msg'].removeprefix('Value error, ')}{_expected(one, place)}"
        if one["type"] == "extra_forbidden":
            said, found = _GONE.get(name, _NO_SETTING), ""
        found = " in ".join(filter(None, (found, "" if section else _set(place))))
        lines.append(f"{name}: {said}{f' (found {found})' if found else ''}")
    return ConfigurationError("settings: " + "; ".join(lines))


def _variable(section: str, *names: str) -> str:
    """The variable that holds a setting."""
    return _PREFIX + "__".join((section, *names)).upper()


def _set(place: tuple[str, ...]) -> str:
    """The variable that sets a value, as it is written in the environment; empty without one."""
    given = {name.upper(): name for name in os.environ}
    names = (_variable(*place[:n]) for n in range(len(place), 0, -1))
    return next((given[name] for name in names if name in given), "")


def _expected(error: ErrorDetails, place: tuple[str, ...]) -> str:
    """How a list or a table is written."""
    kind = error["type"].replace("tuple", "list")
    if kind not in _EXAMPLES or len(place) != 2:
        return ""
    shipped = shipped_values().get(place[0], {}).get(place[1])
    example = json.dumps(shipped, separators=(",", ":")) if shipped else _EXAMPLES[kind]
    return f", such as '{example}'"


def _found(error: ErrorDetails, place: tuple[str, ...]) -> str:
    """What stands where something else should, unless it may be a secret."""
    value = error["input"]
    hidden = len(place) == 1 or place in SECRET_SETTINGS or isinstance(value, dict)
    return "" if hidden else f"{value!r:.{_FOUND_CHARACTERS}}"
