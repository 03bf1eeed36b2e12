"""The Keras network: an ensemble of LSTMs with a linear path beside it, and how it is fitted.

Training runs each LSTM over sequences and compares it with the target at every bar; the saved
network, of the same weights, reads one window and answers once.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from conf.environment import KERAS
from conf.errors import ArtifactMismatch, NotEnoughMemory
from conf.sections import Training
from model.dataset import Sequences, Span, apart, inside
from model.early import LSTM_EARLY
from model.features import mirrored
from model.weights import MemberWeights, NetworkWeights

os.environ.update(KERAS)  # read when they are imported
import keras
import tensorflow as tf

Array = NDArray[np.float32]


@dataclass(frozen=True)
class History:
    """Mean squared error of the clipped targets after each epoch, of a mean member."""

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]


# A short series is cut into at least so many steps an epoch.
MIN_BATCHES: Final = 8
AVERAGED_STEPS: Final = 100
# How often a sequence is shown as a market in which every move goes the other way: a trend of the
# training part is none of the future.
MIRRORED: Final = 0.25
# How much an output counts in the loss: the first horizon, the others, those of LSTM_EARLY. The far
# horizons are mostly noise and overfitted first: they should not say when to stop.
_LEARNED: Final = (1.0, 0.02, 1.0, 1.0)
_VALIDATED: Final = (1.0, 0.0, 1.0, 0.0)
# Mirrored, a target changes its sign, and how much it counts does not.
_TURNED: Final = np.array([[-1.0], [1.0]], np.float32)

# The layers of the network beside its members, and the field of NetworkWeights that each has.
_REST: Final = {
    "linear": "linear_kernel",
    "network_gain": "network_gain",
    "linear_gain": "linear_gain",
}

EpochDone = Callable[[int, float, float], None]
# Gathers some sequences, by their numbers (n,): inputs, targets and weights.
Taken = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


@dataclass(frozen=True)
class _Shape:
    """The sizes of a network."""

    steps: int
    n_features: int
    n_horizons: int
    units: int
    members: int


def fit_members(
    data: Sequences,
    held_out: Sequence[Span],
    embargo_ms: int,
    training: Training,
    start: tuple[MemberWeights, ...] | None = None,
    on_epoch: EpochDone | None = None,
) -> tuple[tuple[MemberWeights, ...], History]:
    """Fit every LSTM of the ensemble, and keep the averaged weights of the best validation epoch.

    Each member is validated on a stretch of its own, one of `held_out`, and trained on what lies
    apart from it; they stop at the epoch that is best for all together. They share a pass because
    one large step costs less than several small ones. What is validated and kept is an average over
    the weights of the last hundred steps or so: single steps jump about the minimum. Heads have
    len(LSTM_EARLY) columns behind those of the horizons. `start` continues from other weights. The
    same data, settings and number of threads give the same weights. Raises NotEnoughMemory.
    """
    shape = _Shape(
        steps=data.weights.shape[1],
        n_features=data.bars.shape[1],
        n_horizons=len(training.horizons),
        units=training.units,
        members=training.members,
    )
    times = data.end_times
    trained_on = np.stack([apart(times, stretch, embargo_ms) for stretch in held_out], axis=-1)
    validated_on = np.stack([inside(times, stretch) for stretch in held_out], axis=-1)
    learned, validated = (
        _for_members(data, shape, counted, count)
        for counted, count in ((trained_on, _LEARNED), (validated_on, _VALIDATED))
    )
    network = _training_network(shape)
    first = start or _get_members(_sequence_network(shape, training.seed))
    keras.utils.set_random_seed(training.seed)
    _set_members(network, [_with_early(member, shape) for member in first])
    _forget_steps(network.optimizer)
    network.optimizer.learning_rate = training.learning_rate
    best = BestAverage(training.patience, on_epoch)
    try:
        network.fit(
            batches(learned, len(data), data.feature_names, training),
            validation_data=tf.data.Dataset.range(len(data)).batch(256).map(validated),
            epochs=training.max_epochs,
            shuffle=False,  # the data set does
            callbacks=[best],
            verbose=0,
        )
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise NotEnoughMemory(
            f"TensorFlow found no memory to train on {len(data)} sequences: set training.max_bars "
            "lower, or free some"
        ) from error
    network.set_weights(best.weights)
    return _get_members(network), History(tuple(best.train), tuple(best.validation))


def save_keras(weights: NetworkWeights, steps: int) -> bytes:
    """The network as the bytes of a `.keras` file, equal in output to the exported graph."""
    network = _serving_network(weights, steps)
    _set_members(network, weights.members)
    for layer, name in _REST.items():
        network.get_layer(layer).set_weights([getattr(weights, name)])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        network.save(file)
        return file.read_bytes()


def load_keras(content: bytes) -> NetworkWeights:
    """Read what `save_keras` wrote, to train on from there.

    Raises ArtifactMismatch where this Keras can't read it, or it is another network.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        file.write_bytes(content)
        try:
            network = keras.models.load_model(file, compile=False, safe_mode=True)
        except Exception as error:  # of zip, HDF5, JSON or Keras itself, which names none
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            text = f"model.keras can't be read by Keras {keras.__version__}: {reason}"
            raise ArtifactMismatch(text) from error
    layers = {layer.name for layer in network.layers}
    if lacking := sorted(_REST.keys() - layers):
        raise ArtifactMismatch(f"model.keras lacks the layers {', '.join(lacking)}")
    rest = {name: network.get_layer(layer).get_weights()[0] for layer, name in _REST.items()}
    return NetworkWeights(_get_members(network), **rest)


