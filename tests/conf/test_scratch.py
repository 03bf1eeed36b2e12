"""A folder for a while is gone afterwards, however its program ended."""

import os
import subprocess
import sys
from pathlib import Path

from conf.scratch import scratch

MAKE = """
import os, sys
from pathlib import Path
from conf.scratch import scratch
with scratch("example", Path(sys.argv[1])) as made:
    print(made, flush=True)
    os.kill(os.getpid(), 9)
"""


def left_by_a_killed_program(place: Path) -> Path:
    done = subprocess.run([sys.executable, "-c", MAKE, place], capture_output=True, text=True)
    assert done.returncode == -9
    return Path(done.stdout.strip())


def test_a_folder_is_there_for_a_while(tmp_path: Path) -> None:
    with scratch("example", tmp_path) as made:
        (made / "file").write_text("something")
    assert not made.exists()


def test_what_a_killed_program_left_goes_with_the_next(tmp_path: Path) -> None:
    left = left_by_a_killed_program(tmp_path)
    assert left.is_dir()
    with scratch("example", tmp_path):
        assert not left.exists()


def test_what_a_running_program_uses_stays(tmp_path: Path) -> None:
    of_the_parent = tmp_path / f"candlecast-example-{os.getppid()}-abc"
    of_an_unknown = tmp_path / "candlecast-example-nobody"
    of_another_kind = tmp_path / "candlecast-other-0-abc"
    kept = (of_the_parent, of_an_unknown, of_another_kind)
    for folder in kept:
        folder.mkdir()
    with scratch("example", tmp_path) as first, scratch("example", tmp_path) as second:
        assert first.is_dir()
        assert second.is_dir()
        assert all(folder.is_dir() for folder in kept)


def test_where_ids_come_again_the_folder_of_one_before_goes(tmp_path: Path) -> None:
    before = tmp_path / f"candlecast-example-{os.getpid()}-abc"
    before.mkdir()
    with scratch("example", tmp_path):
        assert not before.exists()
