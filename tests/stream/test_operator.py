"""Of the operator, the driver only asks for its state variables."""

import subprocess
import sys
from typing import Final

HEAVY: Final = {"numpy", "pandas", "pyarrow", "onnxruntime", "pydantic"}
AS_SPARK_ON_THE_DRIVER: Final = """
import sys
from unittest.mock import Mock
from stream.operator import ShardWindows
from stream.state.settings import ShardSettings

handle = Mock()
ShardWindows(ShardSettings(60, 5, 2, 1), news_silent_ms=1).init(handle)
calls = [*handle.getValueState.call_args_list, *handle.getMapState.call_args_list]
print(*[call.args[0] for call in calls])
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_a_start_waits_for_no_import_that_only_the_work_on_bars_needs() -> None:
    code = [sys.executable, "-c", AS_SPARK_ON_THE_DRIVER]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    variables, imported = done.stdout.splitlines()
    assert variables.split() == ["head", "shard", "news", "changes"]
    assert not set(imported.split()) & HEAVY
