"""A real browser for the tests and the screenshots: the system's Chromium, without a window."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from conf.errors import MissingPrerequisite

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
# Nothing of these starts a download or asks anyone outside for anything.
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str:
    """The path of the browser; on Debian as root it is installed where it is missing.

    Raises MissingPrerequisite with what to do where it can't be had.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and Path("/etc/debian_version").exists() and os.geteuid() == 0:
        _install()
        found = shutil.which(NAMES[0])
    if found is None:
        raise MissingPrerequisite(
            "Chromium is missing: `apt-get install chromium`, or put one of "
            f"{', '.join(NAMES)} on the PATH; the page is tested in a real browser"
        )
    return found


def _install() -> None:
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run(
            ["apt-get", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise MissingPrerequisite(f"Chromium could not be installed: {' '.join(last)}")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A headless browser that ends with the `with` block."""
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
