"""The page in a real browser, on a live demo."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from kafka import KafkaAdminClient, KafkaProducer
from playwright.sync_api import Browser, Page, expect

from conf.shown import shown_price
from store.views import open_duckdb
from tests import tables
from tests.dashboard.conftest import Demo, serving, watched

DEAD_BROKER = {"CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}
BTC, ETH = "BTC-USD", "ETH-USD"
VIEWS = {"": ".card", f"#s={BTC}": ".chart[data-candles]", "#v=models": ".model"}
POISON = "<img src=x onerror=alert(1)>\u202e"
FOREIGN = "שלום" * 4 + "-USD"


def open_series(page: Page, symbol: str = BTC) -> None:
    page.locator(".card", has_text=symbol).click()
    expect(page.locator(".chart[data-candles]")).to_be_visible()


def newest(demo: Demo, horizon: int = 1) -> dict[str, Any]:
    with open_duckdb(demo.warehouse) as connection:
        rows = connection.execute(
            "SELECT * FROM predictions WHERE symbol = $1 AND horizon = $2 "
            "ORDER BY as_of DESC LIMIT 1",
            [BTC, horizon],
        ).df()
    return {str(name): value for name, value in rows.iloc[0].to_dict().items()}


def publish(demo: Demo, **changed: Any) -> None:
    """A prediction on the topic that the stream never made: BTC's newest, changed."""
    row = {**newest(demo, 15), "batch_id": 0}
    made = {
        k: int(v.timestamp() * 1000) if isinstance(v, pd.Timestamp) else v for k, v in row.items()
    }
    made = {k: v for k, v in made.items() if k != "backfilled"} | changed
    made["horizon"] = int(made["horizon"])
    made["target_time"] = made["as_of"] + made["horizon"] * 60_000
    kafka = demo.settings.kafka
    with KafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        producer.send(kafka.predictions_topic, json.dumps(made).encode()).get(10)


def now_ms(before: timedelta = timedelta()) -> int:
    return int((datetime.now(UTC) - before).timestamp() * 1000)


def test_a_card_says_what_comes_next_in_one_sentence(page: Page, demo: Demo) -> None:
    row = newest(demo, horizon=15)
    half = (row["upper"] - row["lower"]) / 2 / row["last_close"] * 100
    card = page.locator(".card", has_text=BTC)
    expect(card.locator(".next")).to_contain_text(f"±{float(f'{half:.2g}')}")
    expect(card.locator(".next")).to_contain_text("in 15")
    expect(card.locator(".price")).to_have_text(shown_price(row["last_close"]))


def test_a_series_shows_the_newest_predictions_of_sql_and_a_cone_beyond_the_last_bar(
    page: Page, demo: Demo
) -> None:
    open_series(page)
    for horizon in (1, 5, 15):
        row = newest(demo, horizon)
        low, high = shown_price(row["lower"]), shown_price(row["upper"])
        text = f"{row['target_time']:%H:%M}: {low} to {high}"
        expect(page.locator(".ahead")).to_contain_text(text)
    last, ahead = (page.locator(".chart").get_attribute(f"data-{n}") for n in ("last", "ahead"))
    assert int(ahead or 0) - int(last or 0) == 15 * 60


def test_a_link_holds_the_whole_view(page: Page, browser: Browser) -> None:
    open_series(page, ETH)
    page.get_by_label("Horizon").select_option("15")
    page.get_by_label("Range").select_option("1")
    page.get_by_role("button", name=re.compile("Times")).click()
    expect(page.locator(".chart")).to_have_attribute("data-candles", "61")
    with watched(browser) as other:
        other.page.goto(page.url)
        expect(other.page.get_by_role("heading", level=1)).to_have_text(ETH)
        expect(other.page.get_by_label("Horizon")).to_have_value("15")
        expect(other.page.locator(".chart")).to_have_attribute("data-candles", "61")
        expect(other.page.locator("#zone")).to_have_text("Local time")


def test_times_are_local_where_asked_for(browser: Browser, page_url: str, demo: Demo) -> None:
    target = newest(demo)["target_time"]
    with watched(browser, timezone_id="Asia/Tokyo") as seen:
        seen.page.goto(f"{page_url}/#s={BTC}")
        expect(seen.page.locator(".ahead")).to_contain_text(f"until {target:%H:%M}")
        seen.page.locator("#zone").click()
        there = target + timedelta(hours=9)
        expect(seen.page.locator(".ahead")).to_contain_text(f"until {there:%H:%M}")


