"""`make soak`: what scoring, retraining and the page cost on a month and a year of minutes.

Each is measured in a process of its own: its CPU time and the most memory that it held, as the
kernel counts them. The whole run writes `bench/soak.json`, one of another size `reports/soak.json`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench.report import machine, write
from bench.series import symbols
from bench.soak_steps import SMALL_MODEL
from bench.warehouse import folders
from conf.ports import free_port
from conf.settings import home_variables
from jobs.machine.processes import PROJECT_DIR, candlecast, wait_until
from jobs.terminal.program import run_program

RESULTS: Final = PROJECT_DIR / "bench/soak.json"
REPORT: Final = PROJECT_DIR / "reports/soak.json"
# Days and symbols. The last two are compared: a longer history must cost nothing.
SIZES: Final = ((30, 100), (30, 20), (365, 20))
LONGER: Final = 1.3
# What a user may expect of a figure of any size; `score` and the page also keep to them.
LIMITS: Final = {
    "look_cpu_s": 5.0,
    "look_mb": 700.0,
    "retrain_mb": 4_096.0,
    "tables_s": 1.0,
    "api_s": 1.0,
    "most_folders": 3_000.0,
}
# Compared between a month and a year; so small that noise decides, they are not.
COMPARED: Final = {
    "look_cpu_s": 0.2,
    "look_mb": 50.0,
    "retrain_mb": 50.0,
    "tables_s": 0.1,
    "api_s": 0.1,
}
MEGABYTE: Final = 1 << 20
START_TIMEOUT_S: Final = 120.0
ASKED: Final = ("/scores", "/predictions/{symbol}", "/predictions/{symbol}/history", "/models")
Figures = dict[str, float]


def soak(folder: Path, days: int, count: int) -> Figures:
    """The figures of one warehouse, which is made in `folder` first."""
    env = environment(folder, symbols(count))
    found, step = Figures(), [sys.executable, "-m", "bench.soak_steps"]
    laid = measured([*step, "lay", str(days), str(count)], env)
    found |= {f"lay_{name}": laid[name] for name in ("s", "live_s", "compacted_s")}
    found["most_folders"] = max(folders(folder / "warehouse").values())
    found["disk_mb"] = sum(f.stat().st_size for f in folder.rglob("*.parquet")) / MEGABYTE
    caught_up = measured([*step, "catch_up"], env)
    found |= {"catch_up_s": caught_up["s"], "catch_up_mb": caught_up["mb"]}
    look = measured([*step, "looks"], env)
    found |= {"look_cpu_s": look["look_cpu_s"], "look_s": look["look_s"], "look_mb": look["mb"]}
    page = measured([*step, "page", str(count)], env)
    found |= {"tables_s": page["tables_s"], "tables_mb": page["mb"]}
    found |= ask_api(folder, env, symbols(count)[0])
    retrain = [sys.executable, "-m", "jobs.cli", "retrain", "--once", "--force"]
    retrained = measured(retrain, env | SMALL_MODEL)
    found |= {"retrain_s": retrained["s"], "retrain_mb": retrained["mb"]}
    return {name: round(value, 2) for name, value in found.items()}


def environment(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Everything in `folder`; a broker and a stream that are not there."""
    nowhere = "9"  # the port of the protocol that discards
    return {
        "CANDLECAST_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{nowhere}",
        "CANDLECAST_STREAM__METRICS_PORT": nowhere,
        **home_variables(folder / "warehouse"),
        "CANDLECAST_INGEST__INTERVALS": '["1m"]',
        "CANDLECAST_INGEST__SYMBOLS": json.dumps(names),
        "TZ": "UTC",
    }


def measured(command: Sequence[str], env: Mapping[str, str]) -> Figures:
    """Run a program: its seconds `s`, CPU seconds `cpu_s`, most memory `mb`, and what it printed.

    Raises RuntimeError where it fails.
    """
    begun_s = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().splitlines()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {lines[-3:]}")
    printed = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return {
        "s": time.monotonic() - begun_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "mb": usage.ru_maxrss / 1024,
        **printed,
    }


def ask_api(folder: Path, env: Mapping[str, str], symbol: str) -> Figures:
    """The slowest first answer of a server that has just started, and its memory afterwards."""
    port = free_port()
    program = candlecast("api", ["--port", str(port)], env, folder / "logs" / "api.log")
    url, took_s = f"http://127.0.0.1:{port}", []
    with program:
        wait_until(lambda: answers(f"{url}/openapi.json"), START_TIMEOUT_S, program.check)
        for path in ASKED:
            begun_s = time.monotonic()
            if not answers(url + path.format(symbol=symbol)):
                raise RuntimeError(f"no answer from {path}: {program.log_tail(3)}")
            took_s.append(time.monotonic() - begun_s)
        resident = psutil.Process(program.pid).memory_info().rss
    return {"api_s": max(took_s), "api_mb": resident / MEGABYTE}


def answers(url: str) -> bool:
    """Whether the address gives a whole answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=START_TIMEOUT_S) as answer:
            return answer.status == 200 and len(answer.read()) > len("[]")
    except OSError:
        return False


def longer(month: Figures, year: Figures) -> Figures:
    """How many times the figures of a month those of a year are."""
    return {
        name: round(year[name] / max(month[name], least), 2) for name, least in COMPARED.items()
    }


def broken(report: Mapping[str, Any]) -> list[str]:
    """Which limits were not kept, a line each."""
    found = [
        f"{size}: {name} {figures[name]:g} is over {limit:g}"
        for size, figures in report["sizes"].items()
        for name, limit in LIMITS.items()
        if figures[name] > limit
    ]
    ratios = report.get("year_over_month", {})
    return found + [
        f"{name}: a year costs {ratio:g} times a month, over {LONGER:g}"
        for name, ratio in ratios.items()
        if ratio > LONGER
    ]


def show(console: Console, report: Mapping[str, Any]) -> None:
    """A row a figure, a column a size."""
    table = Table("figure", *report["sizes"], "limit", "year / month", title="soak")
    figures = list(report["sizes"].values())
    for name in figures[0]:
        ratio = report.get("year_over_month", {}).get(name)
        cells = [f"{of[name]:,.2f}" for of in figures]
        table.add_row(name, *cells, f"{LIMITS.get(name, '-')}", f"{ratio or '-'}")
    console.print(table)
    for line in broken(report):
        console.print(line, style="red")


def main(
    days: Annotated[int | None, typer.Option(min=3, help="one size alone, with --symbols")] = None,
    count: Annotated[int, typer.Option("--symbols", help="of that size")] = 10,
    folder: Annotated[Path | None, typer.Option(help="kept; else a temporary one")] = None,
) -> None:
    """Measure, print and write; ends with 1 where a limit was not kept."""
    sizes = SIZES if days is None else ((days, count),)
    report: dict[str, Any] = {"sizes": {}, "limits": LIMITS, "about": machine()}
    for one in sizes:
        name = f"{one[0]} days x {one[1]} symbols"
        kept = folder and (folder / f"{one[0]}x{one[1]}" if days is None else folder)
        place = kept or Path(tempfile.mkdtemp(prefix="candlecast-soak-"))
        report["sizes"][name] = soak(place.resolve(), *one)
        if kept is None:
            shutil.rmtree(place)
        typer.echo(f"{name}: {json.dumps(report['sizes'][name])}")
    if days is None:
        month, year = list(report["sizes"].values())[1:]
        report["year_over_month"] = longer(month, year)
    write(RESULTS if days is None else REPORT, report)
    show(Console(), report)
    if broken(report):
        raise typer.Exit(1)


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
