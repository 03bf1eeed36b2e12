"""The record of every change of champion: `warehouse/promotions`, one small file a decision."""

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from conf.errors import ArtifactMismatch
from conf.events import event
from conf.locks import only_one
from conf.sections import Promotion
from conf.settings import Settings
from conf.state_files import sync_file, sync_folder
from model.artifact import Artifact
from model.dataset import Span
from model.promotion import Verdict, judge
from model.registry import Registry
from model.series import Series

log = logging.getLogger(__name__)

Action = Literal["gate", "promote", "rollback", "shipped"]
# A person's decision says nothing new about what a model is proven in.
_JUDGED: Final = ("gate", "shipped")
YEAR_MS: Final = 365 * 86_400_000
# Of the level that is left: a weekly schedule judges some hundred challengers a year.
LATER_SHARE: Final = 0.02
_LOCK_FILE: Final = ".lock"
_TIME: Final = pa.timestamp("ms", tz="UTC")
_SCHEMA: Final = pa.schema(
    [
        ("decided_at", _TIME),
        ("action", pa.string()),
        ("interval", pa.string()),
        ("challenger", pa.string()),
        ("champion", pa.string()),
        ("promoted", pa.bool_()),
        ("reason", pa.string()),
        ("judged_from", _TIME),
        ("judged_until", _TIME),
        ("n_windows", pa.int64()),
        ("skill", pa.float64()),
        ("champion_skill", pa.float64()),
        ("p_persistence", pa.float64()),
        ("p_champion", pa.float64()),
        ("level", pa.float64()),
        ("crps_skill", pa.float64()),
        ("p_trailing", pa.float64()),
        ("proven", pa.string()),
    ]
)


@dataclass(frozen=True)
class Arena:
    """Where models are registered and compete: the registry, the record of decisions, the gate's
    settings. `allow_unproven` lets a model that fails serve where no other does, marked as such."""

    registry: Registry
    promotions_dir: Path
    gate: Promotion
    allow_unproven: bool = False

    @classmethod
    def of(cls, settings: Settings, allow_unproven: bool = False) -> Self:
        """The one that the settings name."""
        registry = Registry.of(settings.registry)
        promotions_dir = settings.warehouse.folder / "promotions"
        return cls(registry, promotions_dir, settings.promotion, allow_unproven)


@dataclass(frozen=True)
class Decision:
    """Who against whom, by which figures, with what result; `champion` is the one before."""

    action: Action
    interval: str
    challenger: str
    champion: str | None
    verdict: Verdict
    decided_at: datetime = field(default_factory=partial(datetime.now, UTC))


def decide_and_record(
    arena: Arena, challenger: str, series: Sequence[Series], part: Span
) -> Decision:
    """Put `challenger` through the gate, write the decision down, and move the alias if it passed.

    The whole is one turn under the lock, so that of two challengers the second meets the first as
    champion. The alias moves last: a process that dies before leaves the champion as it was.
    """
    registry = arena.registry
    with deciding(arena.promotions_dir):
        artifact = registry.load(challenger)
        timeframe = artifact.manifest.interval
        champion = registry.champion(timeframe)
        level = level_left(decisions(arena.promotions_dir), timeframe, part.end, arena.gate.level)
        gate = arena.gate.model_copy(update={"level": level})
        verdict = judge(artifact, _loaded(registry, champion), series, part, gate)
        unproven = champion is None and not verdict.promoted and arena.allow_unproven
        if unproven:
            reason = f"served on demand, unproven: {verdict.reason}"
            verdict = replace(verdict, promoted=True, reason=reason)
        decision = Decision("gate", timeframe, challenger, champion, verdict)
        record(arena, decision)
        if verdict.promoted:
            registry.promote(challenger, unproven=unproven)
    return decision


def level_left(
    rows: Sequence[Mapping[str, Any]], timeframe: str, until_ms: int, level: float
) -> float:
    """The level that the next challenger has to pass, of which `level` may be spent within a year
    of bars: the chance that a year of challengers without skill promotes one.

    The first challenger of a year has half of it, each later one LATER_SHARE of what is left then.
    `rows` are decisions as `decisions` reads them; `until_ms` is when what is judged ends.

    >>> level_left([], "1m", 0, 0.05)
    0.025
    >>> before = {"interval": "1m", "judged_until": datetime.fromtimestamp(0, UTC), "level": 0.025}
    >>> level_left([before], "1m", 0, 0.05), level_left([before], "1m", 2 * YEAR_MS, 0.05)
    (0.0005, 0.025)
    """
    spent = [
        row["level"]
        for row in rows
        if row["interval"] == timeframe
        and row["level"] is not None
        and abs(row["judged_until"].timestamp() * 1000 - until_ms) < YEAR_MS
    ]
    return max(0.0, level - sum(spent)) * LATER_SHARE if spent else level / 2


def _loaded(registry: Registry, champion: str | None) -> Artifact | None:
    """The champion's artifact; None also where its files can't be trusted, so that it is replaced
    by whatever beats persistence."""
    if champion is None:
        return None
    try:
        return registry.load(champion)
    except ArtifactMismatch as error:
        event(log, "champion_not_loaded", level=logging.ERROR, champion=champion, reason=error)
        return None


def deciding(promotions_dir: Path) -> AbstractContextManager[None]:
    """Hold the right to change a champion; raises AlreadyRunning where another process does."""
    return only_one(promotions_dir / _LOCK_FILE, "the choice of a champion")


def record(arena: Arena, decision: Decision) -> None:
    """Write a decision as a row, and as tags of the challenger.

    The row goes under a name that no reader looks at and is then renamed: it is there whole or not.
    """
    verdict = decision.verdict
    row = {**asdict(decision), **asdict(verdict)}
    # What was not compared is NaN, and null in the table.
    columns = [pa.array([row[one.name]], one.type, from_pandas=True) for one in _SCHEMA]
    name = f"{decision.decided_at:%Y%m%dT%H%M%S%f}-{decision.challenger}"
    arena.promotions_dir.mkdir(parents=True, exist_ok=True)
    hidden = arena.promotions_dir / f".{name}.{os.getpid()}"
    pq.write_table(pa.table(columns, schema=_SCHEMA), hidden)
    sync_file(hidden)
    hidden.rename(arena.promotions_dir / f"{name}.parquet")
    sync_folder(arena.promotions_dir)
    tags = {
        "decision": decision.action,
        "promoted": str(verdict.promoted).lower(),
        "reason": verdict.reason,
    }
    if decision.action in _JUDGED:
        tags["proven"] = verdict.proven
    for tag, value in tags.items():
        arena.registry.tag(decision.challenger, tag, value)


def decisions(promotions_dir: Path) -> list[dict[str, Any]]:
    """Every decision as a row, the oldest first."""
    files = sorted(promotions_dir.glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, schema=_SCHEMA).to_pylist()]
