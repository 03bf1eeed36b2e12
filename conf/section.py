"""A table of the settings file; what is not given is as the shipped file has it."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, model_validator

SHIPPED_FILE: Final = files("conf") / "candlecast.toml"
# In place of a default: `candlecast.toml` has it.
SHIPPED: Final[Any] = ...


class Section(BaseModel):
    """A table of the settings file; a name that does not exist is an error, not ignored.

    `table` is the file's name for it, by default that of the class in small letters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
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
