"""Contender: the paper's shape, a loop of kafka-python with `keras.Model.predict` a message.

As `kafka_onnx`, but the network is the same one in Keras, on TensorFlow. Runs in the project's
own environment, which has both.

    python -m bench.contenders.kafka_keras BROKER BARS_TOPIC OUTPUT_TOPIC NETWORK.npz -
"""

import os
import sys

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras

from bench.contenders.window import Model, kafka_loop
from bench.series import HORIZONS, LOOKBACK
from model.features import FEATURE_NAMES, sequence_steps


def keras_model(file: str) -> Model:
    """The network of `bench.networks` with its weights, behind `predict`."""
    arrays = list(np.load(file).values())
    *layers, head = [arrays[i : i + 3] for i in range(0, len(arrays), 3)]
    network = keras.Sequential([keras.Input((sequence_steps(LOOKBACK), len(FEATURE_NAMES)))])
    for number, (_, recurrent, _) in enumerate(layers):
        is_last = number == len(layers) - 1
        network.add(keras.layers.LSTM(recurrent.shape[0], return_sequences=not is_last))
    network.add(keras.layers.Dense(len(HORIZONS)))
    network.set_weights([array for layer in layers for array in layer] + head)
    return lambda features: network.predict(features, verbose=0)


if __name__ == "__main__":
    broker, bars, output, network, _ = sys.argv[1:]
    kafka_loop(broker, bars, output, keras_model(network))
