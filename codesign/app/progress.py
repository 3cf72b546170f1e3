"""How does a run tell how far it is? A bar, a line now and then, or JSON."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

INTERVAL = 10.0  # seconds between lines where no terminal shows a bar

Show = Callable[[Mapping[str, Any]], None]


def run_progress(*, as_json: bool, quiet: bool) -> Show:
    """What shows events: JSON lines on the error stream, a bar, or lines."""
    if as_json:
        return _json_line
    if quiet:
        return _nothing
    return Bar() if sys.stderr.isatty() else Lines()


def _json_line(event: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(event), err=True)


def _nothing(_: Mapping[str, Any]) -> None:
    pass


class Lines:
    """One line per interval, and one at the start and the end."""

    def __init__(self, *, interval: float = INTERVAL) -> None:
        self.interval = interval
        self.last = time.monotonic()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show an event if it is time to."""
        now = time.monotonic()
        if event["event"] == "shard" and now - self.last < self.interval:
            return
        self.last = now
        typer.echo(event_text(event), err=True)


class Bar:
    """A bar with rate and time left on a terminal."""

    def __init__(self) -> None:
        self.shown: Progress | None = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Move the bar; the first event makes it, the last one ends it."""
        if event["event"] == "shard":
            self._move(event)
            return
        if self.shown is not None:
            self.shown.stop()
            self.shown = None
        typer.echo(event_text(event), err=True)

    def _move(self, event: Mapping[str, Any]) -> None:
        from rich.console import Console
        from rich.progress import Progress

        if self.shown is None:
            self.shown = Progress(console=Console(stderr=True), transient=True)
            self.shown.add_task("shards", total=event["total"])
            self.shown.start()
        (task,) = self.shown.task_ids
        text = f"{event['points_per_second']:.0f} points/s"
        self.shown.update(task, completed=event["done"], description=text)


def event_text(event: Mapping[str, Any]) -> str:
    """An event as a line for people."""
    if event["event"] == "stage":
        return str(event["text"])
    place = f"{event['done']} of {shards_text(event['total'])}"
    if event["event"] == "shard":
        rate, left = event["points_per_second"], event["seconds_left"]
        return f"{place}  {rate:.0f} points/s  {left:.0f} s left"
    if event["event"] == "start":
        return f"{place} are there" if event["reused"] else place
    if event["event"] == "computed":
        new, old, spent = event["computed"], event["reused"], event["seconds"]
        return f"computed {shards_text(new)}, reused {old}, in {spent:.1f} s"
    return f"{event['event']}: {place}"


def shards_text(number: int) -> str:
    """A number of shards in words."""
    return "1 shard" if number == 1 else f"{number} shards"
