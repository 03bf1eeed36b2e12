"""`make screenshots`: pictures of the page, of whatever warehouse and broker the settings name.

Run it while `make demo` runs with its page (`PAGE_URL` names another address).
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser
from playwright.sync_api import Error as BrowserError

from conf.errors import MissingPrerequisite
from conf.events import event
from conf.settings import load_settings
from jobs.terminal.logs import configure_logging
from jobs.terminal.program import run_program
from tests.dashboard.browser import open_browser

log = logging.getLogger(__name__)

IMAGES: Final = Path(__file__).parents[2] / "docs" / "img"
TIMEOUT_MS: Final = 60_000
# The record comes behind the chart; a picture without it says little.
COMPLETE: Final = (".chart[data-ahead]:not([data-ahead=''])", ".pictures figure")


@dataclass(frozen=True)
class Shot:
    """A picture: its file, the view, the window and the colours."""

    file: str
    view: str
    width: int
    height: int
    scheme: str


SERIES: Final = "#s=BTC-USD&h=5"
SHOTS: Final = (
    Shot("page-light.png", SERIES, 1280, 1180, "light"),
    Shot("page-dark.png", SERIES, 1280, 1180, "dark"),
    Shot("page-phone.png", SERIES, 390, 1300, "light"),
)


def take(browser: Browser, url: str, shot: Shot, folder: Path) -> Path:
    """Open the page, wait until all of it is there, and save the picture."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme="dark" if shot.scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(f"{url}/{shot.view}", timeout=TIMEOUT_MS)
    for part in COMPLETE:
        page.wait_for_selector(part, timeout=TIMEOUT_MS)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / shot.file
    page.screenshot(path=file)
    context.close()
    return file


def main() -> None:
    """Take every picture. Raises MissingPrerequisite where no page answers."""
    configure_logging()
    settings = load_settings().dashboard
    url = os.environ.get("PAGE_URL", f"http://{settings.host}:{settings.port}")
    try:
        with open_browser() as browser:
            for shot in SHOTS:
                file = take(browser, url, shot, IMAGES)
                event(log, "picture", file=file, bytes=file.stat().st_size)
    except BrowserError as error:
        first = str(error).splitlines()[0]
        raise MissingPrerequisite(
            f"no picture of {url}: {first}; is the page running? `make demo` starts it"
        ) from error


if __name__ == "__main__":
    run_program(main)
