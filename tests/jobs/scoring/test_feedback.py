"""What scoring feeds back: interval factors, drift, alerts; and what it writes for others."""

import json
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from apprise import Apprise
from pydantic import SecretStr
from scipy.signal import lfilter

from conf.sections import Alerts
from jobs.export import export_rows
from jobs.scoring import drift
from jobs.scoring.alerts import Alert, Metrics, badly_scored, changes, raise_alerts
from jobs.scoring.drift import drifted, update_drift
from jobs.scoring.intervals import adapt_intervals
from jobs.scoring.receivers import send, tidied
from jobs.scoring.scoreboard import update_scores
from jobs.scoring.stability import Reference
from model.registry import Registry
from tests import tables
from tests.artifacts import save_random_artifact
from tests.tables import bars, guesses, predictions, random_walk, write


@pytest.fixture(scope="module")
def registry_files(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a registry in which 1m-1 is champion."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(mlflow_database, folder / "mlflow.db")
    save_random_artifact(folder / "artifact", seed=1)
    made = Registry(f"sqlite:///{folder}/mlflow.db", folder / "models")
    made.promote(made.register(folder / "artifact", "1m"))
    return folder


@pytest.fixture
def registry(registry_files: Path, tmp_path: Path) -> Registry:
    """A copy of the registry for one test."""
    shutil.copytree(registry_files, tmp_path / "registry")
    uri = f"sqlite:///{tmp_path}/registry/mlflow.db"
    return Registry(uri, tmp_path / "registry" / "models")


def write_live(folder: Path, count: int, half_width: float, late: timedelta | None = None) -> None:
    close = random_walk(count, seed=1)
    write(folder, "bars", bars(close))
    after = late or timedelta(seconds=2)
    rows = predictions(close, close, half_width=half_width, predicted_after=after)
    write(folder, "predictions", rows)


def test_intervals_that_miss_too_often_widen(tmp_path: Path, registry: Registry) -> None:
    write_live(tmp_path, 200, half_width=0.0001)
    assert adapt_intervals(tmp_path, registry, rate=0.02) == {"1m-1": 199}
    factors = registry.interval_factors("1m-1")
    assert factors is not None
    assert factors[2] > 2
    assert factors[:2] == (1.0, 1.0)
    assert factors[3:] == (1.0,) * 6


def test_intervals_that_always_hold_narrow(tmp_path: Path, registry: Registry) -> None:
    write_live(tmp_path, 200, half_width=0.1)
    adapt_intervals(tmp_path, registry, rate=0.02)
    factors = registry.interval_factors("1m-1")
    assert factors is not None
    assert factors[2] == pytest.approx(np.exp(-0.02 * 0.1 * 199))


def test_an_outcome_moves_the_intervals_once(tmp_path: Path, registry: Registry) -> None:
    write_live(tmp_path, 50, half_width=0.0001)
    adapt_intervals(tmp_path, registry, rate=0.02)
    before = registry.interval_factors("1m-1")
    assert adapt_intervals(tmp_path, registry, rate=0.02) == {"1m-1": 0}
    assert registry.interval_factors("1m-1") == before


def test_backfilled_outcomes_move_nothing(tmp_path: Path, registry: Registry) -> None:
    write_live(tmp_path, 50, half_width=0.0001, late=timedelta(days=1))
    assert adapt_intervals(tmp_path, registry, rate=0.02) == {"1m-1": 0}


def test_a_market_that_moves_otherwise_has_drifted(tmp_path: Path) -> None:
    made = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "models")
    trained_until = int((tables.START + timedelta(minutes=1500)).timestamp() * 1000)
    save_random_artifact(tmp_path / "artifact", seed=1)
    manifest = json.loads((tmp_path / "artifact" / "manifest.json").read_text())
    manifest |= {"trained_until": trained_until, "validated_from": trained_until - 60_000}
    (tmp_path / "artifact" / "manifest.json").write_text(json.dumps(manifest))
    made.promote(made.register(tmp_path / "artifact", "1m"))
    rows = bars(random_walk(2500, seed=1))
    rows.loc[1500:, "base_volume"] = np.geomspace(1, 1e6, 1000)
    rows.loc[1500:, "high"] *= 1.01
    write(tmp_path, "bars", rows)
    verdicts = {d.name: d.verdict for d in update_drift(tmp_path, made, 0.1, 0.25)}
    assert verdicts["range"] == "drifted"
    assert verdicts["log_return"] == "stable"
    assert verdicts["horizon 1"] == "too few values"
    assert any("feature range of 1m-1: PSI" in reason for reason in drifted(tmp_path, "1m"))


