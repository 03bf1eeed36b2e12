"""The record of every change of champion: `warehouse/promotions`, one small file a decision."""

import fcntl
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from conf.errors import ArtifactMismatch, BeingDecided
from conf.events import event
from conf.settings import Promotion
from model.artifact import Artifact
from model.dataset import Span
from model.promotion import Verdict, judge
from model.registry import Registry
from model.series import Series

log = logging.getLogger(__name__)

Action = Literal["gate", "promote", "rollback"]
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
    ]
)


@dataclass(frozen=True)
class Decision:
    """Who against whom, by which figures, with what result; `champion` is the one before."""

    decided_at: datetime
    action: Action
    interval: str
    challenger: str
    champion: str | None
    verdict: Verdict


def decide_and_record(
    registry: Registry,
    promotions_dir: Path,
    challenger: str,
    series: Sequence[Series],
    part: Span,
    gate: Promotion,
    allow_unproven: bool = False,
) -> Decision:
    """Put `challenger` through the gate, write the decision down, and move the alias if it passed.

    The whole is one turn under the lock, so that of two challengers the second meets the first as
    champion. The alias moves last: a process that dies before leaves the champion as it was.
    `allow_unproven` lets a model that fails serve where nothing else does, marked as unproven.
    """
    with deciding(promotions_dir):
        artifact = registry.load(challenger)
        timeframe = artifact.manifest.interval
        champion = registry.champion(timeframe)
        verdict = judge(artifact, _loaded(registry, champion), series, part, gate)
        unproven = champion is None and not verdict.promoted and allow_unproven
        if unproven:
            reason = f"served on demand, unproven: {verdict.reason}"
            verdict = replace(verdict, promoted=True, reason=reason)
        decision = Decision(now(), "gate", timeframe, challenger, champion, verdict)
        record(promotions_dir, registry, decision)
        if verdict.promoted:
            registry.promote(challenger, unproven=unproven)
    return decision


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


@contextmanager
def deciding(promotions_dir: Path) -> Iterator[None]:
    """Hold the right to change a champion; the system takes it back when the process dies.

    Raises BeingDecided where another process is deciding.
    """
    promotions_dir.mkdir(parents=True, exist_ok=True)
    with (promotions_dir / _LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BeingDecided(
                f"another process is choosing a champion ({promotions_dir / _LOCK_FILE}); try again"
            ) from error
        yield


def record(promotions_dir: Path, registry: Registry, decision: Decision) -> None:
    """Write a decision as a row, and as tags of the challenger.

    The row goes under a name that no reader looks at and is then renamed: it is there whole or not.
    """
    row = _row(decision)
    name = f"{decision.decided_at:%Y%m%dT%H%M%S%f}-{decision.challenger}"
    promotions_dir.mkdir(parents=True, exist_ok=True)
    hidden = promotions_dir / f".{name}.{os.getpid()}"
    pq.write_table(pa.Table.from_pylist([row], _SCHEMA), hidden)
    hidden.rename(promotions_dir / f"{name}.parquet")
    registry.tag(decision.challenger, "decision", decision.action)
    registry.tag(decision.challenger, "promoted", str(decision.verdict.promoted).lower())
    registry.tag(decision.challenger, "reason", decision.verdict.reason)


def decisions(promotions_dir: Path) -> list[dict[str, Any]]:
    """Every decision as a row, the oldest first."""
    files = sorted(promotions_dir.glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, schema=_SCHEMA).to_pylist()]


def now() -> datetime:
    """The time of a decision."""
    return datetime.now(UTC)


def _row(decision: Decision) -> dict[str, Any]:
    verdict = asdict(decision.verdict)
    for name in ("judged_from", "judged_until"):
        verdict[name] = datetime.fromtimestamp(verdict[name] / 1000, UTC)
    figures = {k: None if _is_nan(v) else v for k, v in verdict.items()}
    return {**{k: getattr(decision, k) for k in _SCHEMA.names[:5]}, **figures}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
