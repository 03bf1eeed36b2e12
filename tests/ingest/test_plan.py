"""Settings that make no sense are refused at start, with the name of the setting."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from conf.errors import ConfigurationError
from conf.sections import Ingest
from ingest.bar_feed import Series
from ingest.clock import Clock
from ingest.plan import plan_series
from ingest.sources import SourceOptions, open_source
from jobs.ingest_bars import overridden
from jobs.ingest_replay import epoch_ms, recorded_series, recording, speed_of

SENSIBLE: dict[str, Any] = {"symbols": ["BTC-USD"], "intervals": ["1m"], "calls_per": {}}


def plan(source: str = "cryptocompare", **settings: Any) -> list[Series]:
    opened = open_source(source, SourceOptions(clock=Clock()))
    return plan_series(opened, Ingest.model_validate({**SENSIBLE, **settings}))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"symbols": []}, r"ingest\.symbols is empty"),
        ({"symbols": ["BTCUSD"]}, r"ingest\.symbols: 'BTCUSD': symbol must look like BASE-QUOTE"),
        ({"symbols": ["BTC-USD", "BTC-USD"]}, r"ingest\.symbols names BTC-USD more than once"),
        ({"intervals": []}, r"ingest\.intervals is empty"),
        ({"intervals_of": {"ETH-USD": ["1h"]}}, r"ingest\.intervals_of names ETH-USD"),
        ({"every_s": 90}, r"ingest\.every_s = 90"),
        ({"grace_s": {"1m": 39.9}}, r"ingest\.grace_s\.1m = 39.9 is shorter than the 40 s"),
        ({"intervals": ["1d"], "grace_s": {"1d": 60}}, r"ingest\.grace_s\.1d = 60 is shorter"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        plan(**settings)


def test_each_symbol_may_have_timeframes_of_its_own() -> None:
    series = plan(
        symbols=["BTC-USD", "ETH-USD"],
        intervals=["1m", "5m", "15m", "1h", "1d"],
        intervals_of={"ETH-USD": ["1d"]},
    )
    assert [f"{one.symbol} {one.interval}" for one in series] == [
        *[f"BTC-USD {timeframe}" for timeframe in ("1m", "5m", "15m", "1h", "1d")],
        "ETH-USD 1d",
    ]


def test_a_series_is_polled_once_a_bar_where_its_bars_are_longer_than_the_period() -> None:
    series = plan(intervals=["1m", "1h"], every_s=300)
    assert [one.period_ms for one in series] == [300_000, 3_600_000]


def test_the_grace_is_the_cache_age_of_the_endpoint_unless_it_is_set() -> None:
    assert [one.grace_ms for one in plan(intervals=["1m", "1h"])] == [42_000, 612_000]
    assert [one.grace_ms for one in plan(grace_s={"1m": 50})] == [50_000]
    assert [one.grace_ms for one in plan("synthetic")] == [2_000]


def test_polling_more_than_the_key_allows_is_refused() -> None:
    symbols = [f"S{n}-USD" for n in range(100)]
    assert len(plan(symbols=symbols, calls_per={"second": 20, "minute": 300})) == 100
    assert len(plan("synthetic", symbols=symbols, calls_per={"hour": 3_000})) == 100
    with pytest.raises(ConfigurationError, match=r"ingest\.calls_per\.hour = 3000 .* takes 6000"):
        plan(symbols=symbols, calls_per={"hour": 3_000})


def test_the_command_line_wins_over_the_file() -> None:
    asked = overridden(Ingest(), {"symbols": ["LTC-USD"], "every_s": 300, "source": None})
    assert (asked.symbols, asked.every_s, asked.source) == (["LTC-USD"], 300, "cryptocompare")


def test_a_number_of_symbols_makes_that_many_synthetic_ones() -> None:
    asked = overridden(Ingest(), {"symbols": ["1000"], "source": "synthetic:7"})
    assert (len(asked.symbols), asked.symbols[-1]) == (1000, "S1000-USD")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"intervals": ["7m"]}, r"ingest\.intervals"),
        ({"every_s": 0}, r"ingest\.every_s"),
        ({"every_s": -60}, r"ingest\.every_s"),
        ({"metrics_port": 70_000}, r"ingest\.metrics_port"),
    ],
)
def test_a_bad_option_is_refused_with_the_name_of_its_setting(
    given: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        overridden(Ingest(), given)


@pytest.mark.parametrize("text", ["fast", "0", "-1", "nan", "inf", ""])
def test_a_speed_is_max_or_a_number_above_zero(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--speed"):
        speed_of(text)


@pytest.mark.parametrize("text", ["BTC-USD", "BTC-USD=", "bars.csv"])
def test_a_file_is_named_with_its_symbol(text: str) -> None:
    with pytest.raises(ConfigurationError, match="SYMBOL=PATH"):
        recording(text, "1m")


def test_a_recorded_replay_needs_files_of_one_interval() -> None:
    with pytest.raises(ConfigurationError, match="--file"):
        recorded_series([], Ingest(intervals=["1m"]), (None, None), lambda *_: None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="--interval"):
        recorded_series(["A-B=x"], Ingest(intervals=["1m", "1h"]), (None, None), lambda *_: None)  # type: ignore[arg-type]


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ISO"):
        epoch_ms("yesterday")


def test_the_shipped_file_makes_sense() -> None:
    with Path("conf/candlecast.toml").open("rb") as file:
        shipped = Ingest.model_validate(tomllib.load(file)["ingest"])
    opened = open_source(shipped.source, SourceOptions(clock=Clock()))
    assert [(one.symbol, one.interval) for one in plan_series(opened, shipped)] == [
        ("BTC-USD", "1m"),
        ("ETH-USD", "1m"),
    ]
