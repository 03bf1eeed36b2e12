"""Other installations than this one: programs that find only the packages of one lock file."""

import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

from jobs.machine.processes import PROJECT_DIR

HIDE: Final = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name in ABSENT else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def locked(file: Path) -> set[str]:
    """`name==version` of each package of a lock file."""
    return set(re.findall(r"^[a-z0-9.-]+==[^ ;]+", file.read_text(), re.MULTILINE))


@cache
def absent(lock_file: Path, *besides: str) -> frozenset[str]:
    """The modules that an installation by `lock_file`, and of the packages `besides`, lacks."""
    has = {*besides, *(package.partition("==")[0] for package in locked(lock_file))}
    return frozenset(
        module
        for module, owners in packages_distributions().items()
        if has.isdisjoint(re.sub(r"[-_.]+", "-", owner).lower() for owner in owners)
    )


def run_without(
    modules: frozenset[str], code: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run Python `code` where none of `modules` can be imported."""
    hidden = f"ABSENT = set({json.dumps(sorted(modules))})\n{HIDE}\n{code}"
    return subprocess.run(
        [sys.executable, "-c", hidden, *arguments],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
