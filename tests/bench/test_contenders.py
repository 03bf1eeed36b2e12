"""The contenders do the same work: the same network over the same window, the same price."""

from pathlib import Path

import numpy as np

from bench.contenders.window import NEEDED, VALUES, appended, forecast, onnx_model
from bench.networks import NETWORKS, registry_settings, write_networks
from bench.series import random_walk
from model.forecast import Forecaster
from model.registry import Registry


def test_a_contender_predicts_what_the_served_artifact_predicts(tmp_path: Path) -> None:
    write_networks(tmp_path)
    bars = [minute[0] for minute in random_walk(4, NEEDED + 3)]
    matrix = np.array([[getattr(bar, name) for name in VALUES] for bar in bars])
    for name in NETWORKS:
        artifact = Registry(**registry_settings(tmp_path, name)).load("1m-1")
        ends = np.array([NEEDED + 2])
        expected = Forecaster(artifact).predict(matrix, ends).predicted_close[0]

        window = None
        for bar in bars:
            window = appended(window, {name: getattr(bar, name) for name in bar.__slots__})
        assert window is not None
        last = {name: getattr(bars[-1], name) for name in bars[-1].__slots__}
        found = forecast(window, last, onnx_model(str(tmp_path / f"{name}.onnx")))

        assert found["as_of"] == bars[-1].close_time
        np.testing.assert_allclose(found["predicted_close"], expected, rtol=1e-9)


def test_a_longer_walk_begins_with_the_shorter_one() -> None:
    assert list(random_walk(3, 5))[:2] == list(random_walk(3, 2))