class Receiver(BaseHTTPRequestHandler):
    """A webhook that keeps what it is sent."""

    messages: list[Any] = []  # noqa: RUF012 - http.server makes the instances
    paths: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.paths.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[SecretStr]:
    Receiver.messages.clear()
    Receiver.paths.clear()
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield SecretStr(f"http://127.0.0.1:{server.server_port}/secret-token")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("slack", {"text": "Candlecast: {}"}),
        ("discord", {"content": "Candlecast: {}"}),
        ("telegram", {"chat_id": "42", "text": "Candlecast: {}"}),
    ],
)
def test_a_silent_stream_is_reported_once_in_the_receivers_form(
    tmp_path: Path, webhook: SecretStr, form: Any, message: dict[str, str]
) -> None:
    write_live(tmp_path, 10, half_width=0.1)
    bounds = Alerts(form=form, telegram_chat_id="42")
    last = (tables.START + timedelta(minutes=10, seconds=2)).timestamp()
    board = update_scores(tmp_path)
    for _ in range(2):
        raise_alerts(board, tmp_path, bounds, None, lambda: last + 600, webhook)
    text = "no 1m prediction for 600 s"
    assert Receiver.messages == [{k: v.format(text) for k, v in message.items()}]


def test_the_end_of_an_alert_is_sent_too(tmp_path: Path, webhook: SecretStr) -> None:
    write_live(tmp_path, 10, half_width=0.1)
    last = (tables.START + timedelta(minutes=10, seconds=2)).timestamp()
    for age in (600, 60):
        raise_alerts(
            update_scores(tmp_path), tmp_path, Alerts(), None, lambda a=age: last + a, webhook
        )  # type: ignore[misc]
    assert [m["text"] for m in Receiver.messages][1:] == ["Candlecast: over: silent 1m"]


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "slack"),
        ("https://discord.com/api/webhooks/1234567890/abcDEF_x", "discord"),
        ("tgram://123456789:ABCdefABCdefABCdefABCdefABCdefABCde/42", "tgram"),
        ("mailto://me:secret@example.com", "mailto"),
        (" MAILTO://me:secret@example.com\n", "mailto"),
    ],
)
def test_a_receiver_may_be_any_url_that_apprise_knows(url: str, service: str) -> None:
    assert Apprise.instantiate(tidied(url)).url().startswith(f"{service}://")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?token=abc%2Bdef&x=1",
        "?verify=no&format=html&method=get",
        "?:message=other&-a=1&+header=2",
        "?a=1&a=2;b=%252B%20c&empty=&Case=X",
        "?a",
    ],
)
@pytest.mark.parametrize("around", ["{}", " {}\n"])
def test_a_plain_address_is_asked_as_it_stands(webhook: SecretStr, query: str, around: str) -> None:
    address = webhook.get_secret_value().replace("http", "HTTP") + "/a%2Fb" + query
    assert send("silent", SecretStr(around.format(address)), Alerts())
    assert Receiver.paths == [f"/secret-token/a%2Fb{query}"]
    assert Receiver.messages == [{"text": "Candlecast: silent"}]


def test_an_address_that_no_service_takes_is_reported_without_the_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for url in ("nosuch://secret-token", "secret-token", "http://secret-token:port", "http://"):
        assert not send("silent", SecretStr(url), Alerts())
    assert caplog.text.count("no URL that Apprise knows") == 4
    assert "secret-token" not in caplog.text