def _serving_network(weights: NetworkWeights, steps: int) -> keras.Model:
    """The network over one window: `(n_windows, steps, n_features) -> (n_windows, n_horizons)`."""
    first = weights.members[0]
    n_features, units = len(first.recurrent[0]), len(first.head_kernel)
    n_horizons, n_members = len(weights.network_gain), len(weights.members)
    shape = _Shape(steps, n_features, n_horizons, units, n_members)
    features = keras.Input((steps, n_features), name="features")
    members = [_member(features, shape, index, n_horizons) for index in range(n_members)]
    mean = keras.layers.Average(name="members")(members)
    last = keras.layers.Cropping1D((steps - weights.linear_steps, 0), name="last_steps")(features)
    flat = keras.layers.Flatten(name="flat")(last)
    linear = keras.layers.Dense(n_horizons, use_bias=False, name="linear")(flat)
    gained = [
        keras.layers.EinsumDense("bh,h->bh", output_shape=(n_horizons,), name=name)(path)
        for name, path in (("network_gain", mean), ("linear_gain", linear))
    ]
    return keras.Model(features, keras.layers.Add(name="output")(gained), name="candlecast")


def _member(
    features: Any, shape: _Shape, index: int, n_outputs: int, at_each: bool = False, seed: int = 0
) -> Any:
    """One member of the ensemble over `features`: its outputs after the last step, or with
    `at_each` after each step but the first `steps - 1`, which warm it up.

    The head starts at zero: an untrained member forecasts no change, and learns from there.
    """
    states = keras.layers.LSTM(
        shape.units,
        return_sequences=at_each,
        kernel_initializer=keras.initializers.GlorotUniform(seed=1000 * seed + 2 * index),
        recurrent_initializer=keras.initializers.Orthogonal(seed=1000 * seed + 2 * index + 1),
        name=f"lstm_{index}",
    )(features)
    if at_each:
        states = keras.layers.Cropping1D((shape.steps - 1, 0))(states)
    return keras.layers.Dense(n_outputs, kernel_initializer="zeros", name=f"head_{index}")(states)


@cache
def _training_network(shape: _Shape) -> keras.Model:
    """The ensemble over sequences; compiled once for all fits of a process."""
    network = _sequence_network(shape)
    network.compile(
        optimizer=keras.optimizers.Adam(use_ema=True, ema_momentum=1 - 1 / AVERAGED_STEPS),
        loss=_counted_error,
        jit_compile=False,
    )
    network.optimizer.build(network.trainable_variables)
    return network


def _sequence_network(shape: _Shape, seed: int = 0) -> keras.Model:
    features = keras.Input((2 * shape.steps - 1, shape.n_features))
    n_outputs = shape.n_horizons + len(LSTM_EARLY)
    outputs = [_member(features, shape, i, n_outputs, True, seed) for i in range(shape.members)]
    return keras.Model(features, keras.layers.Concatenate()(outputs))


def _with_early(member: MemberWeights, shape: _Shape) -> MemberWeights:
    """A saved member has no outputs for early targets: they begin at zero."""
    n_outputs = shape.n_horizons + len(LSTM_EARLY)
    return member.mixed(np.eye(len(member.head_bias), n_outputs, dtype=np.float32))


def _set_members(network: keras.Model, members: Sequence[MemberWeights]) -> None:
    for index, member in enumerate(members):
        network.get_layer(f"lstm_{index}").set_weights(member.recurrent)
        network.get_layer(f"head_{index}").set_weights([member.head_kernel, member.head_bias])


