"""Fills a topic with the bars of `bench.series`: no contender, but what all of them read.

Runs in the contenders' environment for librdkafka's producer: kafka-python would take minutes for
a million bars.

    python -m bench.contenders.feed BROKER TOPIC SYMBOLS MINUTES
"""

import sys

from confluent_kafka import Producer

from bench.series import random_walk


def main() -> None:
    """Send the bars minute by minute and return once all are acknowledged."""
    broker, topic, n_symbols, minutes = sys.argv[1:]
    producer = Producer(
        {
            "bootstrap.servers": broker,
            "partitioner": "murmur2_random",
            "linger.ms": 50,
            "batch.size": 900_000,
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    for bars in random_walk(int(n_symbols), int(minutes)):
        for bar in bars:
            producer.produce(topic, bar.to_json(), bar.symbol.encode())
        producer.poll(0)
    if producer.flush(120):
        raise SystemExit(f"{topic}: not all bars were acknowledged")


if __name__ == "__main__":
    main()