def test_an_unreachable_webhook_is_tried_again_and_its_address_kept_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_live(tmp_path, 10, half_width=0.1)
    url = SecretStr("http://127.0.0.1:9/secret-token")
    for _ in range(2):
        raise_alerts(update_scores(tmp_path), tmp_path, Alerts(), None, lambda: 2e9, url)
    assert caplog.text.count("event=alert_undelivered") == 2
    assert "secret-token" not in caplog.text


def test_recorded_bars_wake_nobody(tmp_path: Path) -> None:
    write_live(tmp_path, 10, half_width=0.1, late=timedelta(days=1))
    assert raise_alerts(update_scores(tmp_path), tmp_path, Alerts(), None, lambda: 2e9) == []


def test_bad_intervals_and_negative_skill_over_a_day_are_alerts(tmp_path: Path) -> None:
    close = random_walk(600, seed=1)
    write(tmp_path, "bars", bars(close))
    wild = predictions(close, guesses(close, seed=2, size=0.01), half_width=0.0001)
    write(tmp_path, "predictions", wild)
    found = badly_scored(update_scores(tmp_path), tolerance=0.05, min_predictions=500)
    assert [alert.name.split()[0] for alert in found] == ["coverage", "skill"]
    assert badly_scored(update_scores(tmp_path), tolerance=0.05, min_predictions=10_000) == []


def test_an_alert_that_goes_on_is_repeated_after_a_while() -> None:
    alert = Alert("silent 1m", "no prediction")
    assert changes([alert], {"silent 1m": 0.0}, 100, now_s=99) == ([], [])
    assert changes([alert], {"silent 1m": 0.0}, 100, now_s=100) == ([alert], [])


@pytest.mark.parametrize(
    ("form", "read"),
    [("csv", pd.read_csv), ("parquet", pd.read_parquet), ("json", pd.read_json)],
)
def test_an_export_holds_the_chosen_rows(tmp_path: Path, form: str, read: Any) -> None:
    write(tmp_path, "bars", bars(random_walk(60, seed=1)), "q-0")
    write(tmp_path, "bars", bars(random_walk(60, seed=2), "ETH-USD"), "q-1")
    since, until = datetime(2026, 1, 1, 0, 10), datetime(2026, 1, 1, 0, 20)
    file = tmp_path / f"out.{form}"
    assert export_rows(tmp_path, "bars", file, form, "BTC-USD", since, until) == 10
    found = read(file)
    assert set(found["symbol"]) == {"BTC-USD"}
    assert pd.to_datetime(found["open_time"]).min() == pd.Timestamp(since)
    assert list(found["close"]) == pytest.approx(random_walk(60, seed=1)[10:20])


def test_one_silent_symbol_is_reported_by_name(
    tmp_path: Path,
) -> None:
    write_live(tmp_path, 10, half_width=0.1)
    write(tmp_path, "predictions", predictions([100.0] * 3, [100.0] * 3, symbol="ETH-USD"), "q-1")
    now = (tables.START + timedelta(minutes=10, seconds=30)).timestamp()
    found = raise_alerts(update_scores(tmp_path), tmp_path, Alerts(), None, lambda: now)
    assert [(alert.name, alert.text) for alert in found] == [
        ("silent ETH-USD 1m", "no 1m prediction of ETH-USD for 448 s")
    ]


def test_series_with_bars_that_were_never_predicted_are_reported(tmp_path: Path) -> None:
    write(tmp_path, "bars", bars(random_walk(90, seed=1)))
    now = (tables.START + timedelta(minutes=91)).timestamp()
    board = update_scores(tmp_path)
    (alert,) = raise_alerts(board, tmp_path, Alerts(), None, lambda: now)
    assert alert.text == "1 1m series have bars and were never predicted: is there a champion?"
    assert raise_alerts(board, tmp_path, Alerts(), None, lambda: now, lookback=90) == []


