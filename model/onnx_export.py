"""The Keras network as one ONNX graph: every member's LSTM, the linear path and their gains.

Written from the weights: Keras's own export needs tf2onnx. The gains and the average over members
are folded into the last weights, so that serving takes a handful of operators:

```
 features (n, steps, f) -+- Transpose -+- LSTM 1 -+
                         |             +- LSTM 2 -+- Concat - MatMul -+
                         |             +- ...    -+                   +- Add - Add bias - output
                         +- Slice last steps - Reshape ------ MatMul -+
 sizes (n, k) - MatMul - Add bias - log_size
```
"""

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model.size import SizeLine
from model.weights import MemberWeights, NetworkWeights

_OPSET: Final = 17
# The oldest file format with this opset: older runtimes read it too.
_IR_VERSION: Final = 8

Array = NDArray[np.float32]


def export_onnx(weights: NetworkWeights, steps: int, size: SizeLine | None = None) -> bytes:
    """The graph `features (n_windows, steps, n_features) -> output (n_windows, n_horizons)`, and,
    where there is a line of sizes, `sizes (n_windows, n_inputs) -> log_size (n_windows,
    n_horizons)`.
    """
    graph = _Graph()
    graph.node("Transpose", ["features"], "by_step", perm=[1, 0, 2])
    hidden = [_state(graph, f"member{i}", member) for i, member in enumerate(weights.members)]
    joined = graph.node("Concat", hidden, "hidden", axis=1)
    share = weights.network_gain / len(weights.members)
    heads = np.concatenate([member.head_kernel for member in weights.members]) * share
    graph.node("MatMul", [joined, graph.constant("heads", heads)], "network")
    n_horizons = len(weights.network_gain)
    n_features = weights.members[0].recurrent[0].shape[0]
    bounds = [
        graph.constant(n, np.array([v]))
        for n, v in (("from", steps - weights.linear_steps), ("to", steps), ("axis", 1))
    ]
    graph.node("Slice", ["features", *bounds], "last_steps")
    shape = graph.constant("flat_shape", np.array([-1, weights.linear_kernel.shape[0]]))
    graph.node("Reshape", ["last_steps", shape], "flat")
    kernel = graph.constant("linear_kernel", weights.linear_kernel * weights.linear_gain)
    graph.node("MatMul", ["flat", kernel], "linear")
    graph.node("Add", ["network", "linear"], "sum")
    bias = share * sum(member.head_bias for member in weights.members)
    graph.node("Add", ["sum", graph.constant("bias", bias)], "output")
    if size is not None:
        kernel = graph.constant("size_kernel", size.kernel)
        graph.node("MatMul", ["sizes", kernel], "size_line")
        graph.node("Add", ["size_line", graph.constant("size_bias", size.bias)], "log_size")
    n_sizes = 0 if size is None else len(size.kernel)
    return graph.model(steps, n_features, n_horizons, n_sizes)


def _state(graph: "_Graph", name: str, member: MemberWeights) -> str:
    """One LSTM, its last state as (n_windows, units). Keras orders gates i f c o, ONNX i o f c."""
    kernel, recurrent, bias = member.recurrent
    inputs = [
        "by_step",
        graph.constant(f"{name}_w", _gates(kernel.T)[None]),
        graph.constant(f"{name}_r", _gates(recurrent.T)[None]),
        graph.constant(f"{name}_b", np.concatenate([_gates(bias), np.zeros_like(bias)])[None]),
    ]
    units = recurrent.shape[0]
    graph.nodes.append(
        helper.make_node("LSTM", inputs, ["", f"{name}_last"], name=name, hidden_size=units)
    )
    axis = graph.constant(f"{name}_axis", np.array([0]))
    return graph.node("Squeeze", [f"{name}_last", axis], f"{name}_state")


def _gates(weights: Array) -> Array:
    """Reorder the first axis from Keras's gates (i, f, c, o) to ONNX's (i, o, f, c)."""
    i, f, c, o = np.split(weights, 4)
    return np.concatenate([i, o, f, c])


class _Graph:
    """Nodes and constants as they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        kind = np.int64 if np.issubdtype(value.dtype, np.integer) else np.float32
        self._constants.append(numpy_helper.from_array(value.astype(kind), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def model(self, steps: int, n_features: int, n_horizons: int, n_sizes: int = 0) -> bytes:
        """The checked model as bytes."""
        taken = [_tensor("features", steps, n_features)]
        given = [_tensor("output", n_horizons)]
        if n_sizes:
            taken.append(_tensor("sizes", n_sizes))
            given.append(_tensor("log_size", n_horizons))
        graph = helper.make_graph(self.nodes, "candlecast", taken, given, self._constants)
        model = helper.make_model(
            graph,
            producer_name="candlecast",
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def _tensor(name: str, *shape: int) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n_windows", *shape])
