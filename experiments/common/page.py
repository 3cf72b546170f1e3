"""How does an experiment become a page? Text around numbers of the run.

Verdicts, figures, tables, times -> README.md; and the options of every script.
"""

import argparse
import json
import logging
import math
import os
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import codesign as cd
from codesign.app.start import start_jax
from codesign.config.study import Study
from experiments.common.verdict import MORE_LIKELY, Part, judge

DATA = "CODESIGN_DATA"
FULL_DRAWS, SMALL_DRAWS = 128, 16
BAND = (0.05, 0.95)
LOG_RANGE = 1e4  # numbers beyond this, or below one in it, are written as powers
log = logging.getLogger("experiment")


@dataclass
class Run:
    """One run of an experiment: its settings, and what it has written.

    ``draws`` of the constants are taken; ``kept_seconds`` is the time that results
    took which the run found stored.
    """

    folder: Path
    study: Study
    small: bool
    out: Path
    data: Path | None
    draws: int
    parts: list[str] = field(default_factory=list[str])
    claims: dict[int, str] = field(default_factory=dict[int, str])
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])
    figures: list[str] = field(default_factory=list[str])
    started: float = field(default_factory=time.monotonic)
    kept_seconds: float = 0.0

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    def values(self, path: str) -> list[float]:
        """Swept values of a parameter in the study."""
        plan = self.study.sweep
        axes = {} if plan is None else {axis.path: axis.values for axis in plan.axes}
        return [float(x) for x in axes[path]]

    def add(self, *texts: str) -> None:
        """Paragraphs, headings, list entries or table lines of the page."""
        self.parts += texts

    def claim(
        self,
        number: int,
        text: str,
        *,
        parts: Sequence[Part],
        gist: str,
        surprise: str = "",
    ) -> str:
        """A verdict with the statements behind it, and what of it surprised."""
        word = judge(parts)
        self.claims[number] = word
        self.numbers[f"claim {number}"] = {
            "verdict": word,
            "gist": flat(gist),
            "statements": {p.statement: round(p.share, 3) for p in parts},
            "surprise": flat(surprise),
        }
        self.add(f"**Claim {number}: {word}.** *{text}* {gist}")
        self.add(
            *(
                f"- {p.statement}: {p.word} ({100 * p.share:.0f} % of the draws)."
                for p in parts
            )
        )
        return word


def main(
    script: str | Path,
    write: Callable[[Run], None],
    *,
    change: str,
    arguments: Sequence[str] | None = None,
) -> Run:
    """Read the options of a script, run it, write its page and its numbers.

    ``change`` is the example of one number changed: ``path=value``.
    """
    folder = Path(script).resolve().parent
    parser = argparse.ArgumentParser(description=f"Experiment {folder.name}.")
    parser.add_argument("--small", action="store_true", help="few draws and points")
    parser.add_argument("--out", type=Path, help="folder of the page")
    parser.add_argument("--data", type=Path, help="folder of the measured data")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    start_jax()
    study = cd.load_study(folder / "study.yaml", overrides=options.set)
    own = options.small or bool(options.set)
    run = Run(
        folder=folder,
        study=study,
        small=options.small,
        out=options.out or (Path("runs") / folder.name if own else folder),
        data=options.data or _data(folder),
        draws=SMALL_DRAWS if options.small else FULL_DRAWS,
    )
    run.out.mkdir(parents=True, exist_ok=True)
    write(run)
    seconds = time.monotonic() - run.started + run.kept_seconds
    run.add("## Run again", *_again(run, seconds, change=change))
    (run.out / "README.md").write_text(joined(run.parts), encoding="utf-8")
    numbers = json.dumps(run.numbers, indent=1, ensure_ascii=False, default=float)
    (run.out / "numbers.json").write_text(numbers + "\n", encoding="utf-8")
    log.info("%s (%.0f s)", run.out / "README.md", seconds)
    return run


def _data(folder: Path) -> Path | None:
    """The folder of measured data, named by the environment or beside the checkout."""
    named = os.environ.get(DATA)
    beside = folder.parents[2] / "shared" / "data"
    path = Path(named) if named else beside
    return path if path.is_dir() else None


