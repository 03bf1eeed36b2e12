"""`candlecast dashboard` and `candlecast api`: the page and the HTTP API, each in one process."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final

import typer

from conf.errors import CandlecastError
from conf.ports import bound_socket, require_free
from conf.settings import load_settings

PAGE: Final = Path(__file__).parent.parent / "dashboard" / "page.py"
# What the first visitor would otherwise wait for: these take seconds to import.
WARM: Final = ("plotly.graph_objects", "mlflow", "dashboard.sources")
# For requests under way at the end; a stream of events would never end.
GRACE_S: Final = 2
DASHBOARD_HELP: Final = "default: dashboard.port of the settings"


def streamlit_options(host: str, port: int) -> list[str]:
    """How the page is served: it phones nobody and watches no files."""
    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "global.developmentMode": "false",
    }
    return [f"--{name}={value}" for name, value in options.items()]


def dashboard(port: Annotated[int | None, typer.Option(help=DASHBOARD_HELP)] = None) -> None:
    """Serve the page until Ctrl-C."""
    settings = load_settings().dashboard
    chosen = port or settings.port
    require_free(chosen, settings.host, "dashboard.port")
    for name in WARM:
        import_module(name)
    from streamlit.web.cli import main

    typer.echo(f"The page is on http://{settings.host}:{chosen}")
    sys.stdout.flush()
    main(["run", str(PAGE), *streamlit_options(settings.host, chosen)])


def api(
    port: Annotated[int | None, typer.Option(help="default: dashboard.api_port")] = None,
) -> None:
    """Serve the HTTP API until Ctrl-C."""
    import uvicorn

    from dashboard.api import create_app

    settings = load_settings()
    host, chosen = settings.dashboard.api_host, port or settings.dashboard.api_port
    with bound_socket(host, chosen, "dashboard.api_port") as listener:
        server = uvicorn.Server(
            uvicorn.Config(create_app(settings), log_level="warning", timeout_graceful_shutdown=2)
        )
        address = f"http://{host}:{listener.getsockname()[1]}"
        typer.echo(f"The API is on {address}; its description at /openapi.json")
        sys.stdout.flush()
        server.run([listener])
    if not server.started:
        raise CandlecastError("the API could not start; the lines above say why")
