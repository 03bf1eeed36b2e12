"""`make fuzz ARGS="--messages 1000000 --seed 1"`: hostile topics, a hostile warehouse, real jobs.

Exit code 0 says that the stream never stopped, that every message is a row of `bars` or was
rejected with a reason, that no program's memory grew with what it had read, and that over hostile
predictions, rejections and files no reader ended and each good series was answered for.
`--only exchanges` says that what ingest published of exchanges whose websockets go wrong, for
simulated days, is what REST has (about five minutes a day and three exchanges).
"""

import argparse
import logging
import shutil
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.report import write
from jobs.machine.processes import PROJECT_DIR
from tests.fuzz.exchanges import ALL, fuzz_exchanges
from tests.fuzz.readers import fuzz_readers
from tests.fuzz.run import run_fuzz

PARTS: Final = ("stream", "readers", "exchanges")
FOLDER: Final = PROJECT_DIR / "warehouse" / "fuzz"


def main() -> int:
    """Run, print the balance, write `reports/fuzz.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=100_000, help="on each topic of the page")
    parser.add_argument("--files", type=int, default=300, help="of the warehouse, spoilt")
    parser.add_argument("--days", type=float, default=10.0, help="of exchanges' websockets")
    parser.add_argument("--faults", type=int, default=500, help="of all exchanges in these days")
    parser.add_argument("--exchanges", nargs="*", default=ALL, help=", ".join(ALL))
    parser.add_argument("--leaders", action="store_true", help="the champion reads two leaders")
    parser.add_argument("--only", choices=PARTS, help="one part; else the first two")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="emptied first")
    parser.add_argument("--report", type=Path, default=PROJECT_DIR / "reports" / "fuzz.json")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    shutil.rmtree(args.folder, ignore_errors=True)
    good = True
    if args.only in (None, "stream"):
        report = run_fuzz(args.folder / "stream", args.messages, args.seed, args.leaders)
        report.save(args.report)
        report.print(Console())
        good = report.good
    if args.only in (None, "readers"):
        readers = fuzz_readers(args.folder / "readers", args.records, args.files, args.seed)
        write(args.report.with_name(f"{args.report.stem}-readers.json"), vars(readers))
        Console().print_json(data=vars(readers))
        good = good and not readers.failures
    if args.only == "exchanges":
        logging.getLogger("ingest").setLevel(logging.CRITICAL)
        live = fuzz_exchanges(args.days, args.faults, args.seed, args.exchanges)
        write(args.report.with_name(f"{args.report.stem}-exchanges.json"), vars(live))
        Console().print_json(data=vars(live))
        good = good and live.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