def _again(run: Run, seconds: float, *, change: str) -> list[str]:
    command = f"python experiments/{run.name}/run.py"
    small = " --small" if run.small else ""
    length = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} minutes"
    return [
        f"""`{command}{small}` took {length} on two shared cores and writes this page,
        its figures and [numbers.json](numbers.json); `--small` stays below a minute.
        The questions asked stand in [study.yaml](study.yaml): change a number there
        and run again, or""",
        f"`{command} --set {change}`",
        f"""which writes to `runs/{run.name}/`. Each band is the 5 to 95 % range over
        {run.draws} draws of the constants of technology, chip style, price and stack
        within the spread that their sources give, each shared by all chips that hold
        it; first stands the median. Systems are taken as fully used.""",
    ]


def measured(
    run: Run, name: str, *, summarise: Callable[[Path], Any]
) -> tuple[Any, str]:
    """A summary of measured data, and where it is from.

    Taken from the data where they are at hand, and kept beside the page; else what was
    kept.
    """
    kept = run.folder / f"{name}.json"
    if run.data is not None:
        found = json.loads(json.dumps(summarise(run.data), default=float))
        text = json.dumps(found, indent=1, ensure_ascii=False)
        if run.out == run.folder:
            kept.write_text(text + "\n", encoding="utf-8")
        return found, "summarised from the data by this run"
    found = json.loads(kept.read_text(encoding="utf-8"))
    return found, f"the stored summary [{name}.json]({name}.json), data not at hand"


def two(value: float) -> str:
    """Two digits, without exponents where they can be avoided.

    Example:
        >>> two(0.04567), two(1234.0), two(2.5e7)
        ('0.046', '1200', '2.5e7')
    """
    if not math.isfinite(value):
        return "–"
    short = float(f"{value:.2g}")
    if short == 0:
        return "0"
    size = abs(short)
    if size >= LOG_RANGE * 10 or size < 1 / LOG_RANGE:
        mantissa, _, exponent = f"{short:.1e}".partition("e")
        mantissa = mantissa.removesuffix(".0").replace("-", "−")
        return f"{mantissa}e{int(exponent)}".replace("e-", "e−")
    digits = max(0, 1 - math.floor(math.log10(size)))
    return f"{short:.{digits}f}".replace("-", "−")


def interval(values: ArrayLike) -> tuple[float, float, float]:
    """Median and 5 to 95 % band of the draws, which follow the central value."""
    data = np.asarray(values, float)
    drawn = data[1:] if len(data) > 1 else data
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float(data[0]), math.nan, math.nan
    low, middle, high = np.quantile(drawn, (BAND[0], 0.5, BAND[1]))
    return float(middle), float(low), float(high)


def band(values: ArrayLike, unit: str = "", *, scale: float = 1.0) -> str:
    """Median and band of the draws as text; the first value, the central one, is none.

    Example:
        >>> band([9.0, 1.0, 2.0, 3.0], "J")
        '2.0 J (1.1–2.9)'
    """
    middle, low, high = (x / scale for x in interval(values))
    text = f"{two(middle)} {unit}".rstrip()
    if two(low) == two(high):
        return text
    return f"{text} ({two(low)}–{two(high)})"


def clause(true: ArrayLike, text: str, *, other: str = "") -> str:
    """Words that depend on what was found: those of most of the draws.

    The first entry, at the central constants, is no draw.

    Example:
        >>> clause([0.0, 1.0, 1.0], "cheaper", other="dearer")
        'cheaper'
    """
    found = np.atleast_1d(np.asarray(true, float))
    share = float(np.mean(found[1:] if found.size > 1 else found))
    return text if share > MORE_LIKELY else other


def flat(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def elasticity_table(
    found: Sequence[tuple[str, Sequence[tuple[str, float]]]],
) -> list[str]:
    """Strongest constants by metric: percent per percent."""
    rows = [
        (title, ", ".join(f"`{path}` {value:+.2f}" for path, value in entries))
        for title, entries in found
    ]
    return table(["of", "percent per percent of the constant"], rows)


def joined(parts: Sequence[str]) -> str:
    """Paragraphs wrapped at 80 columns; tables, lists and headings stay together."""
    lines: list[str] = []
    for part in parts:
        text = flat(part)
        block = text[:2] in {"| ", "|-", "- "}
        if lines and not (block and lines[-1][:2] in {"| ", "|-", "- ", "  "}):
            lines.append("")
        if text.startswith(("| ", "|-", "!", "#", "`python")):
            lines.append(text)
        else:
            indent = "  " if block else ""
            lines += textwrap.wrap(
                text,
                80,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join([*lines, ""])
