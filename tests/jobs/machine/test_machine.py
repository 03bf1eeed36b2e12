"""What a machine lacks is said in one line, not in a stack trace."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conf.errors import MissingPrerequisite
from conf.ports import free_port, require_free
from jobs.machine.java import java_command
from jobs.machine.processes import PROJECT_DIR


def check_machine(python: str, path: str) -> str:
    """What `conf/check_machine.sh` says, where only `path` is searched for Java."""
    environment = {"PATH": path}
    done = subprocess.run(
        ["/bin/sh", "conf/check_machine.sh", python, "1"],
        env=environment,
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip()


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with the tools that the script needs, and no Java."""
    for name in ("sed", "head", "df", "awk"):
        found = next(
            folder / name
            for folder in map(Path, os.environ["PATH"].split(os.pathsep))
            if (folder / name).exists()
        )
        (tmp_path / name).symlink_to(found)
    return tmp_path


def fake_java(folder: Path, version: str) -> None:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)


def test_no_java_is_said_in_one_line(tools: Path) -> None:
    message = check_machine(sys.executable, str(tools))
    assert message.startswith("candlecast: no Java found")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(("says", "version"), [("1.8.0_412", 8), ("11.0.2", 11), ("9", 9)])
def test_an_old_java_is_said_in_one_line(
    says: str, version: int, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(tools, says)
    message = check_machine(sys.executable, str(tools))
    assert message == (
        f"candlecast: Java 17 or newer is needed; java is version {version}; "
        "set JAVA_HOME to a newer one"
    )
    monkeypatch.setenv("PATH", f"{tools}:/bin:/usr/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingPrerequisite, match=f"java is version {version}; set JAVA_HOME"):
        java_command()


def test_no_python_is_said_in_one_line(tools: Path) -> None:
    assert check_machine("", str(tools)).startswith("candlecast: no Python found")


def test_a_machine_with_both_passes(tools: Path) -> None:
    fake_java(tools, "21.0.1")
    assert check_machine(sys.executable, str(tools)) == ""


def test_the_broker_says_which_java_is_missing(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingPrerequisite, match="no Java found"):
        java_command()


def test_a_port_in_use_is_named() -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(
            MissingPrerequisite, match=rf"{port} \(Address already in use\): end the program"
        ):
            require_free(port)
