"""The page in one file: what it plays, and that the shipped one is of today's page."""

import json
import math
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from conf.errors import MissingPrerequisite
from jobs.demo.recording import TARGET, page, record
from model.intervals import UPPER
from tests import tables
from tests.dashboard.conftest import watched

SHIPPED = Path(__file__).parents[2] / TARGET
MOST_BYTES = 1_000_000


def test_what_was_predicted_stands_at_the_bar_that_it_was_made_from(tmp_path: Path) -> None:
    close = tables.random_walk(90, seed=1)
    tables.write(tmp_path, "bars", tables.bars(close).drop(index=70))
    made = tables.predictions(close, tables.guesses(close, seed=2))
    for width, name in enumerate(UPPER, start=1):
        made[name] = made["predicted_close"] * math.exp(width / 1e4)
    tables.write(tmp_path, "predictions", made.iloc[65:80])
    played = record(tmp_path)
    (series,) = played["series"]
    at = (int(made["as_of"].iloc[66].timestamp() * 1000) - 60_000 - series["first"]) // 60_000
    predicted = made.iloc[66]
    assert series["close"][at] == pytest.approx(close[66], rel=1e-6)
    assert series["made"][at][0] == pytest.approx([predicted["predicted_close"], 1, 2, 3], rel=1e-6)
    missing = at + 4
    assert series["close"][missing] == series["close"][missing - 1]


def test_without_predictions_there_is_nothing_to_play(tmp_path: Path) -> None:
    tables.write(tmp_path, "bars", tables.bars(tables.random_walk(5, seed=1)))
    with pytest.raises(MissingPrerequisite, match="make demo"):
        record(tmp_path)


def test_the_shipped_recording_is_of_the_page_as_it_is() -> None:
    shipped = SHIPPED.read_text()
    (played,) = re.findall(r'id="recorded">(.*?)</script>', shipped, re.DOTALL)
    assert page(json.loads(played)) == shipped, "run `make demo ARGS=--exit`, then `make recording`"
    assert SHIPPED.stat().st_size <= MOST_BYTES


def test_the_recording_plays_from_a_disk_without_a_network(browser: Browser) -> None:
    with watched(browser, offline=True) as seen:
        seen.page.goto(SHIPPED.as_uri())
        card = seen.page.locator(".card", has_text="BTC-USD")
        before = card.locator(".price").inner_text()
        expect(card.locator(".price")).not_to_have_text(before)
        expect(card.locator(".next")).to_contain_text(re.compile(r"in 1\sh"))
        card.click()
        expect(seen.page.locator(".chart[data-candles]")).to_be_visible()
        expect(seen.page.get_by_text("Was it right?")).to_be_visible()
