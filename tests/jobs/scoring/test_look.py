"""One look: a step that fails leaves the others running, and no proxy hears of our metrics."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from conf.settings import Settings, load_settings
from jobs.scoring import look
from store.prometheus import read_metrics
from tests.tables import bars, guesses, predictions, random_walk, write


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name in ("WAREHOUSE__DIR", "REGISTRY__ARTIFACT_DIR"):
        monkeypatch.setenv(f"CANDLECAST_{name}", str(tmp_path))
    monkeypatch.setenv("CANDLECAST_REGISTRY__TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    load_settings.cache_clear()
    close = random_walk(50, seed=1)
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close, guesses(close, seed=2)))
    yield load_settings()
    load_settings.cache_clear()


@pytest.mark.parametrize("step", ["look_for_alerts", "update_arima", "adapt_intervals"])
def test_a_step_that_fails_leaves_the_scores_right(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    monkeypatch.setattr(look, step, lambda *_: 1 / 0)
    board = look.score_once(settings, strict=False)
    assert board.query("span == 'all'")["predictions"].tolist() == [49]
    assert "score_failed" in caplog.text
    with pytest.raises(ZeroDivisionError):
        look.score_once(settings)


class Shown(BaseHTTPRequestHandler):
    """Metrics, or what is none of them."""

    text = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("text", "found"),
    [(b"candlecast_lag_records 7\n", 7.0), (b"\xff\xfe", None), (b"<html>{{{", None)],
)
def test_metrics_are_asked_directly_and_garbage_is_none(
    monkeypatch: pytest.MonkeyPatch, text: bytes, found: float | None
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    Shown.text = text
    with HTTPServer(("127.0.0.1", 0), Shown) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        samples = read_metrics(f"http://127.0.0.1:{server.server_port}/metrics", timeout_s=5)
        server.shutdown()
        thread.join()
    value = None if samples is None else samples["candlecast_lag_records", ()]
    assert value == found
