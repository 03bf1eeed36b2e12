"""The Java runtime that the broker and Spark run on."""

import os
import re
import shutil
import subprocess
from typing import Final

from conf.errors import MissingPrerequisite

MINIMUM_VERSION: Final = 17


def java_command() -> str:
    """The path of a Java that is new enough.

    Raises MissingPrerequisite naming what was looked for and what was found.
    """
    home = os.environ.get("JAVA_HOME")
    wanted = f"{home}/bin/java" if home else "java"
    command = shutil.which(wanted)
    if command is None:
        raise MissingPrerequisite(
            f"no Java found (looked for {wanted}); install version {MINIMUM_VERSION} or newer"
        )
    answer = subprocess.run([command, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', answer.stderr)
    if found is None or int(found[1]) < MINIMUM_VERSION:
        raise MissingPrerequisite(
            f"Java {MINIMUM_VERSION} or newer is needed; {command} says "
            f"{answer.stderr.strip().splitlines()[:1]}; set JAVA_HOME to a newer one"
        )
    return command
