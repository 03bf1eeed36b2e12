"""`make chaos ARGS="--kills 200 --seed 7"`: kill what runs, again and again, and count the rows.

A broker, ingest, the stream and, unless `--master` names another, a Spark cluster of two
executors run in `warehouse/chaos`. Exit
code 0 says that nothing was lost, nothing written twice, nothing needed a person but the two
faults that do.
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
from tests.chaos.run import run_chaos
from tests.chaos.world import World

FOLDER: Final = PROJECT_DIR / "warehouse" / "chaos"


def main() -> int:
    """Run, print the table, write `reports/chaos.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25, help="processes to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the order and the moments")
    parser.add_argument("--minutes", type=float, default=10.0, help="when to end at the latest")
    parser.add_argument("--master", help="Spark's, such as local[2,4]; else a cluster of our own")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="emptied first")
    parser.add_argument("--report", type=Path, default=PROJECT_DIR / "reports" / "chaos.json")
    args = parser.parse_args()
    console = Console()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # end what was started
    shutil.rmtree(args.folder, ignore_errors=True)
    deadline = time.monotonic() + 60 * args.minutes
    report = run_chaos(World(args.folder, args.master), args.kills, args.seed, deadline)
    report.save(args.report)
    report.print(console)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
