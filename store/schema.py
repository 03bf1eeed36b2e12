"""Each table of the warehouse once: its columns, its time, and what makes two rows the same.

SQL types and views, compaction, export, the stream's packed tables and messages, and the types of
the HTTP API follow from it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import pyarrow as pa

from model.news import NEWS_COLUMNS

TEXT: Final = pa.string()
NUMBER: Final = pa.float64()
SMALL: Final = pa.int32()
COUNT: Final = pa.int64()
FLAG: Final = pa.bool_()
# In Parquet; in messages and packed tables times are epoch ms, UTC.
TIME: Final = pa.timestamp("us", "UTC")
# Both engines know these names.
_SQL: Final = {
    TEXT: "STRING",
    NUMBER: "DOUBLE",
    SMALL: "INT",
    COUNT: "BIGINT",
    FLAG: "BOOLEAN",
    TIME: "TIMESTAMP",
}


@dataclass(frozen=True)
class Table:
    """One table of the warehouse.

    Of the rows with the same `identity` the first by `best_first` counts: the text of an ORDER BY
    that DuckDB and Spark SQL both take, in which `batch` is the folder that a row lies in. `time`
    is the column that a range of time is about. `optional` columns may be null.
    """

    name: str
    columns: Mapping[str, pa.DataType]
    time: str
    identity: tuple[str, ...]
    best_first: str = "batch"
    optional: frozenset[str] = frozenset()

    @cached_property
    def stored(self) -> pa.Schema:
        """What the stream's Parquet files hold."""
        return pa.schema(list(self.columns.items()))

    @cached_property
    def packed(self) -> pa.Schema:
        """What packed tables and messages hold: times are epoch ms, UTC."""
        columns = self.columns.items()
        return pa.schema([(name, COUNT if kind == TIME else kind) for name, kind in columns])

    @property
    def place(self) -> str:
        """SQL: 1 for the row that counts among those of the same identity."""
        identity = ", ".join(self.identity)
        return f"row_number() OVER (PARTITION BY {identity} ORDER BY {self.best_first})"

    def read(self, source: str | None) -> str:
        """SQL: the rows of `source` with the types of this table; none where there is no source.

        Spark writes times with or without a zone, by its settings; both mean UTC here.
        """
        kinds = {**{name: _SQL[kind] for name, kind in self.columns.items()}, "batch": "STRING"}
        if source is None:
            columns = (f"CAST(NULL AS {kind}) AS {name}" for name, kind in kinds.items())
            return f"SELECT {', '.join(columns)} WHERE 1 = 0"
        columns = (f"CAST({name} AS {kind}) AS {name}" for name, kind in kinds.items())
        return f"SELECT {', '.join(columns)} FROM {source}"

    @property
    def once(self) -> str:
        """SQL: each identity of the view `NAME_raw` once, its best version."""
        rows = f"(SELECT *, {self.place} AS place FROM {self.name}_raw) AS versions"
        return f"(SELECT {', '.join(self.columns)} FROM {rows} WHERE place = 1)"


_SERIES: Final = {"symbol": TEXT, "interval": TEXT}
# One forecast of one series: made from the bar that closed at `as_of`, `horizon` bars ahead.
_FORECAST: Final = {**_SERIES, "as_of": TIME, "horizon": SMALL}

BARS: Final = Table(
    "bars",
    {
        **_SERIES,
        "open_time": TIME,
        **dict.fromkeys(("open", "high", "low", "close", "base_volume", "quote_volume"), NUMBER),
        "source": TEXT,
        "fetched_at": TIME,
    },
    time="open_time",
    identity=(*_SERIES, "open_time"),
    best_first="fetched_at DESC, batch DESC",
)
PREDICTIONS: Final = Table(
    "predictions",
    {
        **_FORECAST,
        "target_time": TIME,
        **dict.fromkeys(("last_close", "predicted_close", "lower", "upper", "coverage"), NUMBER),
        "model_version": TEXT,
        "query_id": TEXT,
        "batch_id": COUNT,
        "predicted_at": TIME,
    },
    time="as_of",
    identity=(*_FORECAST, "model_version"),
    best_first="predicted_at, batch",
)
SKIPPED: Final = Table(
    "skipped",
    {**_SERIES, "as_of": TIME, "reason": TEXT},
    time="as_of",
    identity=(*_SERIES, "as_of", "reason"),
)
ARTICLES: Final = Table(
    "articles",
    {
        **dict.fromkeys(("provider", "id"), TEXT),
        **dict.fromkeys(("published_at", "available_at"), TIME),
        **dict.fromkeys(("title", "source", "url", "coins"), TEXT),
        **dict.fromkeys(("score", "weight"), NUMBER),
    },
    time="available_at",
    identity=("provider", "id"),
    best_first="available_at, batch",
)
SENTIMENT: Final = Table(
    "sentiment",
    {**_SERIES, "open_time": TIME, **dict.fromkeys(NEWS_COLUMNS, NUMBER)},
    time="open_time",
    identity=(*_SERIES, "open_time"),
)
ARIMA: Final = Table(
    "arima",
    {**_FORECAST, "arima_close": NUMBER, "fitted_until": TIME},
    time="as_of",
    identity=tuple(_FORECAST),
    best_first="fitted_until DESC, batch",
)
_DISTRIBUTION: Final = dict.fromkeys(("interval", "model_version", "kind", "name"), TEXT)
DRIFT: Final = Table(
    "drift",
    {**_DISTRIBUTION, "psi": NUMBER, "verdict": TEXT, "checked_at": TIME},
    time="checked_at",
    identity=tuple(_DISTRIBUTION),
    best_first="checked_at DESC, batch",
    optional=frozenset({"psi"}),
)
# The lengths in ms that scores are computed over, each up to the newest target time.
SPANS: Final = {"1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000, "all": math.inf}
_SCORED: Final = {
    **_SERIES,
    "horizon": SMALL,
    "model_version": TEXT,
    "backfilled": FLAG,
    "span": TEXT,
}
SCORES: Final = Table(
    "scores",
    {
        **_SCORED,
        "predictions": COUNT,
        **dict.fromkeys(("skill_persistence", "skill_arima"), NUMBER),
        "arima_predictions": COUNT,
        **dict.fromkeys(("mae", "mse", "r2"), NUMBER),
        **dict.fromkeys(("directional_accuracy", "direction_low", "direction_high"), NUMBER),
        **dict.fromkeys(("interval_coverage", "promised_coverage", "mean_width"), NUMBER),
        **dict.fromkeys(("dm_persistence", "dm_p_persistence", "dm_arima", "dm_p_arima"), NUMBER),
        **dict.fromkeys(("first_target", "last_target"), TIME),
    },
    time="last_target",
    identity=tuple(_SCORED),
    optional=frozenset(
        (
            *("skill_persistence", "skill_arima", "r2", "directional_accuracy"),
            *("dm_arima", "dm_p_arima"),
        )
    ),
)

# SQL: whether the bar `b` closed within the prediction interval of `p`, up to single precision.
COVERED: Final = "(b.close >= p.lower * (1 - 1e-7) AND b.close <= p.upper * (1 + 1e-7))"

# What the stream writes, a folder a micro-batch; compaction merges them. `score` writes the others.
STREAM_TABLES: Final = {t.name: t for t in (BARS, PREDICTIONS, SKIPPED, ARTICLES, SENTIMENT)}
TABLES: Final = {**STREAM_TABLES, **{t.name: t for t in (ARIMA, DRIFT, SCORES)}}
