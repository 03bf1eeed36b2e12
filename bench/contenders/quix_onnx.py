"""Contender: Quix Streams with RocksDB state and ONNX Runtime; started once a core.

The state of a symbol is its last 61 bars as bytes, in RocksDB with a changelog topic (Quix's
default): it survives a crash, as ours does. At least once, checkpoints every 5 s (also default).

    python -m bench.contenders.quix_onnx BROKER BARS_TOPIC OUTPUT_TOPIC NETWORK.onnx STATE_DIR
"""

import sys
from typing import Any

import numpy as np
from quixstreams import Application
from quixstreams.state import State

from bench.contenders.window import NEEDED, appended, forecast, onnx_model


def main() -> None:
    """Run until ended from outside."""
    broker, topic, output, network, state_dir = sys.argv[1:]
    model = onnx_model(network)

    def predict(bar: dict[str, Any], state: State) -> dict[str, Any] | None:
        held = state.get_bytes("window")
        window = appended(None if held is None else np.frombuffer(held).reshape(-1, 6), bar)
        state.set_bytes("window", window.tobytes())
        return forecast(window, bar, model) if len(window) == NEEDED else None

    app = Application(
        broker_address=broker,
        consumer_group=output,
        auto_offset_reset="earliest",
        state_dir=state_dir,
        loglevel="WARNING",
    )
    bars = app.dataframe(app.topic(topic, value_deserializer="json"))
    predictions = bars.apply(predict, stateful=True)
    predictions = predictions[predictions.apply(lambda value: value is not None)]
    predictions.to_topic(app.topic(output, value_serializer="json"))
    app.run()


if __name__ == "__main__":
    main()
