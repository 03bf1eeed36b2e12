"""What every contender in Python does with a bar: the last bars of its symbol, features, a price.

The features are the project's own (`model.features`): whoever serves the model needs them. Worked
out a message they take 180 us of CPU time, half of what a message takes in all; a vectorised pass
over many windows takes 1 us a window. That is a good part of our lead over these contenders.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnxruntime

from bench.series import HORIZONS, LOOKBACK, MINUTE_MS
from model.features import bar_features, bars_needed, horizon_scale, window_inputs
from model.layout import CLOSE

NEEDED: Final = bars_needed(LOOKBACK)
VALUES: Final = ("open", "high", "low", "close", "base_volume", "quote_volume")
LAST: Final = np.array([NEEDED - 1])

Model = Callable[[np.ndarray], np.ndarray]


def appended(window: np.ndarray | None, bar: dict[str, Any]) -> np.ndarray:
    """The last bars of a symbol with this one behind them, (n_bars, 6)."""
    new = np.array([[bar[name] for name in VALUES]])
    return new if window is None else np.concatenate([window[1 - NEEDED :], new])


def forecast(window: np.ndarray, bar: dict[str, Any], model: Model) -> dict[str, Any]:
    """One message for all horizons; ours writes three, one a horizon."""
    features, scale = bar_features(window, LOOKBACK)
    outputs = model(window_inputs(features, LAST, LOOKBACK))
    returns = np.clip(outputs, -2.0, 2.0) * horizon_scale(scale[LAST], HORIZONS)
    return {
        "symbol": bar["symbol"],
        "as_of": bar["open_time"] + MINUTE_MS,
        "predicted_close": (window[-1, CLOSE] * np.exp(returns[0])).tolist(),
    }


def onnx_model(file: str) -> Model:
    """ONNX Runtime on one thread: more of them slow a small model down."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda features: session.run(None, {"features": features})[0]
