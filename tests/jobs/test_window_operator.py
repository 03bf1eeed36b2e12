"""Of the operator, the driver only asks for its state variables."""

import subprocess
import sys
from typing import Final

HEAVY: Final = {"numpy", "pandas", "pyarrow", "onnxruntime", "pydantic"}


def test_a_start_waits_for_no_import_that_only_the_work_on_bars_needs() -> None:
    code = (
        "import sys, jobs.window_operator as operator\n"
        "operator.ShardWindows(operator.ShardSettings(60, 5, 2, 1), None)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "pyspark" in imported
    assert not imported & HEAVY
