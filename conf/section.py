"""A table of the settings file; what is not given is as the shipped file has it."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

SHIPPED_FILE: Final = files("conf") / "candlecast.toml"
# In place of a default: `candlecast.toml` has it.
SHIPPED: Final[Any] = ...

# What Kafka, Spark and Parquet count with.
_MOST: Final = 2**31 - 1
PositiveInt = Annotated[int, Field(gt=0, le=_MOST)]
NotNegativeInt = Annotated[int, Field(ge=0, le=_MOST)]
PositiveFloat = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Share = Annotated[float, Field(gt=0, lt=1)]
# Durations that a clock and a calendar can count with: up to a year in seconds, or a century in
# days.
_YEAR_S: Final = 366 * 86_400
_CENTURY_DAYS: Final = 36_525
Seconds = Annotated[float, Field(ge=0, le=_YEAR_S)]
PositiveSeconds = Annotated[float, Field(gt=0, le=_YEAR_S)]
Days = Annotated[int, Field(ge=0, le=_CENTURY_DAYS)]
PositiveDays = Annotated[int, Field(gt=0, le=_CENTURY_DAYS)]


class Section(BaseModel):
    """A table of the settings file; a name that does not exist is an error, not ignored.

    `table` is the file's name for it, by default that of the class in small letters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    table: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _as_shipped(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        shipped = shipped_values().get(cls.table or cls.__name__.lower(), {})
        return {name: shipped[name] for name in cls.model_fields if name in shipped} | given


@cache
def shipped_values() -> dict[str, dict[str, Any]]:
    """The tables of the file that comes with the code."""
    return tomllib.loads(SHIPPED_FILE.read_text())