def test_search_and_order_choose_among_the_cards(page: Page) -> None:
    cards = page.locator(".card")
    count = cards.count()
    page.get_by_role("searchbox").fill("eth")
    expect(cards).to_have_count(1)
    expect(page.get_by_text(f"1 of {count} series")).to_be_visible()
    page.get_by_role("searchbox").fill("")
    page.get_by_label("Sort by").select_option("lively")
    expect(cards).to_have_count(count)


def test_the_record_of_the_page_is_that_of_sql(page: Page, demo: Demo) -> None:
    with open_duckdb(demo.warehouse) as connection:
        ((count, inside),) = connection.execute(
            "SELECT count(*), avg(covered::INT) FROM scored WHERE symbol = ? AND horizon = 1", [BTC]
        ).fetchall()
    open_series(page)
    record = page.locator("section", has_text="Was it right?")
    expect(record).to_contain_text(f"{count:,} backfilled predictions")
    expect(record).to_contain_text(f"{inside * 100:.1f}")
    page.get_by_text("The table behind it").click()
    board = tables.read_board(demo.warehouse)
    rows = board[(board["symbol"] == BTC) & (board["span"] == "7d")]
    expect(record.locator("tbody tr")).to_have_count(len(rows))


def test_a_new_prediction_changes_the_page_by_itself(page: Page, demo: Demo) -> None:
    later = int(newest(demo)["as_of"].timestamp() * 1000) + 60_000
    publish(demo, as_of=later, last_close=12_346.5, predicted_at=now_ms())
    expect(page.locator(".card", has_text=BTC).locator(".price")).to_have_text(
        shown_price(12_346.5)
    )


def test_a_prediction_older_than_a_bar_is_never_shown_as_current(page: Page, demo: Demo) -> None:
    as_of = now_ms(timedelta(minutes=3))
    publish(demo, symbol=ETH, as_of=as_of, predicted_at=as_of)
    card = page.locator(".card", has_text=ETH)
    expect(card).to_contain_text("last predicted 3")
    expect(card).to_have_class("card stale")
    publish(demo, symbol=ETH, as_of=as_of + 60_000, predicted_at=now_ms())
    expect(card).to_have_class("card ")
    expect(card).not_to_contain_text("last predicted")


def test_names_from_outside_are_text(page: Page, demo: Demo) -> None:
    for symbol in (POISON, FOREIGN):
        publish(demo, symbol=symbol, as_of=now_ms(), predicted_at=now_ms())
    page.reload()
    expect(page.locator(".card bdi", has_text=FOREIGN)).to_have_text(FOREIGN)
    expect(page.locator("main img")).to_have_count(0)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_to_import_the_page_opens_nothing() -> None:
    look = "import threading, dashboard.api; print(*(t.name for t in threading.enumerate()))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["MainThread"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_use_the_page_on_a_phone(browser: Browser, page_url: str, scheme: str) -> None:
    phone = {"width": 360, "height": 740}
    with watched(browser, viewport=phone, color_scheme=scheme) as seen:
        for view, whole in (
            ("", ".card"),
            (f"#s={BTC}", ".chart[data-candles]"),
            ("#v=models", ".model"),
        ):
            seen.page.goto(f"{page_url}/{view}")
            seen.page.wait_for_selector(whole)
            assert seen.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            found = Axe().run(seen.page).response["violations"]
            assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []
        background = "() => getComputedStyle(document.body).backgroundColor"
        colour = [int(part) for part in re.findall(r"\d+", seen.page.evaluate(background))[:3]]
        assert (sum(colour) < 3 * 128) == (scheme == "dark")


def test_the_page_works_by_keyboard(page: Page) -> None:
    page.get_by_role("searchbox").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator(".card").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".chart[data-candles]")).to_be_visible()


