"""What the HTTP API bears: strange names, many listeners, absurd rows, long ranges."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest

import dashboard.sources
from conf.settings import load_settings
from dashboard.api import records
from dashboard.events import Listeners
from dashboard.tables import Tables
from jobs.machine.processes import wait_until
from jobs.scoring.scoreboard import update_scores
from tests import tables
from tests.dashboard.api_server import NO_BROKER, chosen_settings, get, serving
from tests.store import hostile

START_MS = int(tables.START.timestamp() * 1000)
SYMBOLS = ["BTC-USD", "stETH-USD", "币安人生-USDT", "BTC-USDT:USDT", "A.B-USD", "1INCH-USD"]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warehouse")
    close = tables.random_walk(30, seed=1)
    for symbol in SYMBOLS:
        tables.write(folder, "bars", tables.bars(close, symbol), f"bars-{symbol}")
        rows = tables.predictions(close, tables.guesses(close, seed=1), symbol=symbol)
        tables.write(folder, "predictions", rows, f"predictions-{symbol}")
    return folder


@pytest.fixture(scope="module")
def url(warehouse: Path) -> Iterator[str]:
    with serving(chosen_settings(warehouse, NO_BROKER, listeners_per_client=3)) as running:
        yield running


def status(url: str, path: str, host: str | None = None) -> int:
    request = urllib.request.Request(url + path, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_symbol_that_the_stream_takes_is_answered_for(url: str, symbol: str) -> None:
    assert get(url, f"/predictions/{quote(symbol)}")[0]["symbol"] == symbol
    assert len(get(url, f"/predictions/{quote(symbol)}/history")) == 30


@pytest.mark.parametrize("symbol", ["BTC", "BTC USD", "A-B-C", "-USD", "A" * 140 + "-USD", "A-B\n"])
def test_what_is_no_symbol_is_not_found(url: str, symbol: str) -> None:
    assert status(url, f"/predictions/{quote(symbol)}") == 404


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"])
def test_a_name_of_this_machine_is_answered(url: str, host: str) -> None:
    assert status(url, "/models", host) == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "localhost.", ""])
def test_another_name_for_this_machine_is_not_answered(url: str, host: str) -> None:
    port = int(url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"GET /models HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert connection.recv(100).split()[1] in (b"421", b"400")


def test_a_setting_names_other_hosts(tmp_path: Path) -> None:
    named = chosen_settings(tmp_path, NO_BROKER, api_hosts=["prices.example"])
    with serving(named) as running:
        assert status(running, "/models", "prices.example:80") == 200
        assert status(running, "/models") == 421


def test_listeners_are_limited_by_client_and_their_places_are_given_back(url: str) -> None:
    with ExitStack() as open_streams:
        for _ in range(3):
            stream = open_streams.enter_context(urllib.request.urlopen(f"{url}/events", timeout=20))
            assert stream.readline().startswith(b":")
        assert status(url, "/events") == 503
    again = f"{url}/events"
    assert wait_until(lambda: listens(again), 20)


def listens(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=20) as stream:
            return bool(stream.readline())
    except urllib.error.HTTPError:
        return False


def test_listeners_are_limited_in_all() -> None:
    listeners = Listeners(per_client=2, most=5)
    with ExitStack() as places:
        for number in range(5):
            assert listeners.refusal(f"client {number % 3}") is None
            places.enter_context(listeners.listening(f"client {number % 3}"))
        assert listeners.refusal("client 9") == "5 listeners already"
    assert listeners.refusal("client 0") is None


def test_no_more_rows_leave_the_tables_than_were_asked_for(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    read = Tables.predictions

    def counted(self: Tables, *args: Any) -> pd.DataFrame:
        rows = read(self, *args)
        found.append(len(rows))
        return rows

    monkeypatch.setattr(Tables, "predictions", counted)
    with serving(chosen_settings(warehouse, NO_BROKER)) as running:
        until = START_MS + 20 * 60_000
        rows = get(running, f"/predictions/BTC-USD/history?limit=3&until={until}")
    assert [row["as_of"] for row in rows] == [START_MS + m * 60_000 for m in (18, 19, 20)]
    assert found == [3]


def test_bad_files_and_absurd_rows_take_nothing_from_the_other_series(tmp_path: Path) -> None:
    hostile.good(tmp_path)
    update_scores(tmp_path)
    for kind in hostile.BAD_FILES:
        hostile.add_bad_file(tmp_path, kind)
    hostile.add_absurd_rows(tmp_path, "price denormal")
    rows = tables.predictions(hostile.CLOSE, hostile.CLOSE[1:], symbol="ODD-USD")
    rows[["coverage", "batch_id"]] = [[np.inf, 1]] * 3
    tables.write(tmp_path, "predictions", rows.drop(columns="model_version"), "odd")
    with serving(chosen_settings(tmp_path, NO_BROKER)) as running:
        assert len(get(running, "/predictions/BTC-USD/history")) == 3
        assert get(running, "/scores?span=all")[0]["symbol"] == "BTC-USD"
        assert get(running, "/health")["unreadable_files"] == len(hostile.BAD_FILES) + 1
        assert status(running, "/predictions/ODD-USD") == 404


def test_a_table_that_cant_be_listed_is_no_empty_answer_and_names_no_path(
    tmp_path: Path,
) -> None:
    (tmp_path / "scores").write_text("no folder")
    with serving(chosen_settings(tmp_path, NO_BROKER)) as running:
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(running, "/scores")
        assert caught.value.code == 503
        assert str(tmp_path) not in caught.value.read().decode()


def test_numbers_are_finite_or_null() -> None:
    rows = pd.DataFrame({"a": [1.0, np.inf, -np.inf, np.nan], "b": [None, 2, 3, 4]})
    shown = records(rows)
    assert [row["a"] for row in shown] == [1.0, None, None, None]
    json.dumps(shown, allow_nan=False)


def test_only_this_machine_is_named_by_default() -> None:
    chosen = load_settings().dashboard
    assert (chosen.host, chosen.api_host) == ("127.0.0.1", "127.0.0.1")
    assert set(chosen.api_hosts) == {"localhost", "127.0.0.1", "[::1]"}
    assert dashboard.sources.MAX_PREDICTIONS <= 50_000
