"""`make fuzz ARGS="--messages 1000000 --seed 1"`: a hostile topic, and the real job.

Exit code 0 says that the stream never stopped, that every message is a row of `bars` or was
rejected with a reason, and that no program's memory grew with what it had read.
"""

import argparse
import logging
import shutil
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from jobs.machine.processes import PROJECT_DIR
from tests.fuzz.run import run_fuzz

FOLDER: Final = PROJECT_DIR / "warehouse" / "fuzz"


def main() -> int:
    """Run, print the balance, write `reports/fuzz.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="emptied first")
    parser.add_argument("--report", type=Path, default=PROJECT_DIR / "reports" / "fuzz.json")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    shutil.rmtree(args.folder, ignore_errors=True)
    report = run_fuzz(args.folder, args.messages, args.seed)
    report.save(args.report)
    report.print(Console())
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
