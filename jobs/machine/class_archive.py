"""One file with the classes that a stream loads, which Java then neither searches nor checks again.

    python -m jobs.machine.class_archive

starts a broker and submits itself; submitted, it is the stream over two bars, at whose end Java
writes down what was loaded. `conf/spark-env.sh` names the file to whatever is started here later.
It holds for one Java and one set of jars: with others Java says so, and loads as ever.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from kafka import KafkaProducer

from conf.errors import CandlecastError
from conf.kafka import kafka_python_options
from conf.settings import Settings, load_settings
from ingest.bar import Bar
from ingest.publish import BarPublisher, ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.jars import JARS_DIR
from jobs.machine.processes import spark_submit, wait_until
from spark.session import build_session
from stream.query import start_query

ARCHIVE: Final = JARS_DIR / "classes.jsa"
TIMEOUT_S: Final = 300.0
BARS: Final = [
    Bar("BTC-USD", "1m", minute * 60_000, 10.0, 12.0, 9.0, 11.0, 1.5, 16.0, "install", 0)
    for minute in range(2)
]


def make_archive() -> None:
    """Write `ARCHIVE` anew; a start that comes meanwhile does without. Raises CandlecastError."""
    ARCHIVE.unlink(missing_ok=True)
    unfinished = ARCHIVE.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)  # half an archive of a killed install would end Java
    with tempfile.TemporaryDirectory() as name, EmbeddedBroker(Path(name) / "broker") as broker:
        env = {
            "SPARK_SUBMIT_OPTS": f"-XX:ArchiveClassesAtExit={unfinished}",
            # This broker, whatever the user's environment says of another.
            "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "CANDLECAST_KAFKA__SECURITY_PROTOCOL": "PLAINTEXT",
            "CANDLECAST_SENTIMENT__ENABLED": "false",
            "CANDLECAST_WAREHOUSE__DIR": f"{name}/warehouse",
            "CANDLECAST_WAREHOUSE__CHECKPOINT_DIR": f"{name}/checkpoints",
            "CANDLECAST_REGISTRY__TRACKING_URI": f"sqlite:///{name}/mlflow.db",
            "CANDLECAST_REGISTRY__ARTIFACT_DIR": f"{name}/models",
        }
        stream = spark_submit("jobs/machine/class_archive.py", env, Path(name) / "log")
        with stream:
            ended = wait_until(lambda: not stream.running, TIMEOUT_S)
        if not ended or stream.exit_code != 0 or not unfinished.exists():
            raise CandlecastError(f"Java wrote no archive of classes: {stream.last_words()}")
    os.replace(unfinished, ARCHIVE)


def stream_once(settings: Settings) -> None:
    """Publish two bars and a message that is none, which goes back to Kafka, and work them off."""
    kafka = settings.kafka
    topics = (kafka.bars_topic, kafka.rejected_topic, kafka.predictions_topic)
    ensure_topics(kafka, dict.fromkeys(topics, kafka.partitions))
    with KafkaProducer(**kafka_python_options(kafka)) as producer:
        producer.send(kafka.bars_topic, b"no bar")
    with BarPublisher(kafka, kafka.bars_topic) as publisher:
        publisher.publish(BARS)
    session = build_session(settings)
    query = start_query(session, settings)
    query.processAllAvailable()
    query.stop()
    session.stop()


if __name__ == "__main__":
    if "SPARK_ENV_LOADED" in os.environ:
        stream_once(load_settings())
    else:
        print("Writing down the classes that a stream loads, for faster starts ...", flush=True)
        try:
            make_archive()
        except (CandlecastError, OSError) as error:
            print(f"candlecast: starts will take some seconds longer: {error}", file=sys.stderr)
