"""`make bench-page`: how soon the page is there, and how soon a prediction is on it.

A real broker, the page's own server and a real browser, over a warehouse that `python -m bench.soak
--folder FOLDER` has made. It writes `reports/page.json`.
"""

import json
import statistics
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import psutil
import typer
from kafka import KafkaProducer
from playwright.sync_api import Browser, Page, ViewportSize
from rich.console import Console
from rich.table import Table

from bench.report import machine, write
from bench.soak import answers, environment
from conf.ports import free_port
from conf.sections import Kafka
from conf.shown import shown_price
from ingest.topics import ensure_topics
from jobs.machine.broker import EmbeddedBroker
from jobs.machine.processes import PROJECT_DIR, candlecast, wait_until
from jobs.terminal.program import run_program
from tests.dashboard.browser import open_browser

REPORT: Final = PROJECT_DIR / "reports/page.json"
TOPIC: Final = "predictions"
HORIZONS: Final = (1, 5, 15, 30, 60)
MESSAGES: Final = 60
EVERY_S: Final = 0.25
MANY_SERIES: Final = 300
# What a user may expect.
LIMITS: Final = {
    "paint_s": 0.5,
    "chart_s": 1.0,
    "range_s": 0.3,
    "to_pixel_p95_s": 0.25,
    "longest_task_s": 0.1,
    "cpu_share": 0.3,
}
WATCH: Final = """
window.seen = {}; window.longest = 0;
new PerformanceObserver((list) => list.getEntries().forEach((one) => {
  window.longest = Math.max(window.longest, one.duration);
})).observe({type: "longtask", buffered: true});
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  const found = document.querySelector(".card .price, .head .price");
  if (found && !(found.textContent in window.seen)) window.seen[found.textContent] = Date.now();
}).observe(document.body, {subtree: true, childList: true, characterData: true}));
"""
PAINT: Final = """() => performance.getEntriesByType('paint')
  .find((one) => one.name === 'first-contentful-paint').startTime / 1000"""


def watched_page(browser: Browser) -> Page:
    """A new page that notes when prices changed, and its longest task."""
    size: ViewportSize = {"width": 1280, "height": 900}
    # The page allows no evaluation, by which a wait for its state asks in each frame.
    page = browser.new_context(viewport=size, bypass_csp=True).new_page()
    page.add_init_script(WATCH)
    return page


def first_look(browser: Browser, url: str, symbol: str) -> dict[str, float]:
    """A visitor's first page, a chart of thirty days, and another range, in seconds."""
    page = watched_page(browser)
    page.goto(url)
    page.wait_for_selector(".card")
    paint_s = float(page.evaluate(PAINT))
    begun = time.monotonic()
    page.goto(f"{url}/#s={symbol}&r=720")
    page.wait_for_selector(".chart[data-candles]")
    chart_s = time.monotonic() - begun
    before = page.locator(".chart").get_attribute("data-candles")
    begun = time.monotonic()
    page.get_by_label("Range").select_option("24")
    page.wait_for_function(f"document.querySelector('.chart').dataset.candles !== '{before}'")
    range_s = time.monotonic() - begun
    page.context.close()
    return {"paint_s": paint_s, "chart_s": chart_s, "range_s": range_s}


def prediction(symbol: str, horizon: int, price: float, as_of: int) -> bytes:
    """A message of the topic, made at this moment."""
    row = {"symbol": symbol, "interval": "1m", "as_of": as_of, "horizon": horizon}
    row |= {"target_time": as_of + horizon * 60_000, "last_close": price, "coverage": 0.9}
    row |= {"predicted_close": price, "lower": price * 0.99, "upper": price * 1.01}
    row |= {"model_version": "1m-1", "query_id": "q", "batch_id": 1}
    row |= {"predicted_at": int(time.time() * 1000)}
    return json.dumps(row).encode()


