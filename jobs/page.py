"""`candlecast dashboard`: the page and the HTTP API, in one process.

`candlecast api` serves the same on the API's own address.
"""

import sys
from typing import Annotated, Final

import typer

from conf.errors import CandlecastError
from conf.ports import bound_socket
from conf.settings import Settings, load_settings

# For requests under way at the end; a stream of events would never end.
GRACE_S: Final = 2
DASHBOARD_HELP: Final = "default: dashboard.port of the settings"
API_HELP: Final = "default: dashboard.api_port"


def dashboard(
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help=DASHBOARD_HELP)] = None,
) -> None:
    """Serve the page and the HTTP API until Ctrl-C."""
    settings = load_settings()
    shown = settings.dashboard
    _serve(settings, "The page", shown.host, port or shown.port, "dashboard.port")


def api(
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help=API_HELP)] = None,
) -> None:
    """Serve the HTTP API until Ctrl-C."""
    settings = load_settings()
    shown = settings.dashboard
    _serve(settings, "The API", shown.api_host, port or shown.api_port, "dashboard.api_port")


def _serve(settings: Settings, what: str, host: str, port: int, setting: str) -> None:
    import uvicorn

    from dashboard.api import create_app

    with bound_socket(host, port, setting) as listener:
        config = uvicorn.Config(
            create_app(settings), log_level="warning", timeout_graceful_shutdown=GRACE_S
        )
        server = uvicorn.Server(config)
        address = f"http://{host}:{listener.getsockname()[1]}"
        typer.echo(f"{what} is on {address}; the API's description at {address}/openapi.json")
        sys.stdout.flush()
        server.run([listener])
    if not server.started:
        raise CandlecastError(f"{what.lower()} could not start; the lines above say why")