def test_nothing_but_the_pages_own_files_may_run(page: Page) -> None:
    answer = page.request.get(page.url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in answer.text()
    assert "http://" not in answer.text()


def test_the_page_gives_no_advice(page: Page) -> None:
    words = page.locator("body").inner_text().lower().split()
    assert not {"buy", "sell", "buy!", "sell!"} & set(words)
    assert "no trading advice" in page.locator("footer").inner_text().lower()


def test_an_image_of_the_chart_can_be_saved(page: Page) -> None:
    open_series(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save image").click()
    assert saved.value.suggested_filename == "candlecast-BTC-USD-1m.png"


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
        assert demo.stream.queries[0].isActive
        assert set(admin.list_topics()) == topics
        assert admin.list_groups() == groups


def test_the_page_shows_the_news_under_the_price_and_the_articles_behind_them(
    page: Page, demo: Demo
) -> None:
    last = pd.Timestamp(demo.bars[demo.published - 1].open_time, unit="ms")
    row = {"symbol": BTC, "interval": "1m", "open_time": last, "count": 2.0, "mean": 0.25}
    row |= {"weighted_mean": 0.25, "positive": 0.5, "negative": 0.0}
    tables.write(demo.warehouse, "sentiment", pd.DataFrame([row]))
    article = {"provider": "wire", "id": "1", "published_at": last - pd.Timedelta("15min")}
    article |= {"available_at": last, "title": "Bitcoin <b>soars", "source": "The Wire", "url": ""}
    article |= {"coins": "BTC", "score": 0.5, "weight": 1.0}
    other = {**article, "id": "2", "title": "Ether falls", "coins": "ETH"}
    tables.write(demo.warehouse, "articles", pd.DataFrame([article, other]))
    open_series(page)
    expect(page.locator(".chart")).to_have_attribute("data-news", "1")
    page.get_by_text("The news behind it").click()
    expect(page.locator(".news li")).to_have_count(1)
    for text in ("Bitcoin <b>soars", "The Wire", "0.50", f"{last:%Y-%m-%d}"):
        expect(page.locator(".news li")).to_contain_text(text)


def test_each_empty_state_says_what_to_do_and_goes_by_itself(
    browser: Browser, demo: Demo, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse"
    env = demo.env(
        CANDLECAST_WAREHOUSE__DIR=str(warehouse),
        CANDLECAST_REGISTRY__TRACKING_URI=f"sqlite:///{tmp_path}/none.db",
        **DEAD_BROKER,
    )
    with (
        serving("dashboard", env, tmp_path / "page.log", "/overview") as url,
        watched(browser) as seen,
    ):
        page = seen.page
        page.goto(url)
        expect(page.locator("#status")).to_contain_text("No broker answers at 127.0.0.1:9")
        page.locator("#status summary").click()
        expect(page.locator("#status")).to_contain_text("There are no bars yet")
        close = tables.random_walk(30, seed=1)
        tables.write(warehouse, "bars", tables.bars(close))
        rows = tables.predictions(close, tables.guesses(close, seed=1))
        tables.write(warehouse, "predictions", rows[:2])
        page.goto(f"{url}/#v=models")
        expect(page.get_by_text("No model yet.")).to_be_visible()
        page.goto(f"{url}/#s={BTC}")
        expect(page.locator(".ahead")).to_contain_text("until 00:03")
        expect(page.get_by_text("Too early to tell")).to_be_visible()


def test_a_cone_that_comes_after_the_candles_is_in_the_picture(
    browser: Browser, demo: Demo, tmp_path: Path
) -> None:
    symbol, close = "LATE-USD", tables.random_walk(30, seed=1)
    tables.write(tmp_path / "warehouse", "bars", tables.bars(close, symbol=symbol))
    env = demo.env(CANDLECAST_WAREHOUSE__DIR=str(tmp_path / "warehouse"))
    with (
        serving("dashboard", env, tmp_path / "page.log", "/overview") as url,
        watched(browser) as seen,
    ):
        seen.page.goto(f"{url}/#s={symbol}")
        chart = seen.page.locator(".chart")
        expect(chart).to_have_attribute("data-candles", "30")
        last = int(chart.get_attribute("data-last") or 0)
        first, ahead = last - 29 * 60, last + 60
        expect(chart).to_have_attribute("data-shown", f"{first} {last}")
        # At the horizon that is shown without a prediction, or all would be loaded anew.
        as_of = (last + 60) * 1000
        publish(demo, symbol=symbol, horizon=1, as_of=as_of, predicted_at=now_ms())
        expect(chart).to_have_attribute("data-ahead", str(ahead))
        expect(chart).to_have_attribute("data-shown", f"{first} {ahead}")


def test_a_server_that_goes_and_comes_back_is_shown_without_a_reload(
    browser: Browser, demo: Demo, tmp_path: Path
) -> None:
    with watched(browser, loses_server=True) as seen:
        with serving("dashboard", demo.env(), tmp_path / "a.log", "/overview") as url:
            seen.page.goto(url)
            expect(seen.page.locator(".card").first).to_be_visible()
        expect(seen.page.locator("#status")).to_contain_text("server does not answer")
        port = int(url.rsplit(":", 1)[1])
        with serving("dashboard", demo.env(), tmp_path / "b.log", "/overview", port):
            expect(seen.page.locator("#status")).not_to_contain_text("server does not answer")
