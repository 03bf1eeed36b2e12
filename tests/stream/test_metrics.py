"""The stream's metrics: what Prometheus reads is what the stream did."""

from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from pyspark.sql.streaming.listener import StreamingQueryProgress

from ingest.bar import Bar
from jobs.machine.broker import free_port
from jobs.machine.processes import wait_until
from store.prometheus import read_metrics
from stream.metrics import StreamMetrics, WrittenMicroBatch
from stream.query import start_query
from tests.streams import RunningStream


def progress(end: int, latest: int, rows: int = 5) -> SimpleNamespace:
    """What Spark says of a micro-batch, as far as it is read."""
    source = SimpleNamespace(
        endOffset=f'{{"bars":{{"0":{end}}}}}', latestOffset=f'{{"bars":{{"0":{latest}}}}}'
    )
    state = SimpleNamespace(numRowsTotal=4, memoryUsedBytes=1024)
    return SimpleNamespace(
        numInputRows=rows,
        batchId=7,
        durationMs={"triggerExecution": 1500, "addBatch": 1200},
        sources=[source],
        stateOperators=[state],
    )


def test_prometheus_reads_what_the_stream_did(
    stream: RunningStream, btc: list[Bar], monkeypatch: pytest.MonkeyPatch
) -> None:
    # PySpark's way to progress, which takes a tenth of a second: nothing here may go it.
    monkeypatch.delattr(StreamingQueryProgress, "fromJObject")
    metrics = StreamMetrics()
    port = metrics.serve(0)
    stream.spark.streams.addListener(metrics)
    stream.queries.append(start_query(stream.spark, stream.settings, metrics))
    stream.publish(btc[:100])
    stream.send(b"not JSON")
    url = f"http://127.0.0.1:{port}/metrics"
    rows_in = ("candlecast_rows_in_total", ())
    assert wait_until(lambda: (read_metrics(url) or {}).get(rows_in, 0) >= 101, 30)
    stream.spark.streams.removeListener(metrics)
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


def test_lag_is_what_is_unread_and_grows_older_until_it_is_read() -> None:
    now = [100.0]
    metrics = StreamMetrics(clock=lambda: now[0])
    metrics.progressed(progress(end=10, latest=10))
    now[0] = 160.0
    metrics.progressed(progress(end=20, latest=50))
    assert metrics.registry.get_sample_value("candlecast_lag_records") == 30
    assert metrics.registry.get_sample_value("candlecast_lag_seconds") == 60
    metrics.progressed(progress(end=50, latest=50))
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
    assert "metrics=off" in caplog.text


def test_progress_that_can_not_be_read_is_left_out() -> None:
    metrics = StreamMetrics()
    metrics.onQueryProgress(SimpleNamespace(progress=SimpleNamespace(numInputRows="?")))
    assert metrics.registry.get_sample_value("candlecast_micro_batches_total") == 0


def test_a_stream_that_is_down_has_no_metrics() -> None:
    assert read_metrics(f"http://127.0.0.1:{free_port()}/metrics") is None


def test_the_endpoint_speaks_the_prometheus_format() -> None:
    port = StreamMetrics().serve(0)
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
