"""The Java runtime that the broker and Spark run on."""

import os
import re
import shutil
import subprocess
from typing import Final

from conf.errors import MissingPrerequisite

MINIMUM_VERSION: Final = 17
# For Java that lives for minutes: it compiles once, quickly. A broker's start takes half the CPU
# time, 4.6 s less; what lives longer runs faster without.
BRIEF: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


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
    try:
        said = subprocess.run([command, "-version"], capture_output=True, text=True, check=False)
    except OSError as error:  # for another processor, or no program at all
        raise MissingPrerequisite(
            f"Java {MINIMUM_VERSION} or newer is needed; {command} can't run: {error}"
        ) from error
    version = java_version(said.stderr)
    if version is None or version < MINIMUM_VERSION:
        found = f"is version {version}" if version else f"says {said.stderr.strip()[-100:]!r}"
        raise MissingPrerequisite(
            f"Java {MINIMUM_VERSION} or newer is needed; {command} {found}; "
            "set JAVA_HOME to a newer one"
        )
    return command


def java_version(said: str) -> int | None:
    """The version by what `java -version` says, or None; up to Java 8 it begins with `1.`.

    >>> java_version('openjdk version "1.8.0_412"'), java_version('java version "17" 2021-09-14')
    (8, 17)
    """
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else None
