"""The HTTP API: what the page shows, for programs. Read-only, typed, described at /openapi.json."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import pandas as pd
from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from conf.settings import Settings
from conf.timeframes import TIMEFRAME_MS, Timeframe
from dashboard.api_types import HealthAnswer, Model, Prediction, Score, SpanName
from dashboard.events import event_stream
from dashboard.health import read_health
from dashboard.sources import Sources

MAX_ROWS: Final = 5_000
MAX_EVENT_STREAMS: Final = 100
MINUTE_S: Final = 60.0
MAX_TIME_MS: Final = 4_102_444_800_000  # the year 2100

Symbol = Annotated[str, Path(pattern=r"^[A-Z0-9]{1,20}-[A-Z0-9]{1,20}$", examples=["BTC-USD"])]
Time = Annotated[int, Query(ge=0, le=MAX_TIME_MS, description="epoch ms, UTC")]
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {
    404: {"description": "no such symbol, or nothing predicted for it"}
}


def create_app(settings: Settings) -> FastAPI:
    """The application over the warehouse, topics and registry that the settings name."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.sources = Sources.open(settings)
        yield
        app.state.sources.close()

    app = FastAPI(
        title="Candlecast",
        version="1",
        description="Predictions of cryptocurrency prices, and how good they were. No advice.",
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    app.middleware("http")(RateLimit(settings.dashboard.requests_per_minute))
    _add_routes(app)
    return app


class RateLimit:
    """Answers 429 to an address that asks more often than `per_minute` times a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._started = clock()
        self._counts: dict[str, int] = defaultdict(int)

    async def __call__(
        self, request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Count a request, and answer it unless there were too many."""
        left = self._started + MINUTE_S - self._clock()
        if left <= 0:
            self._counts.clear()
            self._started, left = self._clock(), MINUTE_S
        client = request.client.host if request.client else "unknown"
        self._counts[client] += 1
        if self._counts[client] > self._per_minute:
            text = f"more than {self._per_minute} requests a minute"
            headers = {"Retry-After": str(int(left) + 1)}
            return JSONResponse({"detail": text}, status_code=429, headers=headers)
        return await answer(request)


def _add_routes(app: FastAPI) -> None:
    app.get("/health")(health)
    app.get("/models")(models)
    app.get("/scores")(scores)
    app.get("/predictions/{symbol}", responses=NOT_FOUND)(latest)
    app.get("/predictions/{symbol}/history", responses=NOT_FOUND)(history)
    app.get(
        "/events",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            503: {"description": "as many listeners as there may be"},
        },
    )(events)


def health(request: Request) -> HealthAnswer:
    """Whether it runs: broker, stream, ages, lag, skipped and rejected with reasons."""
    return read_health(_sources(request))


def models(request: Request) -> list[Model]:
    """Every registered model, which one serves, and what was decided about it."""
    return [
        Model(
            version=m.version,
            interval=m.interval,
            is_champion=m.is_champion,
            registered_at=m.registered_at,
            reason=m.tags.get("reason", ""),
        )
        for m in _sources(request).registry.models()
    ]


def scores(
    request: Request,
    span: Annotated[SpanName, Query(description="up to the newest scored target time")] = "24h",
    backfilled: Annotated[bool, Query(description="made after their target time")] = False,
) -> list[Score]:
    """The scoreboard as `candlecast score` computed it last; empty before it has run."""
    board = _sources(request).tables.scores()
    if board is None:
        return []
    rows = board[(board["span"] == span) & (board["backfilled"].astype(bool) == backfilled)]
    return [Score.model_validate(row) for row in records(rows)]


def latest(request: Request, symbol: Symbol, interval: Timeframe = "1m") -> list[Prediction]:
    """The newest prediction of a symbol at each horizon."""
    sources = _sources(request)
    newest = _newest_open(sources, symbol, interval)
    since = max(0, newest - MAX_ROWS * TIMEFRAME_MS[interval])
    made = sources.predictions(symbol, interval, since, bars=1)
    last = made.sort_values(["as_of", "predicted_at"]).drop_duplicates("horizon", keep="last")
    if last.empty:
        raise HTTPException(404, f"nothing predicted for {symbol} {interval}")
    return [Prediction.model_validate(row) for row in records(last.sort_values("horizon"))]


def history(
    request: Request,
    symbol: Symbol,
    interval: Timeframe = "1m",
    since: Time = 0,
    until: Time = MAX_TIME_MS,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 1_000,
) -> list[Prediction]:
    """Predictions made from bars that closed in `since..until`, ascending; the newest `limit`."""
    sources = _sources(request)
    _newest_open(sources, symbol, interval)
    made = sources.predictions(symbol, interval, since, bars=1)
    chosen = made[made["as_of"] <= pd.Timestamp(until, unit="ms")].tail(limit)
    return [Prediction.model_validate(row) for row in records(chosen)]


def events(request: Request, symbol: Annotated[str, Query(max_length=41)] = "") -> Response:
    """New predictions as they come, as server-sent events; of one symbol if given."""
    newest = _sources(request).newest
    if newest.followers >= MAX_EVENT_STREAMS:
        raise HTTPException(503, f"{MAX_EVENT_STREAMS} listeners already")
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(
        event_stream(newest, symbol), media_type="text/event-stream", headers=headers
    )


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON takes them: times in epoch ms, None for what is not there."""
    plain = rows.copy()
    for name in plain.select_dtypes(include=["datetime"]).columns:
        plain[name] = plain[name].astype("datetime64[ms]").astype("int64")
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in plain.to_dict("records")
    ]


def _sources(request: Request) -> Sources:
    sources: Sources = request.app.state.sources
    return sources


def _newest_open(sources: Sources, symbol: str, timeframe: str) -> int:
    known = sources.tables.series()
    if (symbol, timeframe) not in known and (symbol, timeframe) not in sources.newest.series():
        raise HTTPException(404, f"no {timeframe} bars of {symbol}")
    return known.get((symbol, timeframe), 0)
