"""Contender: a loop of kafka-python, one process, with ONNX Runtime or `keras.Model.predict`.

Consumes a message, keeps the last 61 bars of each symbol in memory (nothing survives a crash),
computes the features of the window, runs the network on it and sends one message. With the same
network in Keras, on TensorFlow, it has the paper's shape, and runs in the project's own
environment, which has both.

    python -m bench.contenders.kafka_python BROKER BARS_TOPIC OUTPUT_TOPIC NETWORK.onnx|.npz -
"""

import json
import os
import sys

import numpy as np
from kafka import KafkaConsumer, KafkaProducer

from bench.contenders.window import NEEDED, Model, appended, forecast, onnx_model
from bench.series import HORIZONS, LOOKBACK
from model.features import FEATURE_NAMES, sequence_steps


def keras_model(file: str) -> Model:
    """The network of `bench.networks` with its weights, behind `predict`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    arrays = list(np.load(file).values())
    recurrent = arrays[1:-2:3]
    network = keras.Sequential([keras.Input((sequence_steps(LOOKBACK), len(FEATURE_NAMES)))])
    for number, weights in enumerate(recurrent, start=1):
        is_last = number == len(recurrent)
        network.add(keras.layers.LSTM(weights.shape[0], return_sequences=not is_last))
    network.add(keras.layers.Dense(len(HORIZONS)))
    network.set_weights(arrays)
    return lambda features: network.predict(features, verbose=0)


def main() -> None:
    """One message after the other, until ended from outside."""
    broker, topic, output, network, _ = sys.argv[1:]
    model = keras_model(network) if network.endswith(".npz") else onnx_model(network)
    windows: dict[bytes, np.ndarray] = {}
    consumer = KafkaConsumer(
        topic, bootstrap_servers=broker, group_id=output, auto_offset_reset="earliest"
    )
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=5)
    for message in consumer:
        bar = json.loads(message.value)
        window = windows[message.key] = appended(windows.get(message.key), bar)
        if len(window) == NEEDED:
            value = json.dumps(forecast(window, bar, model)).encode()
            producer.send(output, value, message.key)


if __name__ == "__main__":
    main()
