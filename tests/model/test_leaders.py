"""A series is read beside its leaders, and no window sees one of their bars too early."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conf.errors import ArtifactMismatch, CandlecastError
from conf.sections import Market
from model.artifact import load_artifact
from model.champions import Champions
from model.dataset import Span, windows_of
from model.features import bar_features, feature_names, mirrored
from model.forecast import Forecaster
from model.layout import Layout, needed_close, only
from model.leaders import with_leaders
from model.registry import Registry
from model.series import Series, on_grid
from model.training import ModelSettings, fit_model
from model.validate import held_out_metrics
from tests.artifacts import save_random_artifact
from tests.synthetic import START, led_by, random_series

MINUTE_MS = 60_000
MARKET = Market(leaders=["BTC-USD", "ETH-USD"])
LEADERS = {"LTC-USD": ("BTC-USD", "ETH-USD")}


def market_of_three(count: int = 200) -> list[Series]:
    names = ("BTC-USD", "ETH-USD", "LTC-USD")
    return [random_series(count, seed, symbol=name) for seed, name in enumerate(names)]


def led(series: list[Series], symbol: str) -> Series:
    return next(one for one in with_leaders(series, MARKET.of) if one.symbol == symbol)


@pytest.mark.parametrize("layout", [Layout(n, w) for n in (False, True) for w in range(5)])
def test_the_number_of_columns_says_what_they_are(layout: Layout) -> None:
    bars = np.arange(2 * layout.columns, dtype=float).reshape(2, -1)
    assert Layout.of(bars) == layout
    assert layout.leader_columns(layout.leaders).start == layout.columns
    alone = only(bars, news=False, leaders=False)
    assert Layout.of(alone) == Layout()
    assert (Layout.of(only(bars, news=False, leaders=True))) == Layout(leaders=layout.leaders)


def test_a_leaders_features_are_those_that_it_has_itself() -> None:
    series = market_of_three()
    own, volatility = bar_features(series[2].bars, 60)
    found, scale = bar_features(led(series, "LTC-USD").bars, 60)
    np.testing.assert_array_equal(found[:, : own.shape[1]], own)
    np.testing.assert_array_equal(scale, volatility)
    names = feature_names(Layout(leaders=2))
    for place in (1, 2):
        of_leader, _ = bar_features(series[place - 1].bars, 60)
        for column, name in enumerate(names):
            if name.startswith(f"leader{place}_") and not name.endswith("_ahead"):
                itself = of_leader[60:, names.index(name.split("_", 1)[1])]
                np.testing.assert_array_equal(found[60:, column], itself)


def test_who_would_be_its_own_leader_reads_nothing_in_that_place() -> None:
    names = feature_names(Layout(leaders=2))
    found, _ = bar_features(led(market_of_three(), "BTC-USD").bars, 60)
    first = [column for column, name in enumerate(names) if name.startswith("leader1_")]
    assert (found[:, first] == 0).all()
    assert np.abs(found[60:, first[-1] + 1 :]).min(axis=0).max() > 0


def test_the_past_of_a_leader_alone_is_seen() -> None:
    series = market_of_three()
    later = replace(
        series[0], bars=np.concatenate([series[0].bars[:150], 3 * series[0].bars[150:]])
    )
    before, _ = bar_features(led(series, "LTC-USD").bars, 60)
    after, _ = bar_features(led([later, *series[1:]], "LTC-USD").bars, 60)
    np.testing.assert_array_equal(before[:150], after[:150])
    assert (before[150] != after[150]).any()


def test_a_leaders_bar_is_that_of_the_same_time_behind_gaps_and_cuts_of_either() -> None:
    minutes = [0, 1, 2, 5, 5000, 5001, 9000]
    own = on_grid("ETH-USD", "1m", [MINUTE_MS * m for m in minutes], np.ones((7, 6)))
    others = [-3, 0, 1, 4, 5, 5001, 5002, 7000]
    values = np.repeat(np.array(others, float)[:, None], 6, axis=1)
    leader = on_grid("BTC-USD", "1m", [MINUTE_MS * m for m in others], values)
    (found,) = with_leaders([own], Market(leaders=["BTC-USD"]).of, [leader])
    opens = own.open_times(np.arange(len(own.bars))) // MINUTE_MS
    seen = {int(o): v for o, v in zip(opens, found.bars[:, 6], strict=True) if not np.isnan(v)}
    assert seen == {minute: minute for minute in (0, 1, 4, 5, 5001, 5002)}


def test_a_window_takes_the_bars_of_its_leaders_and_of_no_one_else() -> None:
    series = market_of_three()
    series[0].bars[100] = np.nan
    part = Span(START, START + 200 * MINUTE_MS)
    count = {
        one.symbol: len(windows_of([one], part, 60, (1,)))
        for one in with_leaders(series, MARKET.of)
    }
    everything = 200 - 60 - 1
    # The window before the gap has all its bars; that of BTC has no target.
    assert count["ETH-USD"] == count["LTC-USD"] == count["BTC-USD"] + 1 == everything - 61
    assert len(windows_of([series[1]], part, 60, (1,))) == everything
    alone = Market(leaders=["BTC-USD"], leaders_of={"ETH-USD": []})
    free = next(one for one in with_leaders(series, alone.of) if one.symbol == "ETH-USD")
    assert len(windows_of([free], part, 60, (1,))) == everything


def test_a_leader_that_is_not_there_makes_no_window_complete() -> None:
    (alone,) = with_leaders([market_of_three()[2]], MARKET.of)
    assert np.isnan(needed_close(alone.bars, alone.leaders)).all()


def test_a_mirrored_market_has_mirrored_leaders() -> None:
    names = feature_names(Layout(leaders=1))
    order, sign = mirrored(names)
    assert order.tolist() == list(range(len(names)))
    assert {sign[names.index(name)] for name in names if name.startswith("leader1_")} == {-1}


def test_a_leader_is_ahead_by_what_it_has_moved_and_its_follower_has_not() -> None:
    own, leader = random_series(100, 1, symbol="LTC-USD"), random_series(100, 2)
    for bars in (own.bars, leader.bars):
        bars[:, :4] = 100.0
    own.bars[::2, :4], leader.bars[::2, :4] = 100.1, 100.1
    leader.bars[99, :4] *= 1.01
    (read,) = with_leaders([own], Market(leaders=["BTC-USD"]).of, [leader])
    found, _ = bar_features(read.bars, 60, ("leader1_ahead",))
    assert abs(found[98]) < 1e-6
    assert found[99] > 5


def test_what_a_leader_shows_is_learned_and_a_leader_a_day_late_shows_nothing(
    small: ModelSettings,
) -> None:
    leader = random_series(1500, seed=5)
    returns = np.diff(np.log(leader.close), prepend=np.log(leader.close[0]))
    follower = Series("ETH-USD", "1m", START, led_by(returns, delay=1, weight=0.5, seed=6))
    late = replace(leader, first_open_time=START + 300 * MINUTE_MS)
    part = Span(START, START + 1200 * MINUTE_MS)
    held_back = Span(START + 1270 * MINUTE_MS, START + 1500 * MINUTE_MS)
    skill = {}
    for name, other in (("leader", leader), ("late", late)):
        read = with_leaders([follower], Market(leaders=["BTC-USD"]).of, [other])
        trained = fit_model(read, part, small)
        assert trained.manifest.leaders == {"ETH-USD": ("BTC-USD",)}
        found = held_out_metrics(trained.artifact(name), read, held_back)
        skill[name] = found[1]["lstm"].skill
    assert skill["leader"] > 0.1
    assert abs(skill["late"]) < 0.02


def test_a_pooled_model_forecasts_for_each_symbol_as_much_as_it_showed_there(
    small: ModelSettings,
) -> None:
    leader = random_series(1500, seed=5)
    returns = np.diff(np.log(leader.close), prepend=np.log(leader.close[0]))
    follower = Series("ETH-USD", "1m", START, led_by(returns, delay=1, weight=0.5, seed=6))
    apart = random_series(1500, seed=7, symbol="LTC-USD")
    read = with_leaders([follower, apart], Market(leaders=["BTC-USD"]).of, [leader])
    trained = fit_model(read, Span(START, START + 1200 * MINUTE_MS), small)
    gain = {symbol: of[0] for symbol, of in trained.manifest.symbol_gain.items()}
    assert gain["LTC-USD"] < 0.2
    assert gain["ETH-USD"] > 0.8
    forecaster, ends = Forecaster(trained.artifact("1m-1")), np.array([900, 900, 900])
    unit = forecaster.predict(read[0].bars, ends, ["LTC-USD", "ETH-USD", "NEW-USD"]).unit_return
    expected = unit[2, 0] * np.array([gain["LTC-USD"], gain["ETH-USD"], 1.0])
    np.testing.assert_allclose(unit[:, 0], expected, rtol=1e-6)
    assert len(forecaster.predict(read[0].bars, ends[:0], []).unit_return) == 0


def test_a_model_with_leaders_is_loaded_as_it_was_saved_and_asks_for_them(tmp_path: Path) -> None:
    save_random_artifact(tmp_path / "made", seed=1, leaders=LEADERS)
    artifact = load_artifact(tmp_path / "made", "1m-1")
    assert artifact.manifest.leaders == LEADERS
    forecaster, ends = Forecaster(artifact), np.array([150])
    series = led(market_of_three(), "LTC-USD")
    assert np.isfinite(forecaster.predict(series.bars, ends).predicted_close).all()
    for leaders in (0, 1):
        fewer = series.bars[:, : Layout(leaders=leaders).columns]
        with pytest.raises(ArtifactMismatch, match=f"reads 2 leaders, .* come with {leaders}"):
            forecaster.predict(fewer, ends)


def test_a_model_leaves_aside_the_leaders_that_it_does_not_read(tmp_path: Path) -> None:
    save_random_artifact(tmp_path / "made", seed=1)
    forecaster = Forecaster(load_artifact(tmp_path / "made", "1m-1"))
    series = led(market_of_three(), "LTC-USD")
    alone = series.reading(news=False, leaders=False)
    found = [forecaster.predict(bars, np.array([150])) for bars in (series.bars, alone.bars)]
    np.testing.assert_array_equal(found[0].predicted_close, found[1].predicted_close)


def promote(registry: Registry, folder: Path, **kind: object) -> str:
    save_random_artifact(folder, **kind)  # type: ignore[arg-type]
    version = registry.register(folder, "1m")
    registry.promote(version)
    return version


def test_each_of_the_four_cases_is_served_by_a_model_that_has_what_it_needs(
    registry: Registry, tmp_path: Path
) -> None:
    alone = promote(registry, tmp_path / "alone", seed=1)
    leaders = promote(registry, tmp_path / "leaders", seed=2, leaders=LEADERS)
    news = promote(registry, tmp_path / "news", seed=3, reads_news=True)
    both = promote(registry, tmp_path / "both", seed=4, reads_news=True, leaders=LEADERS)
    model = Champions(registry, ("1m",), lookback=60, market=MARKET).current()["1m"]
    served = {
        (with_news, with_leaders): model.serving(with_news, with_leaders)
        for with_news in (False, True)
        for with_leaders in (False, True)
    }
    versions = {case: None if m is None else m.artifact.version for case, m in served.items()}
    assert versions == {
        (True, True): both,
        (True, False): news,
        (False, True): leaders,
        (False, False): alone,
    }


def test_a_model_of_other_leaders_is_rejected_with_what_was_expected(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = promote(registry, tmp_path / "alone", seed=1)
    promote(registry, tmp_path / "leaders", seed=2, leaders=LEADERS)
    market = Market(leaders=["ETH-USD", "BTC-USD"])
    champions = Champions(registry, ("1m",), lookback=60, market=market)
    assert champions.current()["1m"].artifact.version == alone
    (line,) = (line for line in caplog.messages if "model_rejected" in line)
    assert "BTC-USD, ETH-USD as leaders of LTC-USD, the settings name ETH-USD, BTC-USD" in line


@pytest.mark.parametrize("leaders", [["A-B"] * 2, ["A-B", "B-C", "C-D", "D-E", "E-F"]])
def test_a_list_of_leaders_that_can_not_be_read_is_an_error(leaders: list[str]) -> None:
    with pytest.raises((CandlecastError, ValueError), match="leaders"):
        Market(leaders=leaders)


def test_the_settings_name_every_leader_once() -> None:
    market = Market(leaders=["A-B", "C-D"], leaders_of={"C-D": ["E-F", "A-B", "G-H"], "X-*": []})
    assert market.names == ("A-B", "C-D", "E-F", "G-H")
    assert market.of("C-D") == ("E-F", "A-B", "G-H")
    assert market.of("Z-Z") == ("A-B", "C-D", None)
    assert market.of("X-Y") == (None, None, None)
