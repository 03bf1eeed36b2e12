"""How the LSTMs are fitted, saved and exported."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from conf.errors import ArtifactMismatch
from conf.sections import Training
from model.dataset import Span, windows_of
from model.features import FEATURE_NAMES
from model.forecast import run_graph
from model.lstm import MIRRORED, BestAverage, batches, load_keras
from model.onnx_export import export_onnx
from model.series import Series
from model.training import TrainedModel
from tests.synthetic import START

TRAINING = Training(batch_size=100, seed=7)


def test_a_share_of_the_sequences_is_shown_mirrored_others_in_each_epoch() -> None:
    number = np.arange(800, dtype=np.float32)[:, None, None]
    inputs = 1 + np.tile(number, (1, 3, 11))
    targets = np.tile(1 + number[..., None], (1, 2, 2, 1))
    arrays = inputs, targets, np.ones((800, 2), np.float32)

    def take(chosen: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(tf.gather(array, chosen) for array in arrays)

    data = batches(take, 800, FEATURE_NAMES[:11], TRAINING)
    turned = []
    for _ in range(2):
        seen = [np.concatenate(parts) for parts in zip(*data.as_numpy_iterator(), strict=True)]
        assert sorted(seen[0][:, 0, 2]) == sorted(inputs[:, 0, 2])  # a range has no direction
        np.testing.assert_array_equal(seen[0][:, 0, 0], seen[1][:, 0, 0, 0])
        assert (seen[1][:, :, 1] > 0).all()
        turned.append({int(-first) for first in seen[0][:, 0, 0] if first < 0})
        assert abs(len(turned[-1]) / 800 - MIRRORED) < 0.06
    assert turned[0] != turned[1]


def test_the_averaged_weights_of_the_best_epoch_are_kept() -> None:
    steps, average = [0.0], [0.0]
    optimizer = SimpleNamespace(finalize_variable_values=lambda _: steps.__setitem__(0, average[0]))
    model = SimpleNamespace(
        get_weights=lambda: list(steps),
        set_weights=lambda weights: steps.__setitem__(0, weights[0]),
        trainable_variables=None,
        optimizer=optimizer,
        stop_training=False,
    )
    best = BestAverage(2, None)
    best.set_model(model)
    for epoch, loss in enumerate([3.0, 1.0, float("nan"), 2.0]):
        assert not model.stop_training
        steps[0], average[0] = 10.0 * epoch, 10.0 * epoch + 1
        best.on_test_begin()
        assert steps == [10.0 * epoch + 1]
        best.on_test_end()
        assert steps == [10.0 * epoch]
        best.on_epoch_end(epoch, {"loss": 0.0, "val_loss": loss})
    assert best.weights == [11.0]
    assert model.stop_training


def test_keras_and_onnx_agree(
    trained: TrainedModel, momentum_series: Sequence[Series], tmp_path: Path
) -> None:
    file = tmp_path / "model.keras"
    file.write_bytes(trained.keras())
    features = windows_of(
        momentum_series, Span(START + 1200 * 60_000, START + 1500 * 60_000), 16, (1, 3)
    ).features()
    from_keras = keras.models.load_model(file).predict(features, verbose=0)
    graph = export_onnx(trained.weights, features.shape[1])
    np.testing.assert_allclose(run_graph(graph, [features]), from_keras, atol=1e-5)


def test_the_saved_network_has_the_weights_that_were_fitted(trained: TrainedModel) -> None:
    weights = load_keras(trained.keras())
    assert weights.shapes == trained.weights.shapes
    for found, fitted in zip(
        weights.members[1].recurrent, trained.weights.members[1].recurrent, strict=True
    ):
        np.testing.assert_array_equal(found, fitted)
    np.testing.assert_array_equal(weights.linear_gain, trained.weights.linear_gain)


def test_what_keras_cannot_read_is_an_error_of_ours(trained: TrainedModel, tmp_path: Path) -> None:
    other = tmp_path / "other.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(other)
    contents = (b"", b"none", trained.keras()[:1_000], other.read_bytes())
    for content in contents:
        with pytest.raises(ArtifactMismatch, match=r"model\.keras (can't be read by|lacks)"):
            load_keras(content)
