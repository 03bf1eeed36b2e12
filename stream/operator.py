"""The stateful operator of the stream as Spark sees it: what it keeps, and what it is called for.

Before the first micro-batch Spark starts a Python on the driver that asks `ShardWindows` for its
state variables and ends. A start waits for it, and so for all that is imported here: what works on
the bars is imported where it does.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from pyspark import TaskContext
from pyspark.sql.streaming import StatefulProcessor, StatefulProcessorHandle

from stream.state.settings import ShardSettings, StateVariables

if TYPE_CHECKING:
    import pandas as pd
    from pyspark import SparkContext
    from pyspark.sql import DataFrame

    from conf.sections import Market, Sentiment, Window

# Of Spark's local properties, which go from the thread that begins a job to its tasks.
_WANTED: Final = "candlecast.leaders"
_DAY_MS: Final = 86_400_000


class ShardWindows(StatefulProcessor):
    """Keeps the window state of the shards and emits each window once, when it is complete.

    news_silent_ms: for how long no news means none, not that they are unknown; None where they do
    not count.
    """

    def __init__(self, settings: ShardSettings, news_silent_ms: int | None) -> None:
        self._settings = settings
        self._news_silent_ms = news_silent_ms

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Called by Spark on the worker before any rows, and once on the driver without any."""
        self._variables = StateVariables.of(handle, self._news_silent_ms is not None)

    def handleInputRows(  # type: ignore[override]  # noqa: N802 - Spark's name
        self,
        key: Any,
        rows: "Iterator[pd.DataFrame]",
        timerValues: Any,  # noqa: N803
    ) -> "Iterator[pd.DataFrame]":
        """Called by Spark once a shard and micro-batch, with all its rows."""
        from stream.operator_rows import rows_of_shard

        yield rows_of_shard(
            key[0], rows, self._variables, self._settings, self._news_silent_ms, wanted_leaders()
        )

    def close(self) -> None:
        """Called by Spark on the worker at the end."""


def want_leaders(context: "SparkContext", timeframes: "Iterable[str]") -> None:
    """Tell the operator in the micro-batch at hand which timeframes' models read leaders.

    Called in `foreachBatch`, on whose thread Spark begins the tasks; they carry it with them.
    """
    context.setLocalProperty(_WANTED, ",".join(sorted(timeframes)))


def wanted_leaders() -> list[str]:
    """What the driver told this task by `want_leaders`."""
    context = TaskContext.get()
    text = context.getLocalProperty(_WANTED) if context is not None else None
    return text.split(",") if text else []


def with_windows(
    messages: "DataFrame",
    window: "Window",
    sentiment: "Sentiment",
    market: "Market",
    forget_after_days: float,
) -> "DataFrame":
    """Run the operator, shard by shard, over the output of `read_messages`, and of `read_news`
    where the news count; the column `content` says which of the two a row is of."""
    from stream.operator_rows import OUTPUT

    settings = ShardSettings(
        window.lookback,
        window.late_bars,
        window.shards,
        round(forget_after_days * _DAY_MS),
        market.model_dump_json() if market.width else "",
    )
    news_silent_ms = round(sentiment.silent_after_s * 1000) if sentiment.enabled else None
    return messages.groupBy("shard").transformWithStateInPandas(
        statefulProcessor=ShardWindows(settings, news_silent_ms),
        outputStructType=OUTPUT,
        outputMode="append",
        timeMode="none",
    )
