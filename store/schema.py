"""Each table of the warehouse once: its columns, its time, and what makes two rows the same.

SQL types and views, compaction, export, the stream's packed tables and messages, and the types of
the HTTP API follow from it.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import pyarrow as pa

from conf.timeframes import TIMEFRAME_MS
from ingest.bar import PRICES
from model.intervals import QUANTILES
from model.layout import NEWS_COLUMNS
from model.size import LEAST_OF_A_WEEK

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
# What both engines and Python can count with, beside `PRICES`: years, and horizons in bars.
TIMES_MS: Final = (0, 4_102_444_800_000)  # 1970 to 2100
HORIZONS: Final = (1, 100_000)
# An interval's coverage, and the size of a log return between such prices.
COVERAGES: Final = (1e-12, 1.0)
SIZES: Final = (0.0, 139.0)
_SQL_TIMES: Final = "BETWEEN TIMESTAMP '1970-01-01 00:00:00' AND TIMESTAMP '2100-01-01 00:00:00'"


@dataclass(frozen=True, eq=False)
class Table:
    """One table of the warehouse.

    Of the rows with the same `identity` the first by `best_first` counts: the text of an ORDER BY
    that DuckDB and Spark SQL both take, in which `batch` is the folder that a row lies in. `time`
    is the column that a range of time is about. `optional` columns may be null; `prices` may not,
    and lie within `PRICES`. `limits` are the least and the largest value of other columns; of each
    pair in `ordered` the first does not exceed the second. A row that breaks a rule is in no view
    (see `rules`).
    """

    name: str
    columns: Mapping[str, pa.DataType]
    time: str
    identity: tuple[str, ...]
    best_first: str = "batch"
    optional: frozenset[str] = frozenset()
    prices: tuple[str, ...] = ()
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    ordered: tuple[tuple[str, str], ...] = ()

    @cached_property
    def required(self) -> frozenset[str]:
        """The columns without which a row means nothing."""
        return frozenset((*self.identity, self.time, *self.prices))

    def allows(self, column: str, value: Any) -> bool:
        """Whether a value may stand in a column; times in epoch ms.

        >>> BARS.allows("close", 0.0), BARS.allows("open_time", 2**62), BARS.allows("symbol", "A")
        (False, False, True)
        """
        if column == "interval":
            return value in TIMEFRAME_MS
        bounds = self.bounds.get(column)
        return bounds is None or bool(bounds[0] <= value <= bounds[1])

    def problem(self, row: Mapping[str, Any]) -> str | None:
        """Which rule a row breaks, or None; its values are of their columns' types, times in epoch
        ms."""
        for name in self.columns:
            if row[name] is not None and not self.allows(name, row[name]):
                return f"{name} must be {self._allowed(name)}"
        pairs = (pair for pair in self.ordered if row[pair[0]] > row[pair[1]])
        return next((f"{low} must not exceed {high}" for low, high in pairs), None)

    def _allowed(self, column: str) -> str:
        if column == "interval":
            return f"one of {', '.join(TIMEFRAME_MS)}"
        low, high = self.bounds[column]
        return "between 1970 and 2100" if self.columns[column] == TIME else f"{low:g} to {high:g}"

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """The least and the largest value of each column that has such; times in epoch ms."""
        times = {name: TIMES_MS for name, kind in self.columns.items() if kind == TIME}
        horizons = {"horizon": HORIZONS} if "horizon" in self.columns else {}
        return {**times, **horizons, **dict.fromkeys(self.prices, PRICES), **self.limits}

    @property
    def rules(self) -> str:
        """SQL: what holds of each row that a view shows.

        What may be null has no part in it: each query would read these columns for it, twice as
        long over a month. `problem` looks at them where rows come from a topic.
        """
        rules = [f"{name} IS NOT NULL" for name in self.columns if name in self.required]
        if "interval" in self.columns:
            rules.append(f"interval IN ({', '.join(repr(name) for name in TIMEFRAME_MS)})")
        for name in (name for name in self.bounds if name not in self.optional):
            low, high = self.bounds[name]
            is_time = self.columns[name] == TIME
            within = f"{name} {_SQL_TIMES}" if is_time else f"{name} BETWEEN {low} AND {high}"
            rules.append(within if name in self.required else f"({name} IS NULL OR {within})")
        rules += [f"{low} <= {high}" for low, high in self.ordered]
        return " AND ".join(rules)

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
    def ddl(self) -> str:
        """The columns and their types as Spark is told them, the folder's name behind them."""
        return ", ".join(
            [*(f"{n} {_SQL[kind]}" for n, kind in self.columns.items()), "batch STRING"]
        )

    @property
    def place(self) -> str:
        """SQL: 1 for the row that counts among those of the same identity."""
        identity = ", ".join(self.identity)
        return f"row_number() OVER (PARTITION BY {identity} ORDER BY {self.best_first})"

    def read(self, sources: Iterable[tuple[str, Collection[str]]], batch: str = "batch") -> str:
        """SQL: the rows of all `sources` that keep the rules, with the types of this table.

        Each source is SQL with the columns that it has: a column that it lacks is null. `batch` is
        SQL for the name of a row's folder. Spark writes times with or without a zone, by its
        settings; both mean UTC here.
        """
        parts = [self._typed(source, columns, batch) for source, columns in sources]
        rows = " UNION ALL ".join(parts or [f"{self._typed('(SELECT 1) AS none', (), 'NULL')}"])
        return f"SELECT * FROM ({rows}) AS typed WHERE {self.rules}"

    def _typed(self, source: str, columns: Collection[str], batch: str) -> str:
        typed = [
            f"{f'TRY_CAST({name}' if name in columns else 'CAST(NULL'} AS {_SQL[kind]}) AS {name}"
            for name, kind in self.columns.items()
        ]
        return f"SELECT {', '.join(typed)}, CAST({batch} AS STRING) AS batch FROM {source}"

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
        "trades": COUNT,
        **dict.fromkeys(("taker_base_volume", "taker_quote_volume"), NUMBER),
    },
    time="open_time",
    identity=(*_SERIES, "open_time"),
    best_first="fetched_at DESC, batch DESC",
    prices=("open", "high", "low", "close"),
)
# What is known of a prediction beside its interval; null where its model was made without it.
DISTRIBUTION: Final = ("scale", *QUANTILES)
# SQL: of the predictions `p` of the week before `n`, of the same series and horizon, the share that
# expected smaller moves.
LIVELIER: Final = (
    f"CASE WHEN count(p.scale) >= {LEAST_OF_A_WEEK} AND max(n.scale) IS NOT NULL "
    "THEN avg(CASE WHEN p.scale < n.scale THEN 1.0 WHEN p.scale >= n.scale THEN 0.0 END) END"
)
PREDICTIONS: Final = Table(
    "predictions",
    {
        **_FORECAST,
        "target_time": TIME,
        **dict.fromkeys(("last_close", "predicted_close", "lower", "upper", "coverage"), NUMBER),
        **dict.fromkeys(DISTRIBUTION, NUMBER),
        "proven": TEXT,
        "model_version": TEXT,
        "query_id": TEXT,
        "batch_id": COUNT,
        "predicted_at": TIME,
    },
    time="as_of",
    identity=(*_FORECAST, "model_version"),
    best_first="predicted_at, batch",
    optional=frozenset((*DISTRIBUTION, "proven")),
    prices=("last_close", "predicted_close", "lower", "upper"),
    limits={"coverage": COVERAGES, "scale": SIZES, **dict.fromkeys(QUANTILES, PRICES)},
    ordered=(("lower", "upper"),),
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
    prices=("arima_close",),
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
# Until when each registered model has seen bars, under the name that it was registered with.
FITS: Final = Table(
    "fits",
    {
        "model_version": TEXT,
        "interval": TEXT,
        **dict.fromkeys(("trained_from", "trained_until"), TIME),
    },
    time="trained_until",
    identity=("model_version",),
)
# The lengths in ms that scores are computed over, each up to the newest target time.
SPANS: Final = {"1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000, "all": math.inf}
# Of predictions with quantiles.
SCORES_OF_SPREAD: Final = (
    *("crps", "interval_score", "qlike", "coverage_50", "coverage_80"),
    *(f"pinball_{name}" for name in QUANTILES),
    *(f"pit_{part}" for part in range(1, len(QUANTILES) + 2)),
    *("crps_trailing", "interval_score_trailing", "coverage_trailing"),
    *("crps_skill", "dm_crps", "dm_p_crps"),
)
# Of acting on the sign of each forecast, in basis points; the fee of one side at which it breaks
# even, and its 95 % interval.
_PAID: Final = (
    *("gain_bp", "turnover"),
    *("break_even_bp", "break_even_low_bp", "break_even_high_bp"),
)
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
        **dict.fromkeys((*SCORES_OF_SPREAD, *_PAID), NUMBER),
        **dict.fromkeys(("first_target", "last_target"), TIME),
    },
    time="last_target",
    identity=tuple(_SCORED),
    optional=frozenset(
        (
            *("skill_persistence", "skill_arima", "r2", "directional_accuracy"),
            *("dm_arima", "dm_p_arima"),
            *SCORES_OF_SPREAD,
            *_PAID,
        )
    ),
)

# SQL: whether the bar `b` closed within the prediction interval of `p`, up to single precision.
_ROUNDING: Final = 1e-7
COVERED: Final = (
    f"(b.close >= p.lower * (1 - {_ROUNDING}) AND b.close <= p.upper * (1 + {_ROUNDING}))"
)


def within(close: Any, lower: Any, upper: Any) -> Any:
    """The same of arrays."""
    return (close >= lower * (1 - _ROUNDING)) & (close <= upper * (1 + _ROUNDING))


# What the stream writes, a folder a micro-batch; compaction merges them. `score` writes the others.
STREAM_TABLES: Final = {t.name: t for t in (BARS, PREDICTIONS, SKIPPED, ARTICLES, SENTIMENT)}
TABLES: Final = {**STREAM_TABLES, **{t.name: t for t in (ARIMA, DRIFT, FITS, SCORES)}}
