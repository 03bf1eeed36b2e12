"""Is it running? The figures of the page's health section, and of the API's `/health`."""

import time
from collections import Counter

from dashboard.api_types import HealthAnswer
from dashboard.sources import Sources
from store.prometheus import Samples, read_metrics

DAY_MS = 86_400_000


def read_health(sources: Sources) -> HealthAnswer:
    """Ask the topics, the tables and the stream's metrics."""
    now, metrics = time.time(), read_metrics(sources.metrics_url)
    return HealthAnswer(
        broker=sources.newest.state,
        stream_answers=metrics is not None,
        last_bar_age_s=_age(now, sources.tables.written_at("bars")),
        last_prediction_age_s=_age(
            now, sources.newest.received_at or sources.tables.written_at("predictions")
        ),
        lag_records=sample(metrics, "lag_records"),
        lag_seconds=sample(metrics, "lag_seconds"),
        waiting_bars=sample(metrics, "waiting_bars"),
        leader_waits={
            dict(labels)["end"]: count
            for (name, labels), count in (metrics or {}).items()
            if name == "candlecast_leader_waits_total"
        },
        micro_batch_seconds=sample(metrics, "micro_batch_seconds", phase="triggerExecution"),
        champions={
            dict(labels)["interval"]: dict(labels)["version"]
            for name, labels in metrics or {}
            if name == "candlecast_champion"
        },
        rejected=sources.newest.rejected,
        rejections=shortened(sources.newest.reasons()),
        passed_over=sources.newest.passed_over(),
        unreadable_files=len(sources.tables.left_aside()),
        skipped=sources.tables.skipped(int(now * 1000) - DAY_MS),
    )


def shortened(reasons: Counter[str], kept: int = 5) -> dict[str, int]:
    """The most frequent reasons and the number of all others.

    >>> shortened(Counter({"a": 3, "b": 2, "c": 1}), kept=2)
    {'a': 3, 'b': 2, 'other': 1}
    """
    top = dict(reasons.most_common(kept))
    other = reasons.total() - sum(top.values())
    return {**top, "other": other} if other else top


def sample(metrics: Samples | None, name: str, **labels: str) -> float | None:
    """One figure of the stream by its name without the prefix; None where there is none."""
    return (metrics or {}).get((f"candlecast_{name}", tuple(sorted(labels.items()))))


def _age(now: float, then: float | None) -> float | None:
    return None if then is None else max(0.0, now - then)
