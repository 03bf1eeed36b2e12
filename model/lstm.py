"""The Keras network: an ensemble of LSTMs with a linear path beside it, and how it is fitted.

What is trained and what is saved share their weights. Training runs each LSTM over whole sequences
and compares it with the target at every bar; the saved network reads one window and answers once.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from conf.settings import Training
from model.dataset import Sequences, Span, apart, inside
from model.early import LSTM_EARLY
from model.features import mirrored
from model.weights import MemberWeights, NetworkWeights

# Its notes on the processor are no news to anyone; oneDNN rounds by the load of the machine.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
import keras
import tensorflow as tf

logger = logging.getLogger(__name__)

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """The sizes that make two networks interchangeable."""

    steps: int
    n_features: int
    n_horizons: int
    units: int
    members: int


@dataclass(frozen=True)
class History:
    """Mean squared error of the clipped targets after each epoch, of a mean member."""

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]


# A short series is cut into at least so many steps an epoch.
MIN_BATCHES: Final = 8
AVERAGED_STEPS: Final = 100
# How often a sequence is shown as a market in which every move goes the other way. There is hardly
# more to the one than to the other, and a trend of the training part is none of the future.
MIRRORED: Final = 0.25
# How much an output counts in the loss: the first horizon, the others, those of LSTM_EARLY. The far
# horizons are mostly noise: they shall take no part in what the LSTM learns, and above all not
# say when it has learned enough, since they are overfitted first.
_LEARNED: Final = (1.0, 0.02, 1.0, 1.0)
_VALIDATED: Final = (1.0, 0.0, 1.0, 0.0)
# Mirrored, a target changes its sign, and how much it counts does not.
_TURNED: Final = np.array([[-1.0], [1.0]], np.float32)

EpochDone = Callable[[int, float, float], None]


def use_threads(count: int) -> None:
    """Let TensorFlow compute on this many cores. Before the first network only."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
    except RuntimeError:
        logger.info("event=threads_unchanged reason=tensorflow_already_started")


def fit_members(
    shape: Shape,
    data: Sequences,
    held_out: Sequence[Span],
    embargo_ms: int,
    training: Training,
    start: tuple[MemberWeights, ...] | None = None,
    on_epoch: EpochDone | None = None,
) -> tuple[tuple[MemberWeights, ...], History]:
    """Fit every LSTM of the ensemble, and keep the averaged weights of the best validation epoch.

    Their heads have len(LSTM_EARLY) columns behind those of the horizons.

    Each member is validated on a stretch of its own, one of `held_out`, and trained on what lies
    apart from it. Beyond that they differ by their first weights and do not touch each other: they
    share a pass because one large step costs less than several small ones, and stop at the epoch
    that is best for all stretches together. What is validated and kept is an average over the
    weights of the last hundred steps or so: at this rate single steps jump about the minimum.
    `start` continues from other weights. The same data, settings and number of threads give the
    same weights.
    """
    times = data.end_times
    trained_on = np.stack([apart(times, stretch, embargo_ms) for stretch in held_out], axis=-1)
    validated_on = np.stack([inside(times, stretch) for stretch in held_out], axis=-1)
    network = _training_network(shape)
    keras.utils.set_random_seed(training.seed)
    _set_members(network, shape, start or _first_weights(shape, training.seed))
    _forget_steps(network.optimizer)
    network.optimizer.learning_rate = training.learning_rate
    best = BestAverage(training.patience, on_epoch)
    network.fit(
        batches(_for_members(data, shape, trained_on, _LEARNED), data.feature_names, training),
        validation_data=tf.data.Dataset.from_tensor_slices(
            _for_members(data, shape, validated_on, _VALIDATED)
        ).batch(256),
        epochs=training.max_epochs,
        shuffle=False,  # the data set does
        callbacks=[best],
        verbose=0,
    )
    network.set_weights(best.weights)
    return _get_members(network, shape), History(tuple(best.train), tuple(best.validation))