def _get_members(network: keras.Model) -> tuple[MemberWeights, ...]:
    count = sum(layer.name.startswith("head_") for layer in network.layers)
    return tuple(
        MemberWeights(
            tuple(network.get_layer(f"lstm_{index}").get_weights()),
            *network.get_layer(f"head_{index}").get_weights(),
        )
        for index in range(count)
    )


def _forget_steps(optimizer: keras.optimizers.Optimizer) -> None:
    """Set an optimizer back to before its first step; all but the rate starts at zero."""
    for variable in optimizer.variables:
        if variable.path.split("/")[-1] != "learning_rate":
            variable.assign(tf.zeros_like(variable))


def batches(
    take: Taken, count: int, feature_names: Sequence[str], training: Training
) -> tf.data.Dataset:
    """Shuffled and mirrored anew each epoch; sequences that fill no batch wait for the next one.

    `take` gathers some of the `count` sequences, as from `_for_members`: what is shuffled are their
    numbers, so that an epoch holds no second copy of them.
    """
    size = min(training.batch_size, max(1, count // MIN_BATCHES))
    order, sign = mirrored(feature_names)
    draws = tf.data.Dataset.random(training.seed, rerandomize_each_iteration=True)

    def shown(chosen: tf.Tensor, draw: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inputs, targets, *weights = take(chosen)
        turned = (draw < int(MIRRORED * 2**32))[:, None, None]
        return (
            tf.where(turned, tf.gather(inputs, order, axis=-1) * sign, inputs),
            tf.where(turned[..., None], targets * _TURNED, targets),
            *weights,
        )

    numbers = tf.data.Dataset.range(count).shuffle(count, seed=training.seed)
    return tf.data.Dataset.zip(numbers, draws).batch(size, drop_remainder=True).map(shown)


def _for_members(
    data: Sequences, shape: _Shape, counted: NDArray[np.bool_], count: tuple[float, ...]
) -> Taken:
    """Gathers inputs, targets and their weights for every member, and one weight a bar.

    A target counts for the members of `counted` (n, steps, members) alone, by `count`. The second
    is (n, steps, 2, members * n_outputs): targets, and how much each counts.
    """
    first, others, *early = count
    by_output = tf.constant([first, *[others] * (shape.n_horizons - 1), *early], tf.float32)
    columns = shape.members * len(by_output)
    bars, rows, targets, weights, members = map(
        tf.convert_to_tensor, (data.bars, data.rows, data.targets, data.weights, counted)
    )

    def take(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        flat = (-1, shape.steps, columns)
        counts = tf.cast(tf.gather(members, chosen), tf.float32)[..., None] * by_output
        aims = tf.tile(tf.gather(targets, chosen), (1, 1, shape.members))
        return (
            tf.gather(bars, tf.gather(rows, chosen)),
            tf.stack([aims, tf.reshape(counts, flat)], axis=2),
            tf.gather(weights, chosen),
        )

    return take


def _counted_error(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Mean squared error at each bar (n, steps), over the outputs of members that count there."""
    aims, counts = tf.unstack(targets, axis=2)
    squared = tf.reduce_sum(counts * (aims - outputs) ** 2, axis=-1)
    return tf.math.divide_no_nan(squared, tf.reduce_sum(counts, axis=-1))


class BestAverage(keras.callbacks.Callback):  # type: ignore[misc]
    """Validates the averaged weights, keeps the best, stops when they have been that for a while.

    It also keeps the losses, and passes them on for display.
    """

    def __init__(self, patience: int, on_epoch: EpochDone | None) -> None:
        super().__init__()
        self._patience = patience
        self._on_epoch = on_epoch
        self.train: list[float] = []
        self.validation: list[float] = []
        self.weights: list[Array] = []

    def on_test_begin(self, logs: Any = None) -> None:
        """Called by Keras before it validates."""
        self._stepped = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        self._averaged = self.model.get_weights()

    def on_test_end(self, logs: Any = None) -> None:
        """Called by Keras after it has validated."""
        self.model.set_weights(self._stepped)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by Keras when the epoch was validated."""
        logs = logs or {}
        self.train.append(float(logs["loss"]))
        self.validation.append(float(logs["val_loss"]))
        best = int(np.argmin(np.nan_to_num(self.validation, nan=np.inf)))
        if best == epoch:
            self.weights = self._averaged
        self.model.stop_training = epoch - best >= self._patience
        if self._on_epoch is not None:
            self._on_epoch(epoch, self.train[-1], self.validation[-1])
