"""The stream's metrics: what Prometheus reads is what the stream did."""

from types import SimpleNamespace
from typing import cast
from urllib.request import urlopen

import pytest
from pyspark.sql.streaming import StreamingQuery
from pyspark.sql.streaming.listener import StreamingQueryProgress

from conf.ports import free_port
from ingest.bar import Bar
from jobs.machine.processes import wait_until
from store.prometheus import read_metrics
from stream.metrics import StreamMetrics, WrittenMicroBatch
from stream.query import start_query
from tests.streams import RunningStream


def progress(end: int, latest: int, batch_id: int = 7, rows: int = 5) -> SimpleNamespace:
    """What Spark says of a micro-batch, as far as it is read."""
    source = SimpleNamespace(
        endOffset=f'{{"bars":{{"0":{end}}}}}', latestOffset=f'{{"bars":{{"0":{latest}}}}}'
    )
    state = SimpleNamespace(numRowsTotal=4, memoryUsedBytes=1024)
    return SimpleNamespace(
        numInputRows=rows,
        batchId=batch_id,
        durationMs={"triggerExecution": 1500, "addBatch": 1200},
        sources=[source],
        stateOperators=[state],
    )


def query(*kept: SimpleNamespace) -> StreamingQuery:
    """A query with what Spark keeps of its last micro-batches."""
    return cast(StreamingQuery, SimpleNamespace(lastProgress=kept[-1], recentProgress=kept))


def test_prometheus_reads_what_the_stream_did(
    stream: RunningStream, btc: list[Bar], monkeypatch: pytest.MonkeyPatch
) -> None:
    # PySpark's other way to progress takes a tenth of a second.
    monkeypatch.delattr(StreamingQueryProgress, "fromJObject")
    metrics = StreamMetrics()
    port = metrics.serve(0)
    stream.queries.append(start_query(stream.spark, stream.settings, metrics))
    metrics.follow(stream.queries[0])
    stream.publish(btc[:100])
    stream.send(b"not JSON")
    url = f"http://127.0.0.1:{port}/metrics"
    rows_in = ("candlecast_rows_in_total", ())
    assert wait_until(lambda: (read_metrics(url) or {}).get(rows_in, 0) >= 101, 30)
    found = read_metrics(url) or {}
    predicted = len(stream.table("predictions"))
    assert found["candlecast_bars_total", ()] == 100
    assert found["candlecast_predictions_total", ()] == predicted > 0
    assert found["candlecast_rejected_total", ()] == 1
    assert found["candlecast_abstentions_total", (("reason", "warming up"),)] == 60
    assert found["candlecast_champion", (("interval", "1m"), ("version", "1m-1"))] == 1
    assert found["candlecast_micro_batch_seconds", (("phase", "addBatch"),)] > 0
    assert found["candlecast_state_memory_bytes", ()] > 0
    assert found["candlecast_lag_records", ()] == 0


def test_what_waits_for_leaders_and_how_waits_ended_is_counted() -> None:
    metrics = StreamMetrics()
    waiting: dict[int, int] = {7: 2, 5: 4}
    metrics.written(WrittenMicroBatch(0, 0, 0, waiting=waiting, waited={"came": 3, "without": 1}))
    metrics.written(WrittenMicroBatch(0, 0, 0, waiting={7: 1}, waited={"came": 1}))
    value = metrics.registry.get_sample_value
    assert value("candlecast_waiting_bars") == 1 + 4  # a shard that was not reached counts on
    assert value("candlecast_leader_waits_total", {"end": "came"}) == 4
    assert value("candlecast_leader_waits_total", {"end": "without"}) == 1


def test_lag_is_what_is_unread_and_grows_older_until_it_is_read() -> None:
    now = [100.0]
    metrics = StreamMetrics(clock=lambda: now[0])
    metrics.read(query(progress(end=10, latest=10)))
    now[0] = 160.0
    metrics.read(query(progress(end=20, latest=50, batch_id=8)))
    assert metrics.registry.get_sample_value("candlecast_lag_records") == 30
    assert metrics.registry.get_sample_value("candlecast_lag_seconds") == 60
    metrics.read(query(progress(end=50, latest=50, batch_id=9)))
    assert metrics.registry.get_sample_value("candlecast_lag_seconds") == 0


def test_a_new_champion_takes_the_place_of_the_old_one() -> None:
    metrics = StreamMetrics()
    for version in ("1m-1", "1m-2"):
        metrics.written(WrittenMicroBatch(1, 3, 0, versions={"1m": version}))
    value = metrics.registry.get_sample_value
    assert value("candlecast_champion", {"interval": "1m", "version": "1m-2"}) == 1
    assert value("candlecast_champion", {"interval": "1m", "version": "1m-1"}) is None


def test_a_taken_port_does_not_stop_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    first = StreamMetrics()
    port = first.serve(free_port())
    assert port is not None
    assert StreamMetrics().serve(port) is None
    assert "event=metrics_off" in caplog.text


def test_progress_that_can_not_be_read_is_left_out() -> None:
    metrics = StreamMetrics()
    metrics.read(query(SimpleNamespace(batchId="?")))
    assert metrics.registry.get_sample_value("candlecast_micro_batches_total") == 0


def test_each_micro_batch_counts_once_however_often_progress_is_read() -> None:
    metrics = StreamMetrics()
    done = [progress(end=10 * n, latest=100, batch_id=n) for n in range(1, 6)]
    for at in (1, 1, 4, 4, 5):
        metrics.read(query(*done[:at]))
    assert metrics.registry.get_sample_value("candlecast_micro_batches_total") == 5
    assert metrics.registry.get_sample_value("candlecast_rows_in_total") == 25


def test_a_query_that_looks_for_messages_in_vain_has_done_no_micro_batch() -> None:
    metrics = StreamMetrics()
    idle = progress(end=50, latest=50, batch_id=8, rows=0)
    idle.durationMs = {"triggerExecution": 3, "latestOffset": 3}
    metrics.read(query(progress(end=20, latest=50), idle))
    metrics.read(query(idle))
    assert metrics.registry.get_sample_value("candlecast_micro_batches_total") == 1
    assert metrics.registry.get_sample_value("candlecast_lag_records") == 0
    metrics.read(query(idle, progress(end=50, latest=50, batch_id=8)))
    assert metrics.registry.get_sample_value("candlecast_micro_batches_total") == 2


def test_a_stream_that_is_down_has_no_metrics() -> None:
    assert read_metrics(f"http://127.0.0.1:{free_port()}/metrics") is None


def test_the_endpoint_speaks_the_prometheus_format() -> None:
    port = StreamMetrics().serve(0)
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
