"""`make bench`: the stream against what people would use instead, all in one run.

One broker, the same bars, the same network for all. Every round runs every contender once, each
round beginning with another one. Then come the live rounds. Written after every step, so that a
run that breaks off leaves what it has; only a whole run of at least five rounds goes to
`bench/results.json`, the source of docs/performance.md; any other goes to `reports/bench.json`.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from bench.job import CORES
from bench.line_up import OTHERS, onnx_alone, replay_other
from bench.live import run_live
from bench.outputs import require_same
from bench.replay import cold_start_s, replay_job
from bench.report import RESULTS, Measured, report, write
from bench.series import LOOKBACK
from bench.stage import NETWORK, Stage
from bench.table import table
from bench.timeline import ContenderStuck
from jobs.machine.processes import ProgramEnded
from jobs.terminal.program import run_program

ROUNDS: Final = 5
PARTS: Final = ("replay", "cores", "symbols", "cold", "live")
FEW_SYMBOLS: Final = 100
LIVE_SYMBOLS: Final = 1_000
# Minutes of the walk; the job's first micro-batches, of this many bars, warm it up.
FULL: Final = {"minutes": 5_060, "many_symbols": 10_000, "many_minutes": 100, "warm_up": 190_000}
QUICK: Final = {"minutes": 1_200, "many_symbols": 1_000, "many_minutes": 250, "warm_up": 1}
# Groups of bars in a live round, by the gap before each.
FULL_GROUPS: Final = {"3s": 8, "70s": 1}
QUICK_GROUPS: Final = {"3s": 2, "70s": 1}

Step = Callable[[int], None]


class Run:
    """One run of the benchmark: what takes part, at which sizes, and what was measured."""

    def __init__(self, stage: Stage, parts: list[str], sizes: dict[str, int]) -> None:
        self.measured = Measured()
        self._stage = stage
        self._warm_up = sizes["warm_up"]
        self._few = (FEW_SYMBOLS, sizes["minutes"])
        self._many = (sizes["many_symbols"], sizes["many_minutes"])
        self._ours: Path | None = None
        self._steps = self._steps_of(set(parts))

    def _steps_of(self, parts: set[str]) -> dict[str, Step]:
        """By name, in an order that keeps what a ratio is made of close together in time."""
        steps: dict[str, Step] = {}
        if parts & {"replay", "cores", "symbols"}:
            steps["job_lstm32"] = self._with_onnx("job_lstm32", NETWORK)
        if "cores" in parts:
            steps["job_one_core"] = lambda n: self._job("job_one_core", n, cores=CORES[:1])
        if "symbols" in parts:
            steps["job_many_symbols"] = lambda n: self._job("job_many_symbols", n, size=self._many)
        if "cold" in parts:
            steps["cold_start"] = self._cold_start
        if "replay" in parts:
            steps["job_lstm50x2"] = self._with_onnx("job_lstm50x2", "lstm50x2")
            steps |= {name: self._other(name) for name in OTHERS}
        return steps

    def round(self, number: int, note: Callable[[str], None]) -> None:
        """Every contender once; the first round begins with ours, to compare the others with."""
        steps = list(self._steps.items())
        start = number % max(1, len(steps))
        for name, step in steps[start:] + steps[:start]:
            begun = time.monotonic()
            try:
                step(number)
            except (ContenderStuck, ProgramEnded) as error:
                # One of fifty starts costs its figure, not half an hour, and is reported.
                self.measured.failed.append(f"round {number + 1} {name}: {error}")
                note(self.measured.failed[-1])
            note(f"round {number + 1} {name}: {time.monotonic() - begun:.0f} s")

    def _job(
        self,
        name: str,
        number: int,
        network: str = NETWORK,
        size: tuple[int, int] | None = None,
        cores: tuple[int, ...] = CORES,
    ) -> None:
        size = size or self._few
        topic = self._stage.bars_topic(*size)
        job = self._stage.job(f"{name}-{number}", topic, network, cores, watch_cpu=True)
        self._stage.pin_broker(cores)
        try:
            replayed = replay_job(job, *size, self._warm_up)
        finally:
            self._stage.pin_broker(CORES)
        self.measured.replays.setdefault(name, {})[number] = replayed
        if name == "job_lstm32" and self._ours is None:
            self._ours = job.predictions_table
        else:
            self._stage.forget(job.output_topic)

    def _with_onnx(self, name: str, network: str) -> Step:
        """The job between two runs of ONNX Runtime alone: four seconds say little of a minute."""

        def step(number: int) -> None:
            before = onnx_alone(self._stage, network)
            self._job(name, number, network)
            alone = statistics.mean([before, onnx_alone(self._stage, network)])
            self.measured.onnx_alone.setdefault(network, {})[number] = alone

        return step

    def _other(self, name: str) -> Step:
        def step(number: int) -> None:
            output = f"{name}-{number}"
            topic = self._stage.bars_topic(*self._few)
            replayed = replay_other(self._stage, OTHERS[name], topic, output)
            assert self._ours is not None
            same = require_same(self._stage.broker, output, self._ours)
            counts = self.measured.same_predictions
            counts[name] = counts.get(name, 0) + same
            self._stage.forget(output)
            self.measured.replays.setdefault(name, {})[number] = replayed

        return step

    def _cold_start(self, number: int) -> None:
        topic = self._stage.bars_topic(FEW_SYMBOLS, LOOKBACK + 10)
        job = self._stage.job(f"cold-{number}", topic)
        self.measured.cold_start_s[number] = cold_start_s(job)
        self._stage.forget(job.output_topic)


def main(
    rounds: Annotated[int, typer.Option(help="of each contender")] = ROUNDS,
    only: Annotated[str, typer.Option(help="parts, with commas")] = ",".join(PARTS),
    quick: Annotated[bool, typer.Option("--quick", help="small sizes, to try it out")] = False,
) -> None:
    """Measure the stream against what people would use instead; print and write."""
    console, parts = Console(stderr=True), only.split(",")
    whole = set(parts) == set(PARTS) and rounds >= ROUNDS and not quick
    out = RESULTS if whole else Path("reports/bench.json")
    sizes = QUICK if quick else FULL
    about: dict[str, Any] = {"parts": parts, "whole_run": whole, "sizes": sizes}
    begun = time.monotonic()

    def save(rounds_done: int) -> dict[str, Any]:
        seconds = round(time.monotonic() - begun)
        content = report(run.measured, about | {"rounds_done": rounds_done, "seconds": seconds})
        write(out, content)
        return content

    with Stage() as stage:
        run = Run(stage, parts, sizes)
        for number in range(rounds if set(parts) - {"live"} else 0):
            run.round(number, console.print)
            save(number + 1)
        if "live" in parts:
            groups = QUICK_GROUPS if quick else FULL_GROUPS
            run.measured.live = run_live(stage, LIVE_SYMBOLS, rounds, groups)
        measured = save(rounds)
    print(table(measured))
    console.print(f"written to {out} after {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
