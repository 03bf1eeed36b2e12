"""docker-compose.yml on a real engine: `make containers`, 20 minutes at most after the images.

It builds the images, starts everything with the synthetic market, waits for live predictions,
kills one service after the other, looks for stack traces, stops, starts again and finds its state.
Where no engine answers it is skipped, and says so.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from tests.containers.engine import (
    ENDED,
    ENDS_WITHIN_S,
    Compose,
    base_images,
    missing,
    provide,
    run,
)

LIMIT_S: Final = 1200
MOST_BYTES: Final = {"candlecast": 1.6e9, "candlecast-train": 3.5e9}
# Of all services together, and of one that has an image of its own.
MOST_MEMORY: Final = 6 * 2**30
MOST_OF_MLFLOW: Final = 0.6 * 2**30
PREDICT: Final = ("stream", "spark-worker", "spark-master", "kafka")
OTHERS: Final = ("ingest", "score", "retrain", "housekeeping", "dashboard", "mlflow", "prometheus")
STATS: Final = ("docker", "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}")
EVENTS: Final = (
    *("docker", "events", "--filter", "event=die"),
    *("--format", "{{.Actor.Attributes.exitCode}}"),
)
TRACE: Final = re.compile(r"Traceback \(most recent call last\)|Exception in thread")


class Check:
    """Steps that each hold or fail, within one limit of time."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.failed: list[str] = []

    def say(self, what: str, held: bool, took_s: float) -> bool:
        """Print how a step went."""
        print(f"{'ok  ' if held else 'FAIL'} {what} ({took_s:.0f} s)", flush=True)
        if not held:
            self.failed.append(what)
        return held

    def that(self, what: str, holds: Callable[[], object], within_s: float = 0) -> bool:
        """Whether something holds within a time; what can't be asked does not hold."""
        start = time.monotonic()
        within_s = min(within_s, LIMIT_S - (start - self.began))
        while (why := _why_not(holds)) and time.monotonic() - start < within_s:
            time.sleep(2)
        return self.say(f"{what}{why and f': {why}'}", not why, time.monotonic() - start)


def _why_not(question: Callable[[], object]) -> str:
    """Empty where it holds."""
    try:
        return "" if question() else "no"
    except (subprocess.SubprocessError, OSError, ValueError, KeyError, IndexError) as error:
        return str(error) or repr(error)


def get(port: int, path: str) -> str:
    """What a page of this machine answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


class Services:
    """Questions to the running services."""

    def __init__(self, compose: Compose, names: list[str]) -> None:
        self.compose = compose
        self.names = names

    def sql(self, query: str) -> int:
        """The one number that a query over the warehouse answers with."""
        text = self.compose.inside("housekeeping", "candlecast", "sql", query)
        return int(re.findall(r"\d+", text)[-1])

    def predictions(self) -> int:
        """Rows in the table."""
        return self.sql("SELECT count(*) FROM predictions WHERE NOT backfilled")

    def targets_up(self) -> bool:
        """Whether Prometheus reaches stream, ingest and score."""
        targets = json.loads(get(9090, "/api/v1/targets"))["data"]["activeTargets"]
        return [one["health"] for one in targets] == ["up"] * 3

    def as_root(self) -> list[str]:
        """The services whose programs run as root."""
        users = {n: self.compose.inspect(n)["Config"]["User"] for n in self.names}
        return [name for name, user in users.items() if user in ("", "0", "root")]

    def memory(self) -> dict[str, float]:
        """How many bytes each service takes."""
        names = {self.compose.container(name): name for name in self.names}
        taken = re.findall(r"(\w+) ([\d.]+)(\w)iB", run([*STATS, *names]))
        powers = {"K": 10, "M": 20, "G": 30}
        return {names[one]: float(number) * 2 ** powers[unit] for one, number, unit in taken}

    def ended_with(self, name: str, since: float) -> set[str]:
        """The exit codes with which a service has ended since a moment, unix s."""
        ends = [*EVENTS, "--filter", f"container={self.compose.container(name)}"]
        return set(run([*ends, "--since", f"{since:.0f}", "--until", f"{time.time():.0f}"]).split())


def accepts(host: str) -> bool:
    """Whether the registry's page answers who calls it by this name."""
    asked = urllib.request.Request(
        "http://127.0.0.1:5000/api/2.0/mlflow/registered-models/search", headers={"Host": host}
    )
    try:
        with urllib.request.urlopen(asked, timeout=5):
            return True
    except urllib.error.HTTPError:
        return False


def volumes() -> set[str]:
    """All volumes of the engine."""
    return set(run(["docker", "volume", "ls", "--quiet"]).split())


def check_images(check: Check, work: Path) -> list[str]:
    """Have what the images are made from; returns the services that must be left out."""
    left_out = []
    for image in base_images():
        start = time.monotonic()
        how = provide(image, work)
        print(f"     {image}: {how} ({time.monotonic() - start:.0f} s)", flush=True)
        if how == "not to be had":
            left_out.append(image.rpartition("/")[2].partition(":")[0])
    return left_out


