"""``codesign explore``: sliders, live metrics and exact gradients on a local page."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from codesign.app.errors import complain
from codesign.app.flags import Json
from codesign.app.output import own_version
from codesign.core.errors import CodesignError, InputError

HOST = "127.0.0.1"
PORT = 8642
File = Annotated[
    str | None,
    typer.Argument(
        metavar="[STUDY.yaml|DESIGN.yaml|RUN]",
        help="Study (file or preset), design file, or folder of a run. "
        "Default: the study joint_chat.",
        show_default=False,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one parameter or entry of the study. Repeatable.",
    ),
]
Port = Annotated[
    int,
    typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one."),
]
Runs = Annotated[
    Path, typer.Option("--runs", metavar="DIR", help="Folder that holds the runs.")
]
Quiet = Annotated[
    bool, typer.Option("--no-browser", help="Do not open the page in a browser.")
]


def explore(
    file: File = None,
    *,
    overrides: Changes = None,
    port: Port = PORT,
    runs: Runs = Path("runs"),
    no_browser: Quiet = False,
    as_json: Json = False,
) -> None:
    """Open a page with sliders for chip, model, workload and deployment.

    Under every slider stands the exact elasticity of the chosen metric; one click
    takes a gradient step, another searches the unlocked variables. The page is
    served on this machine alone, and loads nothing from elsewhere. Ctrl-C ends it.

    Example: codesign explore joint_chat
    """
    place = _listen(port)
    url = f"http://{HOST}:{place.getsockname()[1]}/"
    if as_json:
        import json

        typer.echo(json.dumps({"url": url}))
    else:
        typer.echo(f"codesign {own_version()}  explore {url}   (Ctrl-C ends it)")
    if not no_browser:
        import webbrowser

        webbrowser.open(url)
    _serve(place, file, overrides=overrides or [], runs=runs)


def _listen(port: int) -> socket.socket:
    """A socket on loopback, on the port or a free one if that is taken.

    Raises:
        InputError: a port was asked for by number and cannot be had.
    """
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((HOST, port))
    except OSError as error:
        if port != PORT:
            place.close()
            text = f"--port {port}: cannot be had ({error.strerror}). Use --port 0."
            raise InputError(text) from error
        place.bind((HOST, 0))
    place.listen()
    return place


def _serve(
    place: socket.socket, file: str | None, *, overrides: list[str], runs: Path
) -> None:
    """Answer requests until somebody ends the program."""
    import uvicorn

    from codesign.explore.server import Tell, build_app

    def opening(progress: Tell) -> object:
        progress("starting JAX")
        from codesign.app.start import start_jax

        start_jax()
        from codesign.explore.opening import open_session

        progress("reading presets")
        try:
            session = open_session(file, overrides=overrides, runs=runs)
        except CodesignError as error:
            complain(str(error))
            raise
        session.warm(progress)
        return session

    settings = uvicorn.Config(
        build_app(opening), log_level="warning", timeout_graceful_shutdown=1
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(settings).run(sockets=[place])