def save_keras(weights: NetworkWeights, shape: Shape) -> bytes:
    """The network as the bytes of a `.keras` file, equal in output to the exported graph."""
    network = serving_network(shape, weights.linear_kernel.shape[0] // shape.n_features)
    for index, member in enumerate(weights.members):
        network.get_layer(f"lstm_{index}").set_weights(
            [member.kernel, member.recurrent, member.bias]
        )
        network.get_layer(f"head_{index}").set_weights([member.head_kernel, member.head_bias])
    network.get_layer("linear").set_weights([weights.linear_kernel])
    network.get_layer("network_gain").set_weights([weights.network_gain])
    network.get_layer("linear_gain").set_weights([weights.linear_gain])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        network.save(file)
        return file.read_bytes()


def load_keras(content: bytes) -> tuple[NetworkWeights, Shape]:
    """Read what `save_keras` wrote, to train on from there."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        file.write_bytes(content)
        network = keras.models.load_model(file, compile=False, safe_mode=True)
    count = sum(layer.name.startswith("lstm_") for layer in network.layers)
    members = tuple(
        MemberWeights(
            *network.get_layer(f"lstm_{i}").get_weights(),
            *network.get_layer(f"head_{i}").get_weights(),
        )
        for i in range(count)
    )
    (linear,) = network.get_layer("linear").get_weights()
    (network_gain,) = network.get_layer("network_gain").get_weights()
    (linear_gain,) = network.get_layer("linear_gain").get_weights()
    _, steps, n_features = network.input_shape
    shape = Shape(steps, n_features, len(network_gain), members[0].recurrent.shape[0], count)
    return NetworkWeights(members, linear, network_gain, linear_gain), shape


def serving_network(shape: Shape, linear_steps: int) -> keras.Model:
    """The network over one window: `(n_windows, steps, n_features) -> (n_windows, n_horizons)`."""
    features = keras.Input((shape.steps, shape.n_features), name="features")
    members = [
        keras.layers.Dense(shape.n_horizons, name=f"head_{i}")(
            keras.layers.LSTM(shape.units, name=f"lstm_{i}")(features)
        )
        for i in range(shape.members)
    ]
    mean = keras.layers.Average(name="members")(members) if len(members) > 1 else members[0]
    last = keras.layers.Cropping1D((shape.steps - linear_steps, 0), name="last_steps")(features)
    flat = keras.layers.Flatten(name="flat")(last)
    linear = keras.layers.Dense(shape.n_horizons, use_bias=False, name="linear")(flat)
    output = keras.layers.Add(name="output")(
        [_gain("network_gain", shape)(mean), _gain("linear_gain", shape)(linear)]
    )
    return keras.Model(features, output, name="candlecast")


def _gain(name: str, shape: Shape) -> keras.layers.Layer:
    return keras.layers.EinsumDense("bh,h->bh", output_shape=(shape.n_horizons,), name=name)


@cache
def _training_network(shape: Shape) -> keras.Model:
    """The ensemble over sequences; compiled once for all fits of a process."""
    features = keras.Input((2 * shape.steps - 1, shape.n_features))
    outputs = []
    for index in range(shape.members):
        states = keras.layers.LSTM(shape.units, return_sequences=True, name=f"lstm_{index}")(
            features
        )
        aimed = keras.layers.Cropping1D((shape.steps - 1, 0))(states)
        head = keras.layers.Dense(shape.n_horizons + len(LSTM_EARLY), name=f"head_{index}")
        outputs.append(head(aimed))
    joined = keras.layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0]
    network = keras.Model(features, joined)
    network.compile(
        optimizer=keras.optimizers.Adam(use_ema=True, ema_momentum=1 - 1 / AVERAGED_STEPS),
        loss=_counted_error,
        jit_compile=False,
    )
    network.optimizer.build(network.trainable_variables)
    return network


def _first_weights(shape: Shape, seed: int) -> tuple[MemberWeights, ...]:
    """Keras's own initialisation of an LSTM and a Dense layer, from seeds of our own.

    The head starts at zero: an untrained member forecasts no change, and learns from there.
    """
    members = []
    for index in range(shape.members):
        glorot = keras.initializers.GlorotUniform(seed=1000 * seed + 2 * index)
        orthogonal = keras.initializers.Orthogonal(seed=1000 * seed + 2 * index + 1)
        bias = np.zeros(4 * shape.units, np.float32)
        bias[shape.units : 2 * shape.units] = 1.0
        members.append(
            MemberWeights(
                np.asarray(glorot((shape.n_features, 4 * shape.units))),
                np.asarray(orthogonal((shape.units, 4 * shape.units))),
                bias,
                np.zeros((shape.units, shape.n_horizons + len(LSTM_EARLY)), np.float32),
                np.zeros(shape.n_horizons + len(LSTM_EARLY), np.float32),
            )
        )
    return tuple(members)


def _set_members(network: keras.Model, shape: Shape, members: tuple[MemberWeights, ...]) -> None:
    """A member that was in service has no outputs for early targets any more: from zero, then."""
    n_outputs = shape.n_horizons + len(LSTM_EARLY)
    for index, member in enumerate(members):
        widened = member.mixed(np.eye(len(member.head_bias), n_outputs, dtype=np.float32))
        network.get_layer(f"lstm_{index}").set_weights(
            [member.kernel, member.recurrent, member.bias]
        )
        network.get_layer(f"head_{index}").set_weights([widened.head_kernel, widened.head_bias])


def _get_members(network: keras.Model, shape: Shape) -> tuple[MemberWeights, ...]:
    return tuple(
        MemberWeights(
            *network.get_layer(f"lstm_{index}").get_weights(),
            *network.get_layer(f"head_{index}").get_weights(),
        )
        for index in range(shape.members)
    )


def _forget_steps(optimizer: keras.optimizers.Optimizer) -> None:
    """Set an optimizer back to before its first step; all but the rate starts at zero."""
    for variable in optimizer.variables:
        if variable.path.split("/")[-1] != "learning_rate":
            variable.assign(tf.zeros_like(variable))


def batches(
    arrays: tuple[Array, ...], feature_names: Sequence[str], training: Training
) -> tf.data.Dataset:
    """Shuffled and mirrored anew each epoch; sequences that fill no batch wait for the next one.

    arrays: as from `_for_members`.
    """
    count = len(arrays[0])
    size = min(training.batch_size, max(1, count // MIN_BATCHES))
    order, sign = mirrored(feature_names)
    draws = tf.data.Dataset.random(training.seed, rerandomize_each_iteration=True)

    def shown(arrays: tuple[tf.Tensor, ...], draw: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inputs, targets, *weights = arrays
        turned = draw < int(MIRRORED * 2**32)
        return (
            tf.where(turned, tf.gather(inputs, order, axis=-1) * sign, inputs),
            tf.where(turned, targets * _TURNED, targets),
            *weights,
        )

    data = tf.data.Dataset.from_tensor_slices(arrays).shuffle(count, seed=training.seed)
    return tf.data.Dataset.zip(data, draws).map(shown).batch(size, drop_remainder=True)


def _for_members(
    data: Sequences, shape: Shape, counted: NDArray[np.bool_], count: tuple[float, ...]
) -> tuple[Array, Array, Array]:
    """Inputs, targets and their weights for every member, and one weight a bar.

    A target counts for the members of `counted` (n, steps, members) alone, by `count`. The second
    is (n, steps, 2, members * n_outputs): targets, and how much each counts.
    """
    first, others, *early = count
    weights = np.array([first, *[others] * (shape.n_horizons - 1), *early], np.float32)
    of_member = counted[..., None] * weights
    targets = np.broadcast_to(data.targets[:, :, None], of_member.shape)
    flat = (*counted.shape[:2], -1)
    return data.inputs, np.stack([targets.reshape(flat), of_member.reshape(flat)], 2), data.weights


def _counted_error(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Mean squared error at each bar (n, steps), over the outputs of members that count there."""
    aims, counts = tf.unstack(targets, axis=2)
    squared = tf.reduce_sum(counts * (aims - outputs) ** 2, axis=-1)
    return tf.math.divide_no_nan(squared, tf.reduce_sum(counts, axis=-1))


class BestAverage(keras.callbacks.Callback):  # type: ignore[misc]
    """Validates the averaged weights, keeps the best, stops when they have been that for a while.

    It also keeps the losses, and tells them to whoever shows progress.
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
