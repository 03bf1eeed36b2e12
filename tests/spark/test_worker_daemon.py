"""Python processes that nobody is left to work for end by themselves."""

import subprocess
import sys

# What holds the pipe of the output is alive: reading it to its end waits for all of them. Nothing
# else ends them: no connection of theirs closes.
DAEMON = """
import os, signal
from spark.worker_daemon import end_with_parent
end_with_parent()
if os.fork() == 0:
    print("worker", flush=True)
while True:
    signal.pause()
"""
STARTER = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {DAEMON!r}])
"""


def start(code: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "worker\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=60)


def test_a_worker_ends_when_the_process_that_forked_it_is_killed() -> None:
    killed(start(DAEMON))


def test_the_forking_process_and_its_workers_end_when_spark_is_killed() -> None:
    killed(start(STARTER))
