"""The HTTP API on a real server, in this process."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from conf.ports import free_port
from conf.sections import Dashboard, Kafka, Warehouse
from conf.sections import Registry as RegistrySettings
from conf.settings import Settings
from dashboard.api import create_app
from jobs.machine.processes import wait_until

TOPIC = "api-predictions"
NO_BROKER = "127.0.0.1:9"


@contextmanager
def serving(chosen: Settings) -> Iterator[str]:
    port = free_port()
    config = uvicorn.Config(
        create_app(chosen), "127.0.0.1", port, log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert wait_until(lambda: server.started, 30)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def chosen_settings(warehouse: Path, servers: str, **limits: Any) -> Settings:
    registry = RegistrySettings(tracking_uri=f"sqlite:///{warehouse}/none.db")
    return Settings(
        kafka=Kafka(bootstrap_servers=servers, predictions_topic=TOPIC),
        warehouse=Warehouse(dir=str(warehouse)),
        registry=registry,
        dashboard=Dashboard(**{"requests_per_minute": 100_000, **limits}),
    )


def get(url: str, path: str) -> Any:
    with urllib.request.urlopen(url + path, timeout=20) as answer:
        return json.load(answer)