def check_life(check: Check, up: Services) -> None:
    """From the start to live predictions, pages and figures."""
    compose = up.compose
    for name in up.names:
        check.that(f"{name} is healthy", lambda name=name: compose.healthy(name), 180)
    check.that("bars are archived", lambda: up.sql("SELECT count(*) FROM bars") > 1000, 240)
    check.that("a live prediction is in the table", lambda: up.predictions() > 0, 200)
    check.that("the page answers", lambda: get(8501, "/"), 30)
    check.that("the registry has a page", lambda: get(5000, "/health"), 60)
    check.that("Prometheus reaches all three", up.targets_up, 90)
    check.that("and tells who calls it by its name alone", lambda: not accepts("evil.example"))
    check.that("nothing runs as root", lambda: not up.as_root())
    taken = up.memory()
    print({name: f"{taken[name] / 2**20:.0f} MB" for name in taken}, flush=True)
    check.that("all fit into 6 GB", lambda: sum(taken.values()) < MOST_MEMORY)
    check.that("MLflow is small", lambda: taken["mlflow"] < MOST_OF_MLFLOW)


def check_crashes(check: Check, up: Services) -> None:
    """One service after the other dies and comes back; predictions go on."""
    for name in PREDICT:
        before = up.predictions()
        up.compose.crash(name)
        check.that(
            f"predicts again after a crash of {name}", lambda n=before: up.predictions() > n, 200
        )
    for name in (one for one in OTHERS if one in up.names):
        up.compose.crash(name)
        check.that(f"{name} comes back", lambda name=name: up.compose.healthy(name), 120)


def check_absence(check: Check, up: Services) -> None:
    """The broker is away, with its name: who needs it waits for it, and says so without a trace."""
    compose, since, before = up.compose, time.time(), up.predictions()
    compose("stop", "kafka")
    check.that("without it the stream ends", lambda: up.ended_with("stream", since), 180)
    for name in ("stream", "ingest"):
        ends = up.ended_with(name, since)
        check.that(f"{name} ends with 75 alone, {ends or 'or waits'}", lambda e=ends: e <= {"75"})
    compose("start", "kafka")
    check.that("predicts again when the broker is back", lambda: up.predictions() > before, 240)


def check_stops(check: Check, up: Services) -> None:
    """Who is asked to end does so soon, and is not killed."""
    for name in (*(n for n in up.names if n not in PREDICT), *PREDICT):
        code, took_s = up.compose.ask_to_end(name)
        good = code in ENDED and took_s <= ENDS_WITHIN_S
        check.say(f"{name} ends when asked to, with {code}", good, took_s)


def check_rest(check: Check, up: Services) -> None:
    """Stop, start, and the state is there."""
    compose, before = up.compose, up.predictions()
    traces = [n for n in up.names if n != "mlflow" and TRACE.search(compose("logs", n))]
    check.that(f"no stack trace in a log {' '.join(traces)}", lambda: not traces)
    check_stops(check, up)
    compose("up", "--detach", "--no-build", limit_s=240)
    check.that("predictions go on where they were", lambda: up.predictions() > before, 240)
    doubles = (
        "SELECT count(*) - count(DISTINCT (symbol, interval, as_of, horizon)) FROM predictions"
    )
    check.that("each once", lambda: up.sql(doubles) == 0)


def main(
    keep: Annotated[bool, typer.Option(help="leave everything running")] = False,
    work: Annotated[Path | None, typer.Option(help="where stand-ins are made")] = None,
) -> None:
    """Check docker-compose.yml on this machine's engine."""
    if why := missing():
        print(f"skipped: {why}; docker-compose.yml was not tried")
        return
    check, before = Check(), volumes()
    left_out = check_images(check, work or Path(tempfile.mkdtemp()))
    compose = Compose("candlecast-check", left_out)
    names = compose("config", "--services").split()
    names = [name for name in names if name not in left_out]
    try:
        check.that("the images are built", lambda: compose("build", limit_s=900) or True, 1)
        check.began = time.monotonic()  # building is bounded by itself
        for image, most in MOST_BYTES.items():
            size = int(run(["docker", "image", "inspect", "--format", "{{.Size}}", image]))
            check.say(f"{image} takes {size / 1e9:.2f} GB", size <= most, 0)
        check.that(
            "everything starts",
            lambda: compose("up", "--detach", "--no-build", limit_s=240) or True,
            1,
        )
        up = Services(compose, names)
        check_life(check, up)
        check_crashes(check, up)
        check_absence(check, up)
        check_rest(check, up)
    finally:
        if not keep:
            compose.close()
    check.that("no volume is left behind", lambda: volumes() <= before)
    print(f"{time.monotonic() - check.began:.0f} s; failed: {', '.join(check.failed) or 'nothing'}")
    sys.exit(bool(check.failed))


if __name__ == "__main__":
    typer.run(main)
