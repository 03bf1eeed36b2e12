"""Each source against a real HTTP server that answers as the real APIs do."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from conf.errors import (
    ConfigurationError,
    NotOffered,
    RateLimited,
    SourceUnavailable,
)
from conf.timeframes import TIMEFRAME_MS
from ingest.sources import SOURCES, NewsSource, Source, SourceOptions, open_source
from ingest.sources.api import Api
from tests.ingest.market_server import (
    ERRORS,
    FIXTURES,
    LASTING,
    PASSING,
    WEEK_MS,
    MarketServer,
    SimulatedClock,
)
from tests.ingest.runs import IMPATIENT_S, KEY, MINUTE_MS, PATIENT_S, START_MS

HOUR_MS = 60 * MINUTE_MS
OPEN_MS = START_MS - 10 * MINUTE_MS

KEYS = {"cryptocompare": KEY, "coindesk": f"{KEY}-of-coindesk"}
EXPECTED = {
    "rate_limit_http200_old": RateLimited,
    "rate_limit_http200_cooldown": RateLimited,
    "unknown_symbol_http200": NotOffered,
    "missing_param_http200": NotOffered,
    "needs_key_http200_pre_2026_05": ConfigurationError,
    "bad_path_http200": SourceUnavailable,
    "no_key_http401_since_2026_05_21": ConfigurationError,
    "http_401": ConfigurationError,
    "http_429": RateLimited,
    "http_500": SourceUnavailable,
    "http_502": SourceUnavailable,
    "timeout": SourceUnavailable,
    "truncated": SourceUnavailable,
    "not_json": SourceUnavailable,
    "empty": SourceUnavailable,
    "drip": SourceUnavailable,
    "reset": SourceUnavailable,
}


def source(
    name: str, server: MarketServer, clock: SimulatedClock, timeout_s: float = PATIENT_S
) -> Source:
    options = SourceOptions(clock=clock, base_url=server.url, timeout_s=timeout_s)
    return open_source(name, options)


@pytest.fixture
def answering(clock: SimulatedClock) -> Any:
    """Make a source whose server answers everything with one fixed body."""
    servers = []

    def make(name: str, body: object, status: int = 200) -> Source:
        class Fixed(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        server = ThreadingHTTPServer(("127.0.0.1", 0), Fixed)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_address[1]}"
        return open_source(name, SourceOptions(clock=clock, base_url=url))

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def fixture_body(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text())["body"]


@pytest.mark.parametrize("name", ["cryptocompare", "coindesk"])
@pytest.mark.parametrize("timeframe", ["1m", "5m", "15m"])
def test_bars_of_a_stretch_come_whole_and_as_the_market_made_them(
    name: str, timeframe: str, server: MarketServer, clock: SimulatedClock
) -> None:
    step = {"1m": 1, "5m": 5, "15m": 15}[timeframe] * MINUTE_MS
    first, last = START_MS - 40 * step, START_MS - step
    bars = source(name, server, clock).fetch("BTC-USD", timeframe, first, last)
    assert [b.open_time for b in bars] == list(range(first, last + 1, step))
    good = server.bars("BTC-USD", timeframe, first, last)
    assert [(b.open, b.high, b.low, b.close, b.base_volume) for b in bars] == [
        (b.open, b.high, b.low, b.close, b.base_volume) for b in good
    ]


@pytest.mark.parametrize("name", ["cryptocompare", "coindesk"])
@pytest.mark.parametrize("timeframe", ["1h", "1d"])
def test_hours_and_days_have_endpoints_of_their_own(
    name: str, timeframe: str, server: MarketServer, clock: SimulatedClock
) -> None:
    step = {"1h": HOUR_MS, "1d": 24 * HOUR_MS}[timeframe]
    bars = source(name, server, clock).fetch(
        "BTC-USD", timeframe, START_MS - 3 * step, START_MS - 1
    )
    assert [b.open_time for b in bars] == [
        START_MS - 3 * step,
        START_MS - 2 * step,
        START_MS - step,
    ]


def test_a_stretch_of_one_bar_is_one_bar(server: MarketServer, clock: SimulatedClock) -> None:
    bars = source("cryptocompare", server, clock).fetch("BTC-USD", "1m", OPEN_MS, OPEN_MS)
    assert [b.open_time for b in bars] == [OPEN_MS]


@pytest.mark.parametrize("fault", sorted(EXPECTED))
def test_every_fault_of_min_api_is_an_error_of_ours(
    fault: str, server: MarketServer, clock: SimulatedClock
) -> None:
    server.fault = lambda path: fault
    timeout_s = IMPATIENT_S if fault in ("timeout", "drip") else PATIENT_S
    api = source("cryptocompare", server, clock, timeout_s)
    with pytest.raises(EXPECTED[fault]):
        api.fetch("BTC-USD", "1m", OPEN_MS, START_MS - 1)


def test_no_fault_is_left_out_of_the_table_above() -> None:
    assert set(EXPECTED) == set(PASSING + LASTING) - {"zeros"}
    assert set(ERRORS) < set(EXPECTED)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("http_401", ConfigurationError),
        ("http_403", ConfigurationError),
        ("http_400", NotOffered),
        ("http_404", NotOffered),
        ("http_429", RateLimited),
        ("http_500", SourceUnavailable),
        ("http_503", SourceUnavailable),
        ("empty", SourceUnavailable),
        ("not_json", SourceUnavailable),
        ("reset", SourceUnavailable),
    ],
)
def test_every_fault_of_the_data_api_is_an_error_of_ours(
    fault: str, expected: type[Exception], server: MarketServer, clock: SimulatedClock
) -> None:
    server.fault = lambda path: fault
    with pytest.raises(expected):
        source("coindesk", server, clock).fetch("BTC-USD", "1m", OPEN_MS, START_MS - 1)


NO_PAIR = "CCCAGG market does not exist for this coin pair (XYZ-USD)"
NO_KEY = "You need a valid auth key or api key to access this endpoint"
CLOUD = b"<html><title>Attention Required! | Cloudflare</title>api key auth</html>"


def min_api_says(kind: int, words: str, parameter: str | None = None) -> dict[str, Any]:
    about = {} if parameter is None else {"ParamWithError": parameter}
    return {"Response": "Error", "Message": words, "Type": kind, "Data": {}, **about}


def data_api_says(words: str, parameter: str | None = None) -> dict[str, Any]:
    about = {} if parameter is None else {"other_info": {"param": parameter}}
    return {"Data": {}, "Err": {"type": 1, "message": words, **about}}


@pytest.mark.parametrize(
    ("name", "status", "body", "expected"),
    [
        ("cryptocompare", 200, min_api_says(1, NO_PAIR), NotOffered),
        ("cryptocompare", 200, min_api_says(1, "wrong", "fsym"), NotOffered),
        ("cryptocompare", 200, min_api_says(1, NO_KEY), ConfigurationError),
        ("cryptocompare", 200, min_api_says(1, "Something is wrong"), SourceUnavailable),
        ("cryptocompare", 200, min_api_says(2, "wrong", "tsym"), NotOffered),
        (
            "cryptocompare",
            200,
            min_api_says(2, "limit is larger than max value.", "limit"),
            SourceUnavailable,
        ),
        ("cryptocompare", 200, min_api_says(2, "toTs must be a number", "toTs"), SourceUnavailable),
        ("cryptocompare", 403, CLOUD, SourceUnavailable),
        ("cryptocompare", 401, CLOUD, SourceUnavailable),
        ("cryptocompare", 403, b"", SourceUnavailable),
        ("cryptocompare", 403, {"message": "Forbidden"}, SourceUnavailable),
        ("cryptocompare", 403, data_api_says("Your key may not do this"), ConfigurationError),
        ("cryptocompare", 200, b"[" * 100_000, SourceUnavailable),
        ("cryptocompare", 200, b"[1e999999, NaN]", SourceUnavailable),
        ("coindesk", 404, CLOUD, SourceUnavailable),
        ("coindesk", 404, data_api_says("Not found: XYZ-USD", "instrument"), NotOffered),
        ("coindesk", 404, data_api_says("Not found"), NotOffered),
        ("coindesk", 400, data_api_says("out of range", "limit"), SourceUnavailable),
        ("coindesk", 400, data_api_says("out of range", "to_ts"), SourceUnavailable),
        ("coindesk", 401, data_api_says("API key required"), ConfigurationError),
        ("coindesk", 403, CLOUD, SourceUnavailable),
        ("coindesk", 200, {"Err": ["odd"], "Data": []}, SourceUnavailable),
    ],
)
def test_what_is_certain_is_told_from_what_passes(
    name: str,
    status: int,
    body: object,
    expected: type[Exception],
    answering: Callable[..., Source],
) -> None:
    with pytest.raises(expected):
        answering(name, body, status).fetch("XYZ-USD", "1m", OPEN_MS, START_MS - 1)


@pytest.mark.parametrize("cooldown", ["soon", -5, None, True, [], {}])
def test_a_cooldown_that_makes_no_sense_is_none(
    cooldown: object, answering: Callable[..., Source]
) -> None:
    body = {**min_api_says(99, "slow down"), "Cooldown": cooldown}
    with pytest.raises(RateLimited) as caught:
        answering("cryptocompare", body).fetch("BTC-USD", "1m", OPEN_MS, START_MS)
    assert caught.value.retry_after_s is None


def test_a_cooldown_without_end_is_cut_to_a_day(answering: Callable[..., Source]) -> None:
    body = {**min_api_says(99, "slow down"), "Cooldown": 1e300}
    with pytest.raises(RateLimited) as caught:
        answering("cryptocompare", body).fetch("BTC-USD", "1m", OPEN_MS, START_MS)
    assert caught.value.retry_after_s == 86_400


@pytest.mark.parametrize(
    "bad", [None, "row", {}, {"time": None}, {"time": "soon", "close": 1}, {"time": 1e400}]
)
def test_one_row_of_an_answer_that_is_no_bar_leaves_the_others(
    bad: object, answering: Callable[..., Source]
) -> None:
    good = {"time": 60, "open": 10, "high": 12, "low": 9, "close": 11, "volumefrom": 1}
    body = {"Response": "Success", "Data": {"Data": [bad, {**good, "volumeto": 16}]}}
    answer = answering("cryptocompare", body).fetch("BTC-USD", "1m", 0, MINUTE_MS)
    assert [bar.rejection_reason(START_MS) for bar in answer] == [None]
    assert len(answer.unreadable) == 1


@pytest.mark.parametrize("bad", [None, "article", [], {}, {"id": {}, "published_on": "soon"}])
def test_one_article_of_a_list_that_is_none_leaves_the_others(
    bad: object, answering: Callable[..., Source]
) -> None:
    good = {"id": "7", "published_on": 60, "title": "Up", "upvotes": "9" * 5_000}
    opened = answering("cryptocompare", {"Data": [bad, {**good, "tags": 7, "categories": None}]})
    assert isinstance(opened, NewsSource)
    first, second = opened.articles(START_MS)
    assert first.rejection_reason(START_MS) == "id must be a short text without white space"
    assert second.rejection_reason(START_MS) is None


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("form", ['{"Data": %s}', '{"Response": "Error", "Message": %s}', "[%s]"])
def test_an_answer_of_any_depth_is_read_or_none(
    form: str, status: int, answering: Callable[..., Source]
) -> None:
    for depth in (100, *range(860, 1_000, 4)):
        text = form % ("[" * depth + "]" * depth)
        opened = answering("cryptocompare", text.encode(), status)
        with pytest.raises(SourceUnavailable):
            opened.fetch("BTC-USD", "1m", 0, MINUTE_MS)


def test_an_absurd_number_of_categories_or_tags_is_refused(
    answering: Callable[..., Source],
) -> None:
    row = {"id": "7", "published_on": 60, "title": "Up"}
    many = "|".join(f"C{n}" for n in range(50_000))
    opened = answering(
        "cryptocompare", {"Data": [{**row, "categories": many}, {**row, "tags": many}]}
    )
    assert isinstance(opened, NewsSource)
    for article in opened.articles(START_MS):
        assert "at most 100 of 100 characters" in (article.rejection_reason(START_MS) or "")


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(
    key: str, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"CRYPTOCOMPARE_API_KEY": key})
    with pytest.raises(ConfigurationError, match="CRYPTOCOMPARE_API_KEY") as caught:
        open_source("cryptocompare", SourceOptions(clock=clock))
    assert key not in str(caught.value)


def test_a_symbol_in_small_letters_is_that_in_capitals_and_a_mixed_one_stays(
    clock: SimulatedClock,
) -> None:
    opened = open_source("cryptocompare", SourceOptions(clock=clock))
    names = ["btc-usd", "stETH-USD", "BTC-USD", "币安人生-usdt"]
    assert [opened.named(name) for name in names] == [
        "BTC-USD",
        "stETH-USD",
        "BTC-USD",
        "币安人生-USDT",
    ]


def test_the_venue_of_a_symbol_is_ours_alone(server: MarketServer, clock: SimulatedClock) -> None:
    bars = source("coindesk", server, clock).fetch("CADLI:BTC-USD", "1m", OPEN_MS, OPEN_MS)
    assert [bar.symbol for bar in bars] == ["CADLI:BTC-USD"]
    assert "instrument=BTC-USD&" in server.calls[0]


def test_bars_of_zeros_are_no_bars(server: MarketServer, clock: SimulatedClock) -> None:
    server.fault = lambda path: "zeros"
    assert source("cryptocompare", server, clock).fetch("BTC-USD", "1m", OPEN_MS, START_MS) == []


def test_minutes_older_than_a_week_are_absent(server: MarketServer, clock: SimulatedClock) -> None:
    first = START_MS - WEEK_MS - 5 * MINUTE_MS
    bars = source("cryptocompare", server, clock).fetch("BTC-USD", "1m", first, first + HOUR_MS)
    assert START_MS - WEEK_MS <= bars[0].open_time <= START_MS - WEEK_MS + 2 * MINUTE_MS


def test_a_rate_limit_carries_the_wait_that_the_api_asks_for(
    server: MarketServer, clock: SimulatedClock
) -> None:
    waits = {}
    for fault in ("rate_limit_http200_cooldown", "http_429", "rate_limit_http200_old"):
        server.fault = lambda path, fault=fault: fault
        with pytest.raises(RateLimited) as caught:
            source("cryptocompare", server, clock).fetch("BTC-USD", "1m", OPEN_MS, START_MS)
        waits[fault] = caught.value.retry_after_s
    assert waits == {
        "rate_limit_http200_cooldown": 406.0,
        "http_429": 7.0,
        "rate_limit_http200_old": None,
    }


@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_refused_key_is_reported_with_the_variable_and_without_the_key(
    name: str, server: MarketServer, clock: SimulatedClock
) -> None:
    server.key = "another-key"
    with pytest.raises(ConfigurationError, match=f"{name.upper()}_API_KEY") as caught:
        source(name, server, clock).fetch("BTC-USD", "1m", OPEN_MS, START_MS)
    assert KEY not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_each_source_sends_its_own_key_in_the_header_alone(
    name: str, server: MarketServer, clock: SimulatedClock
) -> None:
    opened = source(name, server, clock)
    opened.fetch("BTC-USD", "1m", OPEN_MS, START_MS)
    assert isinstance(opened, NewsSource)
    opened.articles(START_MS)
    assert [sent["Authorization"] for sent in server.headers] == [f"Apikey {KEYS[name]}"] * 2
    assert not any(KEY in path for path in server.calls)


def test_a_source_may_name_the_header_that_its_api_reads_the_key_from(
    server: MarketServer, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = None
    monkeypatch.setenv("EXAMPLE_API_KEY", KEY)
    options = SourceOptions(clock=clock, base_url=server.url)
    api = Api("example", server.url, options, key_header=("X-Key", "Token "))
    api.get("/data/v2/histominute", {"fsym": "BTC", "tsym": "USD", "limit": 1})
    (sent,) = server.headers
    assert sent["X-Key"] == f"Token {KEY}"
    assert "Authorization" not in sent


def test_without_a_key_of_its_own_a_source_sends_no_other_ones(
    server: MarketServer, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COINDESK_API_KEY")
    source("coindesk", server, clock).fetch("BTC-USD", "1m", OPEN_MS, START_MS)
    assert "Authorization" not in server.headers[0]


def test_an_answer_that_drips_is_left_when_its_time_is_over(
    server: MarketServer, clock: SimulatedClock
) -> None:
    server.stall_s = 60
    server.fault = lambda path: "drip"
    with pytest.raises(SourceUnavailable, match=r"took longer than 0\.3 s"):
        source("cryptocompare", server, clock, 0.3).fetch("BTC-USD", "1m", OPEN_MS, START_MS)


def test_an_answer_that_is_too_large_is_left(
    answering: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.sources.api.MAX_BODY_BYTES", 100_000)
    with pytest.raises(SourceUnavailable, match="more than 100000 bytes"):
        answering("cryptocompare", {"Message": "a" * 200_000}).fetch("BTC-USD", "1m", 0, MINUTE_MS)


@pytest.mark.parametrize(
    ("length_ms", "path", "aggregate", "page"),
    [
        (30 * MINUTE_MS, "histominute", 30, 66),
        (2 * HOUR_MS, "histohour", 2, 1_000),
        (7 * 24 * HOUR_MS, "histoday", 7, 285),
    ],
)
def test_a_new_timeframe_needs_its_length_alone(
    length_ms: int,
    path: str,
    aggregate: int,
    page: int,
    server: MarketServer,
    clock: SimulatedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TIMEFRAME_MS, "new", length_ms)
    opened = source("cryptocompare", server, clock)
    last_ms = START_MS // length_ms * length_ms - length_ms
    bars = opened.fetch("BTC-USD", "new", last_ms - 2 * length_ms, last_ms)
    assert [bar.open_time for bar in bars] == [last_ms - n * length_ms for n in (2, 1, 0)]
    assert f"/data/v2/{path}?" in server.calls[0]
    assert f"aggregate={aggregate}" in server.calls[0]
    assert opened.terms("new").page_bars == page


@pytest.mark.parametrize("name", ["cryptocompare", "coindesk", "synthetic"])
@pytest.mark.parametrize("length_ms", [MINUTE_MS // 2, 45 * MINUTE_MS + 1])
def test_a_timeframe_that_a_source_does_not_serve_is_refused_by_name(
    name: str, length_ms: int, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TIMEFRAME_MS, "strange", length_ms)
    with pytest.raises(ConfigurationError, match=r"ingest\.intervals: .* no bars of strange"):
        open_source(name, SourceOptions(clock=clock)).terms("strange")


def test_the_recorded_answer_of_2020_is_read(answering: Callable[..., Source]) -> None:
    api = answering("cryptocompare", fixture_body("min_v2_2020_histoday"))
    bars = api.fetch("BTC-USD", "1d", 1577232000_000, 1577318400_000)
    assert [(b.open_time, b.open, b.high, b.low, b.close, b.quote_volume) for b in bars] == [
        (1577232000000, 7260.91, 7280.52, 7132.3, 7202.72, 108513256.34),
        (1577318400000, 7202.72, 7442.21, 7167.44, 7207.23, 169067214.27),
    ]


def test_the_recorded_answer_of_the_first_version_is_read(
    answering: Callable[..., Source],
) -> None:
    api = answering("cryptocompare", fixture_body("min_v1_btc_to_usd_histo_minute_with_limit_10"))
    bars = api.fetch("BTC-USD", "1m", 1502515740_000, 1502516340_000)
    assert len(bars) == 11
    assert bars[-1].rejection_reason(now_ms=1502516400_000) == "close must not exceed high"


def test_the_recorded_answer_of_the_data_api_is_read(answering: Callable[..., Source]) -> None:
    api = answering("coindesk", fixture_body("data_api_2025_index_cc_days_BTC-USD"))
    (bar,) = api.fetch("BTC-USD", "1d", 1749168000_000, 1749168000_000)
    assert (bar.open, bar.high, bar.low, bar.close) == (
        101626.224558759,
        105407.407291189,
        101235.692388345,
        104394.303202528,
    )
    assert bar.source == "coindesk:cadli"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"Response": "Success", "Data": None},
        {"Response": "Success", "Data": {"Data": [{"time": "soon"}]}},
        {"Response": "Success", "Data": {"Data": [None]}},
    ],
)
def test_an_answer_of_another_form_is_no_answer(
    body: object, answering: Callable[..., Source]
) -> None:
    with pytest.raises(SourceUnavailable):
        answering("cryptocompare", body).fetch("BTC-USD", "1m", 0, MINUTE_MS)


def test_an_unknown_source_is_refused_with_those_that_exist(clock: SimulatedClock) -> None:
    with pytest.raises(ConfigurationError, match=r"ingest\.source 'moon' is unknown; .*coindesk"):
        open_source("moon", SourceOptions(clock=clock))


def test_the_source_that_the_documentation_shows_works_as_written(
    answering: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path("docs/ingest.md").read_text()
    (tmp_path / "example_source.py").write_text(text.split("```python\n")[1].split("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SOURCES, "example", "example_source:Example")
    row = {"t": MINUTE_MS, "o": 10.0, "h": 12.0, "l": 9.0, "c": 11.0, "v": 1.5}
    opened = answering("example", [row])
    (bar,) = opened.fetch("BTC-USD", "1m", MINUTE_MS, MINUTE_MS)
    assert (bar.open_time, bar.high, bar.source) == (MINUTE_MS, 12.0, "example")
    assert bar.rejection_reason(START_MS) is None
    assert opened.terms("1m").page_bars == 1_000
