"""The page: its files, and the routes of the HTTP API that only it needs.

The page is plain HTML, CSS and modules of JavaScript; nothing is built and nothing is loaded from
elsewhere, which its content security policy holds.
"""

import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

import pandas as pd
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse

from conf.errors import MissingPrerequisite
from conf.timeframes import TIMEFRAME_MS, Timeframe
from dashboard.api_types import Article, Card, Chart, Decision, History, Trouble
from dashboard.health import read_health
from dashboard.kept import Kept
from dashboard.overview import Overview
from dashboard.record import read_history
from dashboard.running import troubles
from dashboard.sources import Sources
from dashboard.tables import MAX_CANDLES

WEB: Final = Path(__file__).parent / "web"
CHART_LIBRARY: Final = Path(".jars/web/lightweight-charts.js")
HOUR_MS: Final = 3_600_000
MAX_HOURS: Final = 24 * 366
MAX_TIME_MS: Final = 4_102_444_800_000  # the year 2100
SHOWN_DECISIONS: Final = 50
# How old what many pages share may be.
CHART_S: Final = 1.0
RECORD_S: Final = 20.0
TROUBLES_S: Final = 4.0
# Styles are set by the library on elements, which needs no exception; images are what is saved.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

Symbol = Annotated[str, Query(max_length=200)]
Hours = Annotated[int, Query(ge=0, le=MAX_HOURS, description="up to the newest bar; 0: all")]
Limit = Annotated[int, Query(ge=1, le=500)]
Horizon = Annotated[int, Query(ge=1, le=10_000, description="bars ahead")]
NO_SERIES: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "no such series"}}
router = APIRouter()


def add_page(app: FastAPI) -> None:
    """Let `app` serve the page and what it asks for."""
    app.state.charts = Kept[Chart](CHART_S)
    app.state.records = Kept[History](RECORD_S)
    app.state.troubles = Kept[list[Trouble]](TROUBLES_S)
    app.middleware("http")(_with_headers)
    app.include_router(router)


async def _with_headers(
    request: Request, answer: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await answer(request)
    response.headers.update(HEADERS)
    return response


@router.get("/", include_in_schema=False)
def index() -> Response:
    """The page itself."""
    return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})


@router.get("/web/{name}", include_in_schema=False)
def file(name: str) -> Response:
    """A file of the page; a name is looked up, never joined to a path."""
    there = {path.name: path for path in WEB.iterdir() if path.suffix in KINDS}
    found = chart_library() if name == CHART_LIBRARY.name else there.get(name)
    if found is None:
        raise HTTPException(404, "no such file")
    kind = KINDS[found.suffix]
    return FileResponse(found, media_type=kind, headers={"Cache-Control": "no-cache"})


def chart_library() -> Path:
    """TradingView's lightweight-charts, as `make install` has fetched it.

    Raises MissingPrerequisite where it has not.
    """
    found = Path(__file__).parent.parent / CHART_LIBRARY
    if not found.exists():
        raise MissingPrerequisite(f"{found} is missing: `make install` fetches it")
    return found


@router.get("/overview")
def overview(request: Request) -> list[Card]:
    """A card for each series: newest closes, what comes next, and how good that was."""
    cards: Overview = request.app.state.overview
    return cards.cards()


@router.get("/chart", responses=NO_SERIES)
def chart(
    request: Request,
    symbol: Symbol,
    interval: Timeframe = "1m",
    horizon: Horizon = 1,
    hours: Hours = 3,
    since: Annotated[int, Query(ge=0, le=MAX_TIME_MS, description="epoch ms, UTC: newer ones")] = 0,
) -> Chart:
    """Candles, the predictions of one horizon, and the news of one series."""
    kept: Kept[Chart] = request.app.state.charts
    wanted = symbol, interval, horizon, hours, since
    return kept.get(wanted, lambda: read_chart(request.app.state.sources, *wanted))


