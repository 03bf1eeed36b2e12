"""In short what `make containers` checks at length, where an engine has its images already."""

from collections.abc import Iterator
from functools import partial

import pytest

from jobs.machine.processes import wait_until
from tests.containers.engine import ENDED, ENDS_WITHIN_S, Compose, missing, succeeds

# Without a port of this machine, and without a broker.
SERVICES = ("housekeeping", "score", "retrain")
IMAGES = ("candlecast", "candlecast-train")


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    why = missing()
    if why is None and not all(succeeds(["docker", "image", "inspect", one]) for one in IMAGES):
        why = "the images are not built: `make containers` builds them"
    if why:
        pytest.skip(f"docker-compose.yml was not tried: {why}")
    running = Compose("candlecast-short", [])
    try:
        running("up", "--detach", "--no-build", "--no-deps", *SERVICES)
        yield running
    finally:
        running.close()


def test_services_are_healthy_not_root_and_end_when_asked_to(compose: Compose) -> None:
    for name in SERVICES:
        assert wait_until(partial(compose.healthy, name), 120), name
        assert compose.inspect(name)["Config"]["User"] == "candlecast"
        code, took_s = compose.ask_to_end(name)
        assert code in ENDED, name
        assert took_s <= ENDS_WITHIN_S, name
