"""The page in a real browser, on a live demo."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from playwright.sync_api import Browser, Page, expect

from conf.shown import shown_price
from dashboard.scores import shown_board
from store.views import open_duckdb
from tests import tables
from tests.dashboard.conftest import Demo, serving, watched

DEAD_BROKER = {"CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}
REACHES_THE_PAGE_S = 5.0
CHART = """() => document.querySelector('.js-plotly-plot').data
    .map(t => ({name: t.name, last: t.x ? String(t.x[t.x.length - 1]) : '', points: t.x.length}))"""


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()


def figure(page: Page, label: str) -> str:
    metric = page.locator(".st-key-figures").get_by_test_id("stMetric").filter(has_text=label)
    return metric.get_by_test_id("stMetricValue").inner_text()


def test_the_page_shows_a_prediction_newer_than_the_last_bar(page: Page, demo: Demo) -> None:
    with open_duckdb(demo.warehouse) as connection:
        (row,) = connection.execute(
            "SELECT max(close_time), (SELECT max(target_time) FROM predictions "
            "WHERE symbol = 'BTC-USD' AND horizon = 1) FROM bars WHERE symbol = 'BTC-USD'"
        ).fetchall()
    last_bar, target = row
    assert target > last_bar
    expect(page.locator(".st-key-figures")).to_contain_text(f"{target:%Y-%m-%d %H:%M}")
    ahead = next(t for t in page.evaluate(CHART) if t["name"] == "ahead")
    assert ahead["last"] > f"{last_bar:%Y-%m-%dT%H:%M}"


def test_the_newest_prediction_on_the_page_is_the_one_of_sql(page: Page, demo: Demo) -> None:
    with open_duckdb(demo.warehouse) as connection:
        (row,) = connection.execute(
            "SELECT predicted_close, lower, upper FROM predictions "
            "WHERE symbol = 'BTC-USD' AND horizon = 1 ORDER BY as_of DESC LIMIT 1"
        ).fetchall()
    assert figure(page, "Predicted") == shown_price(row[0])
    assert figure(page, "90% interval") == f"{shown_price(row[1])} to {shown_price(row[2])}"


def test_the_scores_on_the_page_equal_those_of_sql(page: Page, demo: Demo) -> None:
    expected = shown_board(tables.read_board(demo.warehouse), "24h", backfilled=True)
    grid = page.locator(".st-key-scoreboard").get_by_test_id("stDataFrame")
    grid.scroll_into_view_if_needed()
    columns = list(expected.columns)
    for place, row in expected.iterrows():
        for name in ("n", "skill", "p", "direction", "covered", "MAE"):
            cell = grid.get_by_test_id(f"glide-cell-{columns.index(name)}-{place}")
            assert float(cell.inner_text()) == pytest.approx(row[name], rel=1e-9), name


def test_choosing_another_symbol_changes_the_chart(page: Page) -> None:
    before = figure(page, "Last close")
    choose(page, "Symbol", "ETH-USD")
    expect(page.locator(".st-key-figures")).not_to_contain_text(before)
    top = "document.querySelector('.js-plotly-plot')._fullLayout.yaxis.range[1]"
    page.wait_for_function(f"() => {top} < 2000")  # a coin of 700 dollars, not of 15,000


def test_choosing_another_horizon_moves_the_target_time(page: Page, demo: Demo) -> None:
    choose(page, "Horizon (bars)", "15")
    expect(page.locator(".st-key-figures")).to_contain_text("15 x 1m after")
    expect(page.locator(".st-key-chart")).to_contain_text("predicted 15 ahead")


def test_times_are_local_where_asked_for(browser: Browser, page_url: str) -> None:
    with watched(browser, timezone_id="Asia/Tokyo") as seen:
        seen.page.goto(page_url)
        shown = seen.page.locator(".st-key-figures")
        expect(shown).to_contain_text("bar until")
        before = figure(seen.page, "Target time")
        choose(seen.page, "Times", "local")
        expect(shown).not_to_contain_text(before)
        assert minutes(figure(seen.page, "Target time")) - minutes(before) == 9 * 60


def minutes(shown: str) -> float:
    return time.mktime(time.strptime(shown, "%Y-%m-%d %H:%M")) / 60


def test_a_new_prediction_is_on_the_page_within_five_seconds(page: Page, demo: Demo) -> None:
    kafka = demo.settings.kafka
    newest = json.loads(demo.stream.topic(kafka.predictions_topic)[-1])
    delays = []
    with KafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for number in range(1, 4):  # the quickest of three: other programs have pauses too
            made_up = {**newest, "symbol": "BTC-USD", "interval": "1m", "horizon": 1}
            made_up["as_of"] += 86_400_000 * number
            made_up["target_time"] = made_up["as_of"] + 60_000
            made_up["predicted_close"] = 12_345.0 + number
            producer.send(kafka.predictions_topic, json.dumps(made_up).encode()).get(10)
            sent = time.monotonic()
            expect(page.locator(".st-key-figures")).to_contain_text(f"12,34{5 + number}")
            delays.append(time.monotonic() - sent)
    assert min(delays) < REACHES_THE_PAGE_S


def test_to_import_the_page_opens_nothing() -> None:
    look = "import threading, dashboard.page; print(*(t.name for t in threading.enumerate()))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["MainThread"]


def test_the_page_says_what_runs(page: Page) -> None:
    health = page.locator(".st-key-health")
    expect(health).to_contain_text("0 records")
    expect(page.get_by_text("Broker: connected. The stream answers")).to_be_visible()
    cells = page.locator("[data-testid^=glide-cell]")
    expect(cells.filter(has_text="warming up")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(browser: Browser, page_url: str, scheme: str) -> None:
    phone = {"width": 390, "height": 844}
    with watched(browser, viewport=phone, color_scheme=scheme) as seen:
        seen.page.goto(page_url)
        seen.page.wait_for_selector(".st-key-chart .js-plotly-plot")
        width = "() => [document.documentElement.scrollWidth, window.innerWidth]"
        content, window = seen.page.evaluate(width)
        assert content <= window
        background = "() => getComputedStyle(document.querySelector('.stApp')).backgroundColor"
        colour = [int(part) for part in re.findall(r"\d+", seen.page.evaluate(background))[:3]]
        assert (sum(colour) < 3 * 128) == (scheme == "dark")


def test_the_page_gives_no_advice(page: Page) -> None:
    expect(page.get_by_text("Is it running?")).to_be_visible()
    words = page.locator("body").inner_text().lower().split()
    assert not {"buy", "sell", "buy!", "sell!"} & set(words)


def test_twenty_pages_and_closed_browsers_leave_the_stream_untouched(
    browser: Browser, page_url: str, demo: Demo
) -> None:
    servers = demo.settings.kafka.bootstrap_servers
    with KafkaAdminClient(bootstrap_servers=servers) as admin:
        topics, groups = set(admin.list_topics()), admin.list_groups()
        context = browser.new_context()
        for _ in range(20):
            context.new_page().goto(page_url, wait_until="commit")
        before = len(demo.stream.table("bars"))
        demo.publish(20)
        context.close()
        assert len(demo.stream.table("bars")) == before + 20
        demo.publish(20)
        assert len(demo.stream.table("bars")) == before + 40
        assert demo.stream.queries[0].isActive
        assert set(admin.list_topics()) == topics
        assert admin.list_groups() == groups


def test_the_page_shows_the_news_under_the_price_and_the_articles_behind_them(
    page: Page, demo: Demo
) -> None:
    names = [trace["name"] for trace in page.evaluate(CHART)]
    assert "news" not in names
    last = pd.Timestamp(demo.bars[demo.published - 1].open_time, unit="ms")
    row = {"symbol": "BTC-USD", "interval": "1m", "open_time": last, "count": 2.0, "mean": 0.25}
    row |= {"weighted_mean": 0.25, "positive": 0.5, "negative": 0.0}
    tables.write(demo.warehouse, "sentiment", pd.DataFrame([row]))
    article = {"provider": "wire", "id": "1", "published_at": last - pd.Timedelta("15min")}
    article |= {"available_at": last, "title": "Bitcoin soars", "source": "The Wire", "url": ""}
    article |= {"coins": "BTC", "score": 0.5, "weight": 1.0}
    other = {**article, "id": "2", "title": "Ether falls", "coins": "ETH"}
    tables.write(demo.warehouse, "articles", pd.DataFrame([article, other]))
    page.wait_for_function(f"() => ({CHART})().some(t => t.name === 'news' && t.points === 1)")
    page.get_by_text("The news behind it: the newest 1").click()
    cells = page.locator(".st-key-news [data-testid^=glide-cell]")
    for text in ("Bitcoin soars", "The Wire", "+0.50", f"{last:%Y-%m-%d}"):
        expect(cells.filter(has_text=text).first).to_be_attached()


def test_each_empty_state_says_what_to_do_and_goes_by_itself(
    browser: Browser, demo: Demo, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse"
    empty_world = {
        "CANDLECAST_WAREHOUSE__DIR": str(warehouse),
        "CANDLECAST_REGISTRY__TRACKING_URI": f"sqlite:///{tmp_path}/none.db",
        **DEAD_BROKER,
    }
    env = demo.env(**empty_world)
    with (
        serving("dashboard", env, tmp_path / "page.log", "/_stcore/health") as url,
        watched(browser) as seen,
    ):
        page = seen.page
        page.goto(url)
        expect(page.get_by_text("No bars yet.")).to_be_visible()
        expect(page.get_by_text("No broker answers at 127.0.0.1:9")).to_be_visible()
        close = tables.random_walk(30, seed=1)
        tables.write(warehouse, "bars", tables.bars(close))
        expect(page.get_by_text("No model is in service for 1m bars")).to_be_visible()
        expect(page.get_by_text("No model yet.")).to_be_visible()
        expect(page.get_by_text("No scores yet: run")).to_be_visible()
        rows = tables.predictions(close, tables.guesses(close, seed=1))
        tables.write(warehouse, "predictions", rows[:2])
        expect(page.locator(".st-key-figures")).to_contain_text("2026-01-01 00:03")
        choose(page, "Horizon (bars)", "15")
        expect(page.locator(".st-key-figures")).not_to_contain_text("Target time")