def read_chart(
    sources: Sources, symbol: str, timeframe: str, horizon: int, hours: int, since: int
) -> Chart:
    """The chart of one series: `hours` up to the newest bar, of them what opens from `since` on."""
    newest, bar = _newest(sources, symbol, timeframe), TIMEFRAME_MS[timeframe]
    first = max(0, newest - hours * HOUR_MS) if hours else 0
    bars = hours * HOUR_MS // bar if hours else MAX_HOURS * HOUR_MS // bar
    wanted = symbol, timeframe, max(first, since), bars
    step = bar * max(1, -(-bars // MAX_CANDLES))
    candles = sources.tables.series_of("bars", *wanted)
    # The first candles were predicted before the range begins.
    made = sources.predictions(symbol, timeframe, max(0, wanted[2] - horizon * bar), bars)
    if len(made):
        targets = made["target_time"].astype("datetime64[ms]").astype("int64")
        made = made[(made["horizon"] == horizon) & (targets % step == 0)]
    news = sources.tables.series_of("sentiment", *wanted)
    prices = _same("open", "high", "low", "close")
    return Chart(
        step_ms=step,
        bar_ms=bar,
        horizons=list(sources.horizons(timeframe)),
        candles=_columns(candles, {"open_time": "time", **prices, "base_volume": "volume"}),
        predicted=_columns(made, _same("target_time", "predicted_close", "lower", "upper")),
        news=_columns(news, {"open_time": "time", **_same("score", "articles")}),
    )


@router.get("/record", responses=NO_SERIES)
def record(
    request: Request,
    symbol: Symbol,
    interval: Timeframe = "1m",
    horizon: Horizon = 1,
    hours: Hours = 168,
) -> History:
    """Skill, coverage and whether it would have paid, of one series, over time."""
    sources: Sources = request.app.state.sources
    newest = _newest(sources, symbol, interval)
    since = max(0, newest - hours * HOUR_MS) if hours else 0
    kept: Kept[History] = request.app.state.records
    return kept.get(
        (symbol, interval, horizon, hours),
        lambda: read_history(sources.tables, symbol, interval, horizon, since, sources.fee_bp),
    )


@router.get("/articles")
def articles(request: Request, symbol: Symbol, limit: Limit = 50) -> list[Article]:
    """The newest news about a symbol's coin or the market, newest first."""
    found = request.app.state.sources.tables.articles(symbol, 0, limit)
    names = _same("available_at", "published_at", "source", "title", "score")
    columns = _columns(found, names)
    return [
        Article.model_validate(dict(zip(columns, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]


@router.get("/decisions")
def decisions(request: Request) -> list[Decision]:
    """The newest decisions about champions."""
    found = request.app.state.sources.decisions()[:SHOWN_DECISIONS]
    return [
        Decision.model_validate({**row, "decided_at": int(row["decided_at"].timestamp() * 1000)})
        for row in found
    ]


@router.get("/troubles")
def what_is_wrong(request: Request) -> list[Trouble]:
    """What does not run, and what to do about it; empty where all is well."""
    state = request.app.state
    kept: Kept[list[Trouble]] = state.troubles
    return kept.get(
        "all", lambda: troubles(state.sources, read_health(state.sources), state.servers)
    )


def _newest(sources: Sources, symbol: str, timeframe: str) -> int:
    known = sources.tables.series()
    if (symbol, timeframe) not in known and (symbol, timeframe) not in sources.newest.series():
        raise HTTPException(404, f"no {timeframe} bars of this symbol")
    return known.get((symbol, timeframe), 0)


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _columns(rows: pd.DataFrame, names: dict[str, str]) -> dict[str, list[Any]]:
    """Columns as JSON takes them: times in epoch ms, None for what is not there."""
    found = {}
    for name, shown in names.items():
        column = rows[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            column = column.astype("datetime64[ms]").astype("int64")
        found[shown] = [_plain(value) for value in column.tolist()]
    return found


def _plain(value: Any) -> Any:
    """A value as JSON takes it: numbers are finite or null."""
    is_number = isinstance(value, float) and math.isfinite(value)
    return value if is_number or isinstance(value, int | str) else None
