"""Contender: a loop of kafka-python with ONNX Runtime, one process.

Consumes a message, keeps the last 61 bars of each symbol in memory (nothing survives a crash),
computes the features of the window, runs the network on it and sends one message.

    python -m bench.contenders.kafka_onnx BROKER BARS_TOPIC OUTPUT_TOPIC NETWORK.onnx -
"""

import sys

from bench.contenders.window import kafka_loop, onnx_model

if __name__ == "__main__":
    broker, bars, output, network, _ = sys.argv[1:]
    kafka_loop(broker, bars, output, onnx_model(network))
