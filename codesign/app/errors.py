"""With which message and exit code does a command end when something goes wrong?

A command -> the same command, which prints errors for people instead of raising.
"""

import functools
import inspect
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any

import typer

from codesign.core.errors import CodesignError

BUG, INFEASIBLE, INTERRUPTED = 1, 3, 4
AFTER_IMPORT = 0.05  # seconds until a stop that came within an import is tried again
STOPPED = (
    "Interrupted. Nothing was written in part; what was compiled is kept, and the "
    "same command starts again."
)

Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
]
_DEBUG = inspect.Parameter(
    "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug
)


class _Stop:
    """Whether somebody asked the program to end, and how far that has come.

    ``later`` tries it again after an import; a program that is ``ending`` cannot be
    stopped any more.
    """

    asked = False
    ending = False
    later: threading.Timer | None = None


def stop_on_signals() -> None:
    """Let Ctrl-C and SIGTERM end a command in the same way, wherever it is.

    Within an import the exception has to wait: modules in C++ turn it into another
    one, or end the process. Inside a callback of the interpreter it is lost; the note
    that it was asked for stays, for ``check_asked``.
    """
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)


def check_asked() -> None:
    """Stop here if somebody asked for it and the exception was lost or has to wait."""
    if _Stop.asked:
        _forget_later()
        raise KeyboardInterrupt


def ignore_stops() -> None:
    """Let nothing disturb the end of the program."""
    _Stop.ending = True
    _forget_later()


def _stop(number: int, frame: FrameType | None) -> None:
    if _Stop.ending:
        return
    _Stop.asked = True
    if not _is_importing(frame):
        raise KeyboardInterrupt
    if _Stop.later is None:
        _Stop.later = threading.Timer(AFTER_IMPORT, _stop_again, [number])
        _Stop.later.daemon = True
        _Stop.later.start()


def _stop_again(number: int) -> None:
    _Stop.later = None
    main = threading.main_thread().ident
    if sys.platform == "win32" or main is None:
        signal.raise_signal(number)
    else:
        signal.pthread_kill(main, number)


def _forget_later() -> None:
    later, _Stop.later = _Stop.later, None
    if later is not None:
        later.cancel()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """The command with ``--debug``, and with errors as messages and exit codes.

    0 done, 2 bad input, 3 infeasible, 4 interrupted, 1 a bug.
    """

    @functools.wraps(command)
    def run(*args: Any, debug: bool = False, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.BadParameter, BrokenPipeError):
            raise
        except CodesignError as error:
            complain(str(error))
            raise typer.Exit(error.exit_code) from error
        except (Exception, KeyboardInterrupt) as error:
            if _Stop.asked or isinstance(error, KeyboardInterrupt):
                ignore_stops()
                complain(STOPPED)
                raise typer.Exit(INTERRUPTED) from error
            complain(_bug_report(error, debug=debug))
            raise typer.Exit(BUG) from error

    return with_parameters(run, [*inspect.signature(command).parameters.values()])


def with_parameters(
    function: Callable[..., None], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """A function whose flags are the given parameters and, last, ``--debug``."""
    shown = [p for p in parameters if p.name != "debug"]
    function.__signature__ = inspect.Signature([*shown, _DEBUG])  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in [*shown, _DEBUG]}
    return function


def complain(message: str) -> None:
    """Print a message to the error stream."""
    typer.echo(message, err=True)


def _bug_report(error: Exception, *, debug: bool) -> str:
    if debug:
        import traceback

        return "".join(traceback.format_exception(error)).rstrip()
    text = str(error).partition("\n")[0]
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"This is a bug in codesign: {what}\nRun it again with --debug to see where."