def to_pixel(browser: Browser, url: str, symbol: str, producer: KafkaProducer) -> list[float]:
    """Seconds from the acknowledgement of a prediction until its price is in the document."""
    page, sent = watched_page(browser), {}
    page.goto(f"{url}/#q={symbol}")
    page.wait_for_selector(".card")
    page.wait_for_timeout(1000)  # until the events flow
    newest = int(time.time() * 1000)
    for number in range(MESSAGES):
        price, as_of = 1000.0 + number, newest - (MESSAGES - number) * 60_000
        producer.send(TOPIC, prediction(symbol, 15, price, as_of)).get(10)
        sent[shown_price(price)] = time.time()
        page.wait_for_timeout(EVERY_S * 1000)
    seen: dict[str, float] = page.evaluate("window.seen")
    page.context.close()
    return [max(0.0, seen[text] / 1000 - at) for text, at in sent.items() if text in seen]


def many_series(browser: Browser, url: str, producer: KafkaProducer) -> float:
    """The longest task of a page of many series, while each is predicted, in seconds."""
    page, now = watched_page(browser), int(time.time() * 1000)
    for minute in range(3):
        for number in range(MANY_SERIES):
            for horizon in HORIZONS:
                message = prediction(f"X{number:03d}-USD", horizon, 10 + number, now + minute)
                producer.send(TOPIC, message)
        producer.flush()
        if minute == 0:
            page.goto(url)
            page.wait_for_function(f"document.querySelectorAll('.card').length >= {MANY_SERIES}")
            page.evaluate("window.longest = 0")
        page.wait_for_timeout(3000)
    longest = float(page.evaluate("window.longest")) / 1000
    page.context.close()
    return longest


def many_pages(
    browser: Browser, url: str, server: psutil.Process, seconds: float
) -> dict[str, Any]:
    """The server's share of a core and its memory while fifty pages are open."""
    contexts = [browser.new_context() for _ in range(50)]
    for context in contexts:
        context.new_page().goto(url, wait_until="commit")
    contexts[-1].pages[0].wait_for_timeout(10_000)
    before, mb = server.cpu_times(), server.memory_info().rss / 2**20
    contexts[-1].pages[0].wait_for_timeout(seconds * 1000)
    after, later_mb = server.cpu_times(), server.memory_info().rss / 2**20
    for context in contexts:
        context.close()
    used = after.user + after.system - before.user - before.system
    return {"cpu_share": used / seconds, "pages_mb": mb, "pages_later_mb": later_mb}


def measure(folder: Path, seconds: float) -> dict[str, Any]:
    """All figures of the page over the warehouse in `folder`."""
    with ExitStack() as running:
        place = Path(running.enter_context(tempfile.TemporaryDirectory()))
        broker = running.enter_context(EmbeddedBroker(place / "broker"))
        ensure_topics(Kafka(bootstrap_servers=broker.bootstrap_servers), {TOPIC: 1})
        env = environment(folder, [])
        env["CANDLECAST_KAFKA__BOOTSTRAP_SERVERS"] = broker.bootstrap_servers
        port = free_port()
        log = place / "page.log"
        program = candlecast("dashboard", ["--port", str(port)], env, log)
        running.enter_context(program)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/overview"), 120, program.check)
        with urllib.request.urlopen(f"{url}/overview", timeout=60) as answer:
            symbol = json.load(answer)[0]["symbol"]
        browser = running.enter_context(open_browser())
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
        running.callback(producer.close)
        server = psutil.Process(program.pid)
        found: dict[str, Any] = first_look(browser, url, symbol)
        delays = to_pixel(browser, url, symbol, producer)
        found |= {"seen": len(delays), "to_pixel_p50_s": statistics.median(delays)}
        found["to_pixel_p95_s"] = statistics.quantiles(delays, n=20)[-1]
        found["longest_task_s"] = many_series(browser, url, producer)
        return found | many_pages(browser, url, server, seconds)


def main(
    folder: Annotated[Path, typer.Option(help="of `python -m bench.soak --folder`")],
    seconds: Annotated[float, typer.Option(help="that fifty pages stay open")] = 60.0,
) -> None:
    """Measure, print and write."""
    found = {name: round(value, 3) for name, value in measure(folder.resolve(), seconds).items()}
    write(REPORT, {"figures": found, "limits": LIMITS, "about": machine()})
    table = Table("figure", "measured", "limit", title="page")
    for name, value in found.items():
        table.add_row(name, f"{value:g}", f"{LIMITS.get(name, '-')}")
    Console().print(table)


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
