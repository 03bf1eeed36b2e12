"""The HTTP API: what the page shows, for programs. Read-only, typed, described at /openapi.json."""

import logging
import math
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Final

import pandas as pd
from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from conf.errors import CandlecastError
from conf.events import event
from conf.settings import Settings
from conf.timeframes import TIMEFRAME_MS, Timeframe
from dashboard.api_types import HealthAnswer, Model, Outlook, Prediction, Score, SpanName
from dashboard.events import EventResponse, Listeners, event_stream
from dashboard.health import read_health
from dashboard.outlook import outlooks
from dashboard.overview import Overview
from dashboard.site import add_page
from dashboard.sources import Sources

log = logging.getLogger(__name__)

MAX_SYMBOL: Final = 200
MAX_ROWS: Final = 5_000
# Among so many are the newest of every horizon.
NEWEST_ROWS: Final = 300
MINUTE_S: Final = 60.0
# Addresses that are counted one by one; more in a minute count as one.
MAX_CLIENTS: Final = 10_000
MAX_TIME_MS: Final = 4_102_444_800_000  # the year 2100

# Whatever is no symbol has no series: none of its grammar is said here.
Symbol = Annotated[str, Path(max_length=MAX_SYMBOL, examples=["BTC-USD"])]
Time = Annotated[int, Query(ge=0, le=MAX_TIME_MS, description="epoch ms, UTC")]
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {
    404: {"description": "no such symbol, or nothing predicted for it"}
}


def create_app(settings: Settings) -> FastAPI:
    """The application over the warehouse, topics and registry that the settings name."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.sources = Sources.open(settings)
        app.state.listeners = Listeners(settings.dashboard.listeners_per_client)
        app.state.servers = settings.kafka.bootstrap_servers
        app.state.overview = Overview(app.state.sources).start()
        # The first look at the registry imports MLflow: seconds for which no visitor should wait.
        with suppress(CandlecastError):  # it may be away; `/models` says so to those who ask
            await run_in_threadpool(app.state.sources.registry.models)
        yield
        app.state.overview.stop()
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
    app.middleware("http")(KnownHosts(settings.dashboard.api_hosts))
    app.exception_handler(CandlecastError)(_not_now)
    _add_routes(app)
    add_page(app)
    return app


async def _not_now(request: Request, error: Exception) -> Response:
    """Say why in the log alone: the reason may name paths."""
    event(log, "request_failed", level=logging.WARNING, path=request.url.path, reason=error)
    return JSONResponse({"detail": "not to be had at the moment; the log says why"}, 503)


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
        client = _client(request)
        if len(self._counts) >= MAX_CLIENTS and client not in self._counts:
            client = "others"
        self._counts[client] += 1
        if self._counts[client] > self._per_minute:
            text = f"more than {self._per_minute} requests a minute"
            headers = {"Retry-After": str(int(left) + 1)}
            return JSONResponse({"detail": text}, status_code=429, headers=headers)
        return await answer(request)


class KnownHosts:
    """Answers 421 to a request for a name that is none of ours.

    A page from elsewhere that lets its own name point to this machine gets no answer so.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(name.lower() for name in names)

    async def __call__(
        self, request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Answer a request for one of our names."""
        asked = re.sub(r":\d*$", "", request.headers.get("host", "")).lower()
        if asked not in self._names:
            text = "not a name of this API (dashboard.api_hosts)"
            return JSONResponse({"detail": text}, status_code=421)
        return await answer(request)


def _client(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _add_routes(app: FastAPI) -> None:
    app.get("/health")(health)
    app.get("/models")(models)
    app.get("/scores")(scores)
    app.get("/predictions/{symbol}", responses=NOT_FOUND)(latest)
    app.get("/predictions/{symbol}/history", responses=NOT_FOUND)(history)
    app.get("/outlook/{symbol}", responses=NOT_FOUND)(outlook)
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
    rows = _sources(request).tables.scores(span, backfilled)
    if rows is None:
        return []
    return [Score.model_validate(row) for row in records(rows)]


def latest(request: Request, symbol: Symbol, interval: Timeframe = "1m") -> list[Prediction]:
    """The newest prediction of a symbol at each horizon."""
    sources = _sources(request)
    newest = _newest_open(sources, symbol, interval)
    since = max(0, newest - MAX_ROWS * TIMEFRAME_MS[interval])
    made = sources.predictions(symbol, interval, since, most=NEWEST_ROWS)
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
    made = sources.predictions(symbol, interval, since, until_ms=until, most=limit)
    return [Prediction.model_validate(row) for row in records(made)]


def outlook(
    request: Request,
    symbol: Symbol,
    interval: Timeframe = "1m",
    move: Annotated[float, Query(gt=0, lt=1, description="a share of the price")] = 0.005,
) -> list[Outlook]:
    """How far the price may move at each horizon, and how likely it moves by more than a share."""
    sources = _sources(request)
    _newest_open(sources, symbol, interval)
    found = outlooks(sources.tables, symbol, interval, move)
    if not found:
        raise HTTPException(404, f"nothing predicted for {symbol} {interval}")
    return found


async def events(
    request: Request, symbol: Annotated[str, Query(max_length=MAX_SYMBOL)] = ""
) -> Response:
    """New predictions as they come, as server-sent events; of one symbol if given."""
    listeners: Listeners = request.app.state.listeners
    client = _client(request)
    if refusal := listeners.refusal(client):
        raise HTTPException(503, refusal)
    stream = event_stream(_sources(request).newest, symbol)
    return EventResponse(stream, listeners.listening(client))


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON takes them: times in epoch ms, None for what is not there or not finite."""
    plain = rows.copy()
    for name in plain.select_dtypes(include=["datetime"]).columns:
        plain[name] = plain[name].astype("datetime64[ms]").astype("int64")
    return [
        {str(name): _finite(value) for name, value in row.items()}
        for row in plain.to_dict("records")
    ]


def _finite(value: Any) -> Any:
    is_number = not pd.isna(value) and (not isinstance(value, float) or math.isfinite(value))
    return value if is_number else None


def _sources(request: Request) -> Sources:
    sources: Sources = request.app.state.sources
    return sources


def _newest_open(sources: Sources, symbol: str, timeframe: str) -> int:
    known = sources.tables.series()
    if (symbol, timeframe) not in known and (symbol, timeframe) not in sources.newest.series():
        raise HTTPException(404, f"no {timeframe} bars of {symbol}")
    return known.get((symbol, timeframe), 0)