def ingest_metrics(
    behind_s: float, gaps: float, rejected: float, published: float, away_s: float = 0.0
) -> Metrics:
    samples = {
        ("candlecast_ingest_live_away_seconds", ()): away_s,
        ("candlecast_ingest_seconds_behind", ()): behind_s,
        ("candlecast_ingest_gaps_open", ()): gaps,
        ("candlecast_ingest_rejected_total", (("kind", "bar"), ("reason", "high"))): rejected,
        ("candlecast_ingest_bars_published_total", ()): published,
    }
    return Metrics(None, samples, asks_ingest=True)


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        (ingest_metrics(30, 0, 0, 100), []),
        (ingest_metrics(600, 0, 0, 100), ["ingest behind"]),
        (ingest_metrics(30, 500, 0, 100), ["ingest gaps"]),
        (ingest_metrics(30, 0, 0, 100, away_s=700), ["ingest polls"]),
        (ingest_metrics(30, 0, 50, 100), ["ingest rejects"]),
        (ingest_metrics(30, 0, 5, 5), []),
        (Metrics(asks_ingest=True), ["ingest does not answer"]),
        (Metrics(), []),
    ],
)
def test_ingest_has_alerts_of_its_own(tmp_path: Path, metrics: Metrics, names: list[str]) -> None:
    found = raise_alerts(update_scores(tmp_path), tmp_path, Alerts(), metrics)
    assert [alert.name for alert in found] == names


def test_what_begins_together_goes_in_one_message(tmp_path: Path, webhook: SecretStr) -> None:
    for number in range(100):
        rows = predictions([100.0], [100.0], symbol=f"C{number:03d}-USD")
        write(tmp_path, "predictions", rows, f"q-{number}")
    write(tmp_path, "predictions", predictions([100.0] * 20, [100.0] * 20), "q-100")
    now = (tables.START + timedelta(minutes=20, seconds=30)).timestamp()
    for _ in range(2):
        raise_alerts(update_scores(tmp_path), tmp_path, Alerts(), None, lambda: now, webhook)
    (sent,) = Receiver.messages
    assert sent["text"].startswith("Candlecast: 100 alerts: no 1m prediction of C000-USD")
    assert sent["text"].endswith("; and 85 more")


@pytest.mark.parametrize("content", [b"", b'{"sent": {"sil', b"[1]", b'{"sent": 7, "metrics": []}'])
def test_a_state_of_alerts_that_says_nothing_counts_as_none(tmp_path: Path, content: bytes) -> None:
    write_live(tmp_path, 10, half_width=0.1)
    (tmp_path / "_scores").mkdir()
    (tmp_path / "_scores" / "alerts.json").write_bytes(content)
    last = (tables.START + timedelta(minutes=10, seconds=2)).timestamp()
    found = raise_alerts(update_scores(tmp_path), tmp_path, Alerts(), None, lambda: last + 600)
    assert [alert.name for alert in found] == ["silent 1m"]
    assert json.loads((tmp_path / "_scores" / "alerts.json").read_text())["sent"]


class Elsewhere(BaseHTTPRequestHandler):
    """Sends whoever posts to another address."""

    target = ""

    def do_POST(self) -> None:
        self.send_response(307)
        self.send_header("Location", self.target)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_message_does_not_follow_a_redirect(webhook: SecretStr) -> None:
    Elsewhere.target = webhook.get_secret_value()
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = SecretStr(f"http://127.0.0.1:{server.server_port}/hook")
        assert not send("silent", url, Alerts())
        server.shutdown()
        thread.join()
    assert Receiver.messages == []


def test_an_outcome_that_becomes_known_late_still_moves_the_intervals_once(
    tmp_path: Path, registry: Registry
) -> None:
    close = random_walk(100, seed=1)
    rows = bars(close)
    write(tmp_path, "predictions", predictions(close, close, half_width=0.0001))
    write(tmp_path, "bars", rows.drop(index=range(20, 30)), "q-0")
    adapt_intervals(tmp_path, registry, rate=0.02)
    before = registry.interval_factors("1m-1")
    write(tmp_path, "bars", rows[20:30], "q-1")
    assert adapt_intervals(tmp_path, registry, rate=0.02) == {"1m-1": 10}
    after = registry.interval_factors("1m-1")
    assert before is not None
    assert after is not None
    assert after[2] > before[2]
    write(tmp_path, "bars", bars(close[:50], fetched_s=30.0).assign(volume=2.0), "q-2")
    assert adapt_intervals(tmp_path, registry, rate=0.02) == {"1m-1": 0}


