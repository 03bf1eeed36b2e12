import numpy as np

from model.dataset import Span, Windows, stretches, windows_of
from model.features import FEATURE_NAMES
from model.linear import fit_linear, flat_features, out_of_fold_outputs
from model.series import Series
from tests.synthetic import START, random_series

LOOKBACK, HORIZONS = 16, (1, 3)
RETURN = FEATURE_NAMES.index("log_return")


def _series_whose_momentum_fades_with_volatility(count: int = 6000) -> Series:
    noise = np.random.default_rng(31)
    brisk = np.repeat(noise.random(count // 100) < 0.5, 100)
    returns = np.zeros(count)
    for i in range(1, count):
        momentum, size = (0.0, 0.003) if brisk[i] else (0.5, 0.0003)
        returns[i] = momentum * returns[i - 1] + noise.normal(0, size)
    close = 100 * np.exp(np.cumsum(returns))
    bars = np.column_stack([close, close, close, close, np.ones(count), close])
    return Series("BTC-USD", "1m", START, bars)


def _windows(series: Series) -> Windows:
    return windows_of([series], Span(0, series.end_time), LOOKBACK, HORIZONS)


def test_momentum_that_fades_with_volatility_is_learned_as_such() -> None:
    windows = _windows(_series_whose_momentum_fades_with_volatility())
    outputs = flat_features(windows.features()) @ fit_linear(windows, np.ones(len(windows)))
    last_return = windows.features()[:, -1, RETURN]
    calm = windows.scale < np.quantile(windows.scale, 0.3)
    brisk = windows.scale > np.quantile(windows.scale, 0.7)
    slope = {
        name: float(last_return[part] @ outputs[part, 0] / (last_return[part] @ last_return[part]))
        for name, part in (("calm", calm), ("brisk", brisk))
    }
    assert slope["calm"] > 0.35
    assert abs(slope["brisk"]) < 0.1


def test_a_stretch_is_forecast_without_a_look_at_its_targets() -> None:
    windows = _windows(random_series(1000, seed=32, momentum=0.4))
    held_out = stretches(windows.end_times, 4)
    weights = np.ones(len(windows))
    before = out_of_fold_outputs(windows, weights, held_out, 19 * 60_000)
    windows.targets[300:400] *= -5
    after = out_of_fold_outputs(windows, weights, held_out, 19 * 60_000)
    np.testing.assert_array_equal(after[300:400], before[300:400])
    assert (after[:200] != before[:200]).any()
