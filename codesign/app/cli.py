"""``codesign``: the commands, their flags and their exit codes.

Commands import what is slow when they run, so that ``--help`` answers at once.
"""

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from codesign.app.calibrate import calibrate
from codesign.app.compare import compare
from codesign.app.doctor import doctor
from codesign.app.errors import guarded, ignore_stops, stop_on_signals
from codesign.app.evaluate import evaluate
from codesign.app.explore import explore
from codesign.app.grad_check import grad_check
from codesign.app.import_hf import import_hf
from codesign.app.init import init
from codesign.app.measure import measure
from codesign.app.merge import merge
from codesign.app.optimize import optimize
from codesign.app.output import own_version
from codesign.app.pareto import pareto
from codesign.app.presets import presets
from codesign.app.report import report
from codesign.app.rerun import rerun
from codesign.app.runs import runs
from codesign.app.scenarios import scenarios
from codesign.app.schema import schema
from codesign.app.sensitivity import sensitivity
from codesign.app.sweep import sweep
from codesign.app.validate import validate

EPILOG = (
    "Exit codes: 0 done, 2 bad input, 3 infeasible, 4 interrupted, 1 a bug. "
    "A parameter is named by its path in a design, such as chip.dram.bandwidth."
)

COMMANDS = (
    evaluate,
    optimize,
    pareto,
    scenarios,
    sweep,
    sensitivity,
    explore,
    compare,
    runs,
    rerun,
    merge,
    validate,
    calibrate,
    measure,
    grad_check,
    presets,
    import_hf,
    init,
    schema,
    report,
    doctor,
)

app = typer.Typer(
    name="codesign",
    help="Joules per token and latency of LLM inference, and the chip, model and "
    "deployment that are best together.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"codesign {own_version()}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print it."
        ),
    ] = False,
) -> None:
    """Joules per token and latency of LLM inference, and what is best together."""


for _command in COMMANDS:
    app.command()(guarded(_command))


def main() -> None:
    """Run the command that the arguments name."""
    stop_on_signals()
    app()


def run() -> NoReturn:
    """``main``, and the end of the process with its exit code.

    Threads are waited for, what was registered for the end is done and buffers are
    written, as Python does it. It would then take the interpreter apart, a second with
    compiled programs at hand, and forget the code of a search that was interrupted
    while a module in C was being imported.
    """
    code: str | int | None = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
        if isinstance(code, str):
            raise
    ignore_stops()
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
