"""Whatever a topic holds, each message becomes a row or is rejected with a reason."""

import time

import pytest

from conf.errors import MalformedBar
from ingest.bar import Bar
from tests.fuzz.account import account, rejections, rows_of
from tests.fuzz.messages import messages
from tests.fuzz.run import placed, send
from tests.streams import RunningStream

MESSAGES = 3_000


@pytest.mark.parametrize("seed", [1])
def test_every_message_becomes_a_row_or_is_rejected_with_a_reason(
    stream: RunningStream, seed: int
) -> None:
    kafka = stream.settings.kafka
    send(kafka, messages(MESSAGES, seed))
    stream.process()
    found = account(
        placed(messages(MESSAGES, seed)),
        rejections(kafka.bootstrap_servers, kafka.rejected_topic),
        rows_of(stream.settings.warehouse.dir),
        time.time_ns() // 1_000_000,
    )
    assert found.messages == MESSAGES
    assert found.good, found
    assert found.rows > 0 < found.rejected


def test_ingest_takes_each_message_for_a_bar_or_for_none() -> None:
    bars = 0
    for message in messages(MESSAGES, seed=2):
        try:
            Bar.from_json(message or b"").rejection_reason(now_ms=0)
            bars += 1
        except MalformedBar:
            continue
    assert 0 < bars < MESSAGES


def test_the_same_seed_makes_the_same_messages() -> None:
    assert list(messages(500, seed=3)) == list(messages(500, seed=3))
