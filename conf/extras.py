"""What only some installations have: the packages of the extra `train`."""

from importlib.util import find_spec
from typing import Final

from conf.errors import MissingPrerequisite

# What the packages of the extra are imported as.
_TRAIN: Final = ("keras", "tensorflow", "onnx", "statsforecast", "matplotlib")


def without_train() -> str | None:
    """What is missing to train, and the command that installs it; None where all is there."""
    return next((_missing(name) for name in _TRAIN if find_spec(name) is None), None)


def of_an_extra(error: ModuleNotFoundError) -> MissingPrerequisite | None:
    """What a person is told of a failed import; None where no extra has the module."""
    name = str(error.name).partition(".")[0]
    return MissingPrerequisite(_missing(name)) if name in _TRAIN else None


def _missing(module: str) -> str:
    return (
        f"{module} is missing, which comes with the extra `train`: `make install-train` installs "
        "it, or `pip install .[train]`"
    )
