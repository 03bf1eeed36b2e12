"""How a program ends: one way from an error of ours to a line for people and an exit code."""

import re
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from rich.console import Console

from conf.environment import pin
from conf.errors import DISK_FULL, CandlecastError, MissingPrerequisite
from conf.extras import of_an_extra
from jobs.terminal.stopping import end_on_signals

# Every program's last line about an error of ours begins so, and a supervisor looks for it.
LAST_LINE: Final = "candlecast: "


def run_program(main: Callable[[], object]) -> NoReturn:
    """Run a program's main function and end the process.

    An error of ours is one line on standard error and its exit code, not a stack trace, and so is
    a full disk, whoever met it, or an extra that is not installed; any other error is a defect:
    its stack trace, and exit code 70. Ctrl-C is a good end; SIGTERM and SIGHUP end it as an
    exception does. The result of `main` is the exit code where it is a number.
    """
    end_on_signals()
    try:
        pin()
        code = main()
    except CandlecastError as error:
        _end(error)
    except KeyboardInterrupt:
        sys.exit(0)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (missing := of_an_extra(error)):
            _end(missing)
        said = next((text for text in _texts(error) if re.search(DISK_FULL, text)), None)
        if said is None:
            traceback.print_exc()
            sys.exit(CandlecastError.exit_code)
        _end(MissingPrerequisite(f"the disk is full: free some space and start again ({said})"))
    sys.exit(code if isinstance(code, int) else 0)


def _end(error: CandlecastError) -> NoReturn:
    line = f"{LAST_LINE}{error}"
    Console(stderr=True, soft_wrap=True).print(line, style="red", markup=False, highlight=False)
    sys.exit(error.exit_code)


def _texts(error: BaseException | None) -> Iterator[str]:
    """The first line of what an error says, and of what it came from."""
    while error is not None:
        yield next(iter(str(error).splitlines()), "")
        error = error.__cause__ or error.__context__
