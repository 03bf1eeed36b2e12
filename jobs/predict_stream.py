"""The stream: bars from Kafka, predictions to Kafka and Parquet.

Run from a checkout as `spark-submit jobs/predict_stream.py`; everything comes from the settings.
Spark takes seconds to come up: the rest is imported meanwhile, and a broker may come up beside it.
"""

import argparse
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from pyspark.errors import StreamingQueryException

from conf.errors import CandlecastError
from conf.events import event
from conf.settings import Settings, load_settings
from jobs.terminal.logs import configure_logging
from jobs.terminal.program import run_program
from spark.errors import explain
from spark.executors import ExecutorWatch, count_executors
from spark.session import build_session
from store.locks import only_worker
from stream.metrics import StreamMetrics

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5
# How long a broker that is starting may take.
BROKER_S: Final = 15.0


def run(settings: Settings) -> None:
    """Create missing topics, start the query, and return only when it ends."""
    metrics = StreamMetrics()
    metrics.serve(settings.stream.metrics_port, settings.stream.metrics_host)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(build_session, settings)
        from ingest.topics import ensure_topics
        from spark.warm_workers import idle_task, keep_warm
        from stream.query import checkpoint_dir, start_query

        let_shipped_serve(settings)
        session = coming.result()
    kafka = settings.kafka
    topics = [kafka.bars_topic, kafka.rejected_topic, kafka.predictions_topic]
    if settings.sentiment.enabled:
        topics += [kafka.news_topic, kafka.sentiment_topic]
    partitions = dict.fromkeys(topics, kafka.partitions)
    ensure_topics(kafka, partitions, retention_s=kafka.retention_s, timeout_s=BROKER_S)
    ending = threading.Event()
    keep_warm(idle_task(session, settings.window.shards), ending)
    query = start_query(session, settings, metrics)
    event(log, "query", id=query.id, topic=kafka.bars_topic)
    metrics.follow(query)
    count = partial(count_executors, session)
    watch = ExecutorWatch(count, settings.stream.no_executors_s, time.monotonic)
    try:
        while not query.awaitTermination(LOOK_EVERY_S):
            watch.look()
    except StreamingQueryException as error:
        raise explain(str(error), checkpoint_dir(settings)) from error
    finally:
        ending.set()


def let_shipped_serve(settings: Settings) -> None:
    """Where no model has served yet, the one that comes with the code does; the stream runs
    without."""
    from model.decisions import Arena
    from model.shipped import serve_shipped
    from stream.query import checkpoint_dir
    from stream.service_record import served_before

    if settings.promotion.shipped:
        try:
            before = served_before(checkpoint_dir(settings))
            serve_shipped(Arena.of(settings), settings.market, before)
        except (CandlecastError, OSError) as error:
            event(log, "shipped_off", level=logging.WARNING, reason=error)


def main() -> None:
    """Run until stopped; the exit code says what a supervisor should do."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    configure_logging()
    settings = load_settings()
    with only_worker(settings.warehouse, "stream"):
        run(settings)


if __name__ == "__main__":
    run_program(main)
