"""`make chaos ARGS="--kills 300 --seeds 3 --seed 7"`: kill what runs, again and again, and count.

A broker, ingest, the stream and what comes and goes beside it run in `warehouse/chaos`. Of several
seeds the first has a Spark cluster of two executors, the others have none, unless `--master` names
one for all. Exit code 0 says that nothing was lost, nothing written twice, every file can be read,
no process was left over and nothing needed a person but the two faults that do.
"""

import argparse
import logging
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from jobs.machine.processes import PROJECT_DIR
from tests.chaos.report import ChaosReport, save
from tests.chaos.run import run_chaos
from tests.chaos.world import World

FOLDER: Final = PROJECT_DIR / "warehouse" / "chaos"
LOCAL: Final = "local[2,4]"


def main() -> int:
    """Run, print the table, write `reports/chaos.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="processes to kill, of all seeds")
    parser.add_argument("--seed", type=int, default=0, help="the first, of order and moments")
    parser.add_argument("--seeds", type=int, default=1, help="runs, one after the other")
    parser.add_argument("--minutes", type=float, default=15.0, help="of a run, at the longest")
    parser.add_argument("--master", help="Spark's, such as local[2,4]; else a cluster of our own")
    parser.add_argument("--leaders", action="store_true", help="the champion reads two leaders")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="emptied first")
    parser.add_argument("--report", type=Path, default=PROJECT_DIR / "reports" / "chaos.json")
    args = parser.parse_args()
    console = Console()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # end what was started
    reports: list[ChaosReport] = []
    for number in range(args.seeds):
        shutil.rmtree(args.folder, ignore_errors=True)
        deadline = time.monotonic() + 60 * args.minutes
        world = World(args.folder, args.master or (LOCAL if number else None), args.leaders)
        kills = -(-args.kills // args.seeds)
        reports.append(run_chaos(world, kills, args.seed + number, deadline))
        reports[-1].print(console)
        save(reports, args.report)
    return 0 if all(report.good for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
