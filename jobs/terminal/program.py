"""How a program ends: one way from an error of ours to a line for people and an exit code."""

import sys
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from rich.console import Console

from conf.errors import CandlecastError
from jobs.terminal.stopping import end_on_signals

# Every program's last line about an error of ours begins so, and a supervisor looks for it.
LAST_LINE: Final = "candlecast: "


def run_program(main: Callable[[], object]) -> NoReturn:
    """Run a program's main function and end the process.

    An error of ours is one line on standard error and its exit code, not a stack trace; any other
    one is a defect: its stack trace, and exit code 70. Ctrl-C is a good end; SIGTERM and SIGHUP end
    it as an exception does. The result of `main` is the exit code where it is a number.
    """
    end_on_signals()
    try:
        code = main()
    except CandlecastError as error:
        line = f"{LAST_LINE}{error}"
        Console(stderr=True, soft_wrap=True).print(line, style="red", markup=False, highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(0)
    except Exception:
        traceback.print_exc()
        sys.exit(CandlecastError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
