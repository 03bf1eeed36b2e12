"""The errors of Candlecast, grouped by what the program does about them.

CandlecastError
├── RetryLater(retry_after_s)      wait, then try again            exit code 75
│   ├── RateLimited                the source asked us to slow down
│   ├── SourceUnavailable          the source did not answer, or not with what it promises
│   ├── BrokerUnavailable          Kafka can't be reached
│   ├── RegistryUnavailable        the registry of models is locked or does not answer
│   ├── NotEnoughBars              there is too little to train on yet
│   ├── NotEnoughMemory            the machine has less free than what is to be done needs
│   └── AlreadyRunning             another process does this at the moment; the message names it
├── NotOffered                     leave this symbol out, go on    (stops only where none is left)
├── MalformedRecord                quarantine this record, go on   (never ends a program)
│   ├── MalformedBar
│   └── MalformedArticle
└── Stop                           a person has to act             exit code 78
    ├── ConfigurationError         a setting, key or argument is wrong
    ├── MissingPrerequisite        Java, a jar, a port or disk space is missing
    ├── ArtifactMismatch           a saved model is not what its manifest says, or not what we need
    └── DataLoss                   going on would skip or repeat data  exit code 65
"""

from typing import ClassVar, Final

# How systems, Java, Arrow and SQLite say that the disk is full, or a limit on files was met.
DISK_FULL: Final = r"No space left on device|Disk quota exceeded|File too large|disk is full"


class CandlecastError(Exception):
    """Anything that Candlecast itself reports; the message says what to do."""

    exit_code: ClassVar[int] = 70


class RetryLater(CandlecastError):
    """Something outside is unavailable for now."""

    exit_code = 75

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(RetryLater):
    """The source answered that we ask too often."""


class SourceUnavailable(RetryLater):
    """The source did not answer, or answered with something else than it promises."""


class BrokerUnavailable(RetryLater):
    """Kafka can't be reached, or did not acknowledge in time."""


class RegistryUnavailable(RetryLater):
    """The registry of models is locked, or does not answer."""


class NotOffered(CandlecastError):
    """The source does not know this symbol, or not in this timeframe."""

    exit_code = 78


class NotEnoughBars(RetryLater):
    """There are too few bars yet for what was asked; more will come."""


class NotEnoughMemory(RetryLater):
    """The machine, or the limit of its container, leaves less than what is to be done needs."""


class AlreadyRunning(RetryLater):
    """Another process does, at this moment, what only one may do at a time."""


class MalformedRecord(CandlecastError):
    """One record from outside breaks a rule; the message is the reason kept with it."""


class MalformedBar(MalformedRecord):
    """A bar breaks a rule of the contract."""


class MalformedArticle(MalformedRecord):
    """A news article lacks what every article must have."""


class Stop(CandlecastError):
    """Going on makes no sense until a person has changed something."""

    exit_code = 78


class ConfigurationError(Stop):
    """A setting, a key or an argument is missing or makes no sense."""


class MissingPrerequisite(Stop):
    """The machine lacks something that the README asks for."""


class ArtifactMismatch(Stop):
    """A saved model is not what its manifest says, or does not fit the settings."""


class DataLoss(Stop):
    """Going on would silently skip or repeat data."""

    exit_code = 65