def test_symbols_of_one_minute_move_the_intervals_as_one(
    tmp_path: Path, registry: Registry
) -> None:
    for number in range(4):
        close = random_walk(50, seed=1)
        write(tmp_path, "bars", bars(close, f"C{number}-USD"), f"b-{number}")
        rows = predictions(close, close, symbol=f"C{number}-USD", half_width=0.1)
        write(tmp_path, "predictions", rows, f"p-{number}")
    assert adapt_intervals(tmp_path, registry, rate=0.02) == {"1m-1": 4 * 49}
    factors = registry.interval_factors("1m-1")
    assert factors is not None
    assert factors[2] == pytest.approx(np.exp(-0.02 * 0.1 * 49))


def test_factors_that_the_registry_did_not_take_are_told_again(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_live(tmp_path, 50, half_width=0.0001)
    monkeypatch.setattr(registry, "set_interval_factors", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        adapt_intervals(tmp_path, registry, rate=0.02)
    monkeypatch.undo()
    assert adapt_intervals(tmp_path, registry, rate=0.02) == {"1m-1": 0}
    factors = registry.interval_factors("1m-1")
    assert factors is not None
    assert factors[2] > 1


def drift_days(
    seed: int, days: int, half_life_min: int = 360
) -> tuple[Reference, list[np.ndarray]]:
    """Volatility that comes and goes over hours in a market that stays the same, day by day."""
    noise = np.random.default_rng(seed).normal(size=(30 + days) * 1440)
    memory = 0.5 ** (1 / half_life_min)
    values = lfilter([np.sqrt(1 - memory**2)], [1, -memory], noise)
    then, now = values[: 30 * 1440], values[30 * 1440 :]
    return Reference.of(then, np.arange(len(then)) // 1440), np.split(now, days)


def test_a_market_that_does_not_change_drifts_on_one_day_of_twenty_at_most() -> None:
    verdicts, indices = [], []
    for seed in range(10):
        then, days = drift_days(20261128 + seed, 100)
        found = [then.verdict(day, watch=0.1, alarm=0.25) for day in days]
        verdicts += [verdict == "drifted" for _, verdict in found]
        indices += [psi for psi, _ in found]
    assert np.mean(verdicts) <= 0.05
    assert np.mean(np.array(indices) > 0.25) > 0.1  # the alarm alone would cry wolf


def test_a_market_that_moves_far_has_drifted() -> None:
    then, days = drift_days(20261128, 100, half_life_min=30)
    assert np.mean([then.verdict(day + 1.5, 0.1, 0.25)[1] == "drifted" for day in days]) > 0.9


def test_drift_is_measured_once_an_hour_and_its_reference_once_a_champion(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_live(tmp_path, 400, half_width=0.001)
    assert update_drift(tmp_path, registry, 0.1, 0.25, now=lambda: 1000.0)
    assert update_drift(tmp_path, registry, 0.1, 0.25, now=lambda: 4000.0) == []
    monkeypatch.setattr(drift, "references", lambda *_: 1 / 0)
    assert update_drift(tmp_path, registry, 0.1, 0.25, now=lambda: 5000.0)
    assert update_drift(tmp_path, registry, 0.1, 0.25, now=lambda: 100.0)  # set back


@pytest.mark.parametrize("references", ["", "[1]", '[["feature", "range", {"edges": 1}]]', "7"])
def test_a_reference_of_another_form_is_made_anew(
    tmp_path: Path, registry: Registry, references: str
) -> None:
    write_live(tmp_path, 400, half_width=0.001)
    measured = update_drift(tmp_path, registry, 0.1, 0.25, now=lambda: 1000.0)
    file = tmp_path / "_scores" / "drift-1m.json"
    kept = json.loads(file.read_text())
    known = f', "references": {references}' if references else ""
    file.write_text(f'{{"version": "{kept["version"]}"{known}}}')
    again = update_drift(tmp_path, registry, 0.1, 0.25, now=lambda: 9000.0)
    assert [one.name for one in again] == [one.name for one in measured]
    assert json.loads(file.read_text()) == kept
