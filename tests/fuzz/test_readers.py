"""Whatever lies on the page's topics and in the warehouse, the good series are answered for."""

import pytest

from dashboard.records import prediction, rejection
from tests.fuzz.records import GOOD_EVERY, GOOD_SYMBOL, REASON, predictions, rejections

NOW_MS = 1_764_000_000_000
RECORDS = 5_000


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hostile_record_is_refused_for_one_of_few_reasons(seed: int) -> None:
    sent = list(predictions(RECORDS, seed, NOW_MS))  # any other error than a refusal ends it here
    good = [prediction(value, NOW_MS) for value in sent[GOOD_EVERY - 1 :: GOOD_EVERY]]
    assert {row["symbol"] for row in good} == {GOOD_SYMBOL}
    assert len({row["as_of"] for row in good}) == len(good) == RECORDS // GOOD_EVERY
    refused = list(rejections(RECORDS, seed))
    assert {rejection(value) for value in refused[GOOD_EVERY - 1 :: GOOD_EVERY]} == {REASON}
