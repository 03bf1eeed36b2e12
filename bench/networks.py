"""The networks that every contender runs: LSTM(32) and two layers of LSTM(50), weights at random.

A plain stack of LSTMs and a linear head over the project's own features. Random weights take the
same time as trained ones, and every window's forecast depends on every input.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from bench.series import HORIZONS, LOOKBACK
from model.artifact import KERAS_FILE, ONNX_FILE, Manifest, save_artifact
from model.features import FEATURE_NAMES, sequence_steps
from model.registry import Registry

NETWORKS: Final = {"lstm32": (32,), "lstm50x2": (50, 50)}
_OPSET: Final = 17
_IR_VERSION: Final = 8

Array = NDArray[np.float32]


def random_network(units: Sequence[int]) -> list[Array]:
    """Kernel, recurrent and bias of each layer, gates as in Keras (i f c o); the head's, its bias.

    The weights are large enough that an output tells its window from every other.
    """
    noise = np.random.default_rng(8)

    def weights(*shape: int) -> Array:
        return noise.normal(0, 1 / np.sqrt(shape[0]), shape).astype(np.float32)

    widths = [len(FEATURE_NAMES), *units]
    layers = [
        weights(*shape)
        for taken, given in pairwise(widths)
        for shape in ((taken, 4 * given), (given, 4 * given), (4 * given,))
    ]
    return [*layers, weights(units[-1], len(HORIZONS)), weights(len(HORIZONS))]


def onnx_graph(network: list[Array]) -> bytes:
    """The graph `features (n_windows, steps, n_features) -> output (n_windows, n_horizons)`."""
    constants: list[Any] = []

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    nodes = [helper.make_node("Transpose", ["features"], ["steps0"], perm=[1, 0, 2])]
    axis = constant("axis", np.array([1]))
    *layers, (head, head_bias) = [network[i : i + 3] for i in range(0, len(network), 3)]
    for i, (kernel, recurrent, bias) in enumerate(layers):
        inputs = [
            f"steps{i}",
            constant(f"w{i}", _onnx_gates(kernel)[None]),
            constant(f"r{i}", _onnx_gates(recurrent)[None]),
            constant(f"b{i}", np.append(_onnx_gates(bias), np.zeros_like(bias))[None]),
        ]
        outputs = [f"all{i}", f"last{i}"]
        units = recurrent.shape[0]
        nodes.append(helper.make_node("LSTM", inputs, outputs, hidden_size=units))
        nodes.append(helper.make_node("Squeeze", [f"all{i}", axis], [f"steps{i + 1}"]))
    first = constant("first", np.array([0]))
    nodes.append(helper.make_node("Squeeze", [f"last{len(layers) - 1}", first], ["state"]))
    head_inputs = ["state", constant("head", head), constant("head_bias", head_bias)]
    nodes.append(helper.make_node("Gemm", head_inputs, ["output"]))
    steps = sequence_steps(LOOKBACK)
    tensor = partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    taken = tensor("features", shape=["n_windows", steps, len(FEATURE_NAMES)])
    given = tensor("output", shape=["n_windows", len(HORIZONS)])
    graph = helper.make_graph(nodes, "bench", [taken], [given], constants)
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _onnx_gates(weights: Array) -> Array:
    """From Keras's (inputs, i f c o) to ONNX's (i o f c, inputs)."""
    i, f, c, o = np.split(weights.T, 4)
    return np.concatenate([i, o, f, c])


def write_networks(folder: Path) -> None:
    """For each network: `NAME.onnx`, `NAME.npz` (for Keras), and a registry that serves it."""
    for name, units in NETWORKS.items():
        network = random_network(units)
        graph = onnx_graph(network)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.onnx").write_bytes(graph)
        np.savez(folder / f"{name}.npz", *network)
        manifest = Manifest(
            interval="1m",
            symbols=("BENCH-USD",),
            feature_names=FEATURE_NAMES,
            lookback=LOOKBACK,
            horizons=HORIZONS,
            trained_from=0,
            validated_from=0,
            trained_until=0,
            coverage=0.9,
            half_widths=(2.0,) * len(HORIZONS),
            network_gain=(1.0,) * len(HORIZONS),
            linear_gain=(0.0,) * len(HORIZONS),
        )
        # Nothing reads the Keras file: the contender with Keras builds its model from NAME.npz.
        save_artifact(folder / name, manifest, {ONNX_FILE: graph, KERAS_FILE: b"none"})
        registry = Registry(**registry_settings(folder, name))
        registry.promote(registry.register(folder / name, "1m"))


def registry_settings(folder: Path, name: str) -> dict[str, str]:
    """The settings `registry` of the network's own registry."""
    place = (folder / f"{name}-registry").resolve()
    return {"tracking_uri": f"sqlite:///{place}/mlflow.db", "artifact_dir": f"{place}/models"}
