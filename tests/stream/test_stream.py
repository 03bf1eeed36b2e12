"""What holds of the whole stream: real broker, real Spark, the real job's query."""

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pandas as pd

from conf.sections import Registry as RegistrySettings
from ingest.bar import Bar
from ingest.sources.recorded import read_bars
from stream.state.rings import GAP, WARMING_UP
from tests.predictions import assert_same_predictions, batch_predictions
from tests.streams import RunningStream


def test_the_stream_predicts_what_a_batch_over_the_shipped_bars_predicts(
    stream: RunningStream, data_dir: Path, champion_registry: RegistrySettings
) -> None:
    names = {"BTC-USD": "btcusd", "ETH-USD": "ethusd"}
    files = {s: data_dir / f"{n}_cryptocompare_cccagg_1m_2017-12.csv.gz" for s, n in names.items()}
    bars = list(chain(*(read_bars(file, symbol, "1m") for symbol, file in files.items())))
    stream.publish(bars)
    expected = batch_predictions(bars, champion_registry)
    assert_same_predictions(stream.table("predictions"), expected)
    on_topic = pd.DataFrame(map(json.loads, stream.topic(stream.settings.kafka.predictions_topic)))
    on_topic["as_of"] = pd.to_datetime(on_topic["as_of"], unit="ms", utc=True)
    assert_same_predictions(on_topic, expected)
    assert len(stream.table("bars")) == len(bars)


def test_bars_twice_and_out_of_order_predict_what_the_clean_series_predicts(
    stream: RunningStream, btc: list[Bar], champion_registry: RegistrySettings
) -> None:
    disordered = [btc[i ^ 7] for i in range(len(btc))]  # each group of eight backwards
    for part in (disordered[:70], disordered[60:75] + disordered[75:130], disordered[130:]):
        stream.publish(part + part[:10])
    assert_same_predictions(stream.table("predictions"), batch_predictions(btc, champion_registry))


def test_a_revised_bar_predicts_what_the_clean_series_predicts(
    stream: RunningStream, btc: list[Bar], champion_registry: RegistrySettings
) -> None:
    wrong = replace(btc[100], close=btc[100].low, fetched_at=btc[100].fetched_at - 1)
    stream.publish([*btc[:100], wrong, btc[100], wrong, *btc[101:150]])
    stream.publish(btc[150:])
    assert_same_predictions(stream.table("predictions"), batch_predictions(btc, champion_registry))


def test_a_revision_changes_no_prediction_that_was_made(
    stream: RunningStream, btc: list[Bar]
) -> None:
    stream.publish(btc[:100])
    before = stream.table("predictions")
    stream.publish([replace(btc[90], close=btc[90].low, fetched_at=btc[90].fetched_at + 1)])
    pd.testing.assert_frame_equal(stream.table("predictions"), before)
    assert len(stream.table("bars")) == 101


def test_a_window_with_a_missing_minute_is_not_predicted_but_counted(
    stream: RunningStream, btc: list[Bar], champion_registry: RegistrySettings
) -> None:
    with_gap = btc[:100] + btc[101:]
    stream.publish(with_gap)
    assert_same_predictions(
        stream.table("predictions"), batch_predictions(with_gap, champion_registry)
    )
    # 60 bars have no full window behind them at first, and again after the missing one
    assert stream.table("skipped")["reason"].value_counts().to_dict() == {WARMING_UP: 60, GAP: 60}


def test_malformed_messages_are_rejected_with_a_reason_and_the_stream_goes_on(
    stream: RunningStream, btc: list[Bar], champion_registry: RegistrySettings
) -> None:
    good = json.loads(btc[0].to_json())
    bad = {
        "not valid JSON": b"hello",
        "not a JSON object with a bar's fields": b"[1, 2]",
        "close is missing or not a number": dumps({k: v for k, v in good.items() if k != "close"}),
        "open is missing or not a number": dumps({**good, "open": "12.5"}),
        "low must be a number from 1e-30 to 1e+30": dumps({**good, "low": -1.0}),
        "v must be 1 or 2, found 3": dumps({**good, "v": 3}),
    }
    nan = btc[0].to_json().replace(str(btc[0].close).encode(), b"NaN")
    stream.send(*bad.values(), nan, None)
    stream.publish(btc)
    rejected = [json.loads(m) for m in stream.topic(stream.settings.kafka.rejected_topic)]
    by_offset = {row["offset"]: row for row in rejected}
    assert [by_offset[i]["reason"] for i in range(len(bad))] == list(bad)
    assert by_offset[len(bad) + 1]["reason"] == "the message is empty"
    assert len(rejected) == len(bad) + 2
    assert by_offset[0]["topic"] == stream.settings.kafka.bars_topic
    assert_same_predictions(stream.table("predictions"), batch_predictions(btc, champion_registry))


def dumps(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()
