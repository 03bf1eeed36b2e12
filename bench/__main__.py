"""`make bench`: the stream against what people would use instead, all in one run.

One broker, the same bars, the same network for all. Every round runs every contender once, each
round beginning with another one. Then come the live rounds. Written after every step, so that a
run that breaks off leaves what it has; only a whole run of at least five rounds goes to
`bench/results.json`, the source of docs/performance.md. `--merge` puts parts that were measured
again there, and says that they come from another run.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bench.cold_start import cold_start_s
from bench.line_up import CORES, onnx_alone, replay_kafka_onnx, replay_paper, replay_quix
from bench.live import run_live
from bench.networks import LOOKBACK
from bench.outputs import require_same
from bench.replay import Replayed, new_job, replay_job
from bench.report import RESULTS, Measured, merged, report, show, write
from bench.stage import Stage
from bench.timeline import ContenderStuck
from jobs.machine.processes import ProgramEnded

ROUNDS: Final = 5
PARTS: Final = ("replay", "cores", "symbols", "cold", "live")
OTHERS: Final = {"kafka_onnx": replay_kafka_onnx, "paper": replay_paper, "quix": replay_quix}
# Minutes of the walk; the job's first micro-batches, of this many bars, warm it up.
FULL: Final = {"minutes": 5_060, "many_symbols": 10_000, "many_minutes": 100, "warm_up": 190_000}
QUICK: Final = {"minutes": 1_200, "many_symbols": 2_000, "many_minutes": 100, "warm_up": 1}
FEW_SYMBOLS: Final = 100
LIVE_SYMBOLS: Final = 1_000


class Run:
    """One run of the benchmark: what takes part, at which sizes, and what came of it."""

    def __init__(self, stage: Stage, parts: list[str], sizes: dict[str, int]) -> None:
        self.measured = Measured()
        self._stage = stage
        self._sizes = sizes
        self._topic = stage.bars_topic(FEW_SYMBOLS, sizes["minutes"])
        self._ours: Path | None = None
        self._steps: list[Callable[[int], None]] = []
        # What a ratio is made of lies close together: a machine's pace changes from hour to hour.
        if {"replay", "cores", "symbols"} & set(parts):
            self._steps.append(partial(self._beside_onnx, "job_lstm32", "lstm32"))
        if "cores" in parts:
            self._steps.append(partial(self._job, "job_one_core", "lstm32", cores=(0,)))
        if "symbols" in parts:
            self._steps.append(self._many_symbols)
        if "cold" in parts:
            self._steps.append(self._cold_start)
        if "replay" in parts:
            self._steps.append(partial(self._beside_onnx, "job_lstm50x2", "lstm50x2"))
            self._steps += [partial(self._other, name) for name in OTHERS]

    def round(self, number: int, note: Callable[[str], None]) -> None:
        """Every contender once; the first round begins with ours, to compare the others with."""
        start = number % max(1, len(self._steps))
        for step in self._steps[start:] + self._steps[:start]:
            begun = time.monotonic()
            name = getattr(step, "args", (getattr(step, "__name__", ""),))[0].strip("_")
            try:
                step(number)
            except (ContenderStuck, ProgramEnded) as error:
                # Half an hour is not thrown away for one of fifty starts, nor is it hushed up.
                self.measured.failed.append(f"round {number + 1} {name}: {error}")
                note(self.measured.failed[-1])
            note(f"round {number + 1} {name}: {time.monotonic() - begun:.0f} s")

    def _job(self, name: str, network: str, number: int, cores: tuple[int, ...] = CORES) -> None:
        replayed = self._replay(name, network, number, self._topic, FEW_SYMBOLS, cores)
        self._keep(name, number, replayed)

    def _many_symbols(self, number: int) -> None:
        n_symbols, minutes = self._sizes["many_symbols"], self._sizes["many_minutes"]
        topic = self._stage.bars_topic(n_symbols, minutes)
        replayed = self._replay("job_many_symbols", "lstm32", number, topic, n_symbols, CORES)
        self._keep("job_many_symbols", number, replayed)

    def _replay(
        self,
        name: str,
        network: str,
        number: int,
        topic: str,
        n_symbols: int,
        cores: tuple[int, ...],
    ) -> Replayed:
        job = new_job(self._stage, f"{name}-{number}", topic, network, cores)
        minutes = int(topic.rpartition("x")[2])
        self._stage.pin_broker(cores)
        try:
            replayed = replay_job(job, n_symbols, minutes, self._sizes["warm_up"])
        finally:
            self._stage.pin_broker(CORES)
        if name == "job_lstm32" and self._ours is None:
            self._ours = job.predictions_table
        else:
            self._stage.forget(job.predictions_topic)
        return replayed

    def _other(self, name: str, number: int) -> None:
        output = f"{name}-{number}"
        replayed = OTHERS[name](self._stage, output, self._topic, "lstm32")
        assert self._ours is not None
        compared = require_same(self._stage.broker, output, self._ours)
        same = self.measured.same_predictions
        same[name] = same.get(name, 0) + compared
        self._stage.forget(output)
        self._keep(name, number, replayed)

    def _beside_onnx(self, name: str, network: str, number: int) -> None:
        """The job between two runs of ONNX Runtime alone: four seconds say little of a minute."""
        before = onnx_alone(self._stage, network)
        self._job(name, network, number)
        alone = statistics.mean([before, onnx_alone(self._stage, network)])
        self.measured.onnx_alone.setdefault(network, {})[number] = alone

    def _keep(self, name: str, number: int, replayed: Replayed) -> None:
        self.measured.replays.setdefault(name, {})[number] = replayed

    def _cold_start(self, number: int) -> None:
        topic = self._stage.bars_topic(FEW_SYMBOLS, LOOKBACK + 10)
        name = f"cold-{number}"
        self.measured.cold_start_s.append(cold_start_s(self._stage, name, topic, "lstm32"))
        self._stage.forget(f"{name}-predictions")


def main() -> int:
    """Run, print and write."""
    args = parse_arguments()
    console = Console(stderr=True)
    parts = args.only.split(",") if args.only else list(PARTS)
    whole = set(parts) == set(PARTS) and args.rounds >= ROUNDS and not args.quick
    out = args.out or (RESULTS if whole else Path("reports/bench.json"))
    sizes = QUICK if args.quick else FULL
    about: dict[str, Any] = {"parts": parts, "whole_run": whole, "sizes": sizes, "rounds_done": 0}
    begun = time.monotonic()

    def save(rounds_done: int) -> dict[str, Any]:
        seconds = round(time.monotonic() - begun)
        content = report(run.measured, about | {"rounds_done": rounds_done, "seconds": seconds})
        write(out, content)
        return content

    with Stage() as stage:
        run = Run(stage, parts, sizes)
        for number in range(args.rounds if set(parts) - {"live"} else 0):
            run.round(number, console.print)
            save(number + 1)
        if "live" in parts:
            groups = (2, 1) if args.quick else (8, 1)
            run.measured.live = run_live(stage, LIVE_SYMBOLS, args.rounds, *groups)
        measured = save(args.rounds)
    show(measured, Console())
    if args.merge:
        write(RESULTS, merged(json.loads(RESULTS.read_text()), measured, parts))
    console.print(f"written to {out} after {time.monotonic() - begun:.0f} s")
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", help=f"parts with commas, of {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try it out")
    parser.add_argument("--merge", action="store_true", help=f"put the parts into {RESULTS}")
    parser.add_argument("--out", type=Path, help="where to, instead of the usual place")
    args = parser.parse_args()
    if args.merge and (args.rounds < ROUNDS or args.quick):
        parser.error(f"--merge takes whole parts: at least {ROUNDS} rounds, and not --quick")
    return args


if __name__ == "__main__":
    sys.exit(main())
