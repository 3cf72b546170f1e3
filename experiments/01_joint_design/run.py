"""What does joint design gain over tuning, formats, model or hardware alone?

Study beside this file -> README.md and ladder.svg beside this file.

    python experiments/01_joint_design/run.py            # the page
    python experiments/01_joint_design/run.py --small    # mechanics, few starts
    python experiments/01_joint_design/run.py --market edge --minimize usd_per_token
"""

import argparse
import dataclasses
import logging
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

import numpy as np

import codesign as cd
from codesign.app.start import start_jax
from codesign.config.limits import Limit
from codesign.config.study import Study
from codesign.core.paths import get_path, path_units
from codesign.core.quantities import Unit
from codesign.cost.record import Cost
from codesign.optimize import Result, engine, ladder, optimize, search
from codesign.optimize.problem import build_problem, log_constraint
from codesign.optimize.result import Rung
from codesign.optimize.space import build_space
from codesign.outcome.answer import metric
from codesign.report.limits import limit_title
from codesign.report.texts import change, common_unit

HERE = Path(__file__).resolve().parent
COMMAND = "python experiments/01_joint_design/run.py"
CHAT = "chat"
MARKETS = (CHAT, "agent", "edge", "offline")
OBJECTIVES = {
    "energy_per_token_server": (
        "energy per output token, at the server's plug",
        "J",
        1,
    ),
    "usd_per_token": ("dollars per output token", "USD/M", 1e6),
}
"""Title, unit and scale of what may be minimised; the first is that of the page."""
ROUNDS, SEEDS = 2, 3
SMALL_STARTS = 16
SMALL = ((engine, "GROUP", SMALL_STARTS), (search, "POLISH_TRIALS", 16))
ALONE = "joint, alone"
STRUCTURAL = ("chips", "tensor heads", "expert ranks", "active experts")
AT_LIMIT = 1e-3  # ln(use / limit) above minus this is at its limit
METRICS = {
    "energy_per_token_server": "energy per token",
    "time_per_output_token": "time per output token",
    "time_to_first_token": "time to first token",
    "usd_per_token": "dollars per token",
    "chip.area": "chip area",
}
FREE = {
    "as given": "nothing",
    "tuned": "deployment: batch, tensor parallelism, power limit, voltages",
    "formats": "deployment, bits of weights and KV",
    "model": "deployment, model",
    "hardware": "deployment, chip",
    "alternating": "model, then chip, each with its deployment, rounds: {rounds}",
    ALONE: "everything at once; known is only the tuned baseline",
    "joint": "everything at once; known are all designs above",
}
log = logging.getLogger("ladder")


@dataclasses.dataclass(frozen=True)
class Climb:
    """The ladder's result, and joint searches that knew no other rung.

    ``alone`` is the one with the ladder's seed, ``seeds`` are the objectives of
    all of them.
    """

    result: Result
    alone: Rung
    rounds: int
    seconds: float
    seeds: tuple[float, ...]

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """All rungs in the order of the page."""
        *before, joint = self.result.rungs
        return (*before, self.alone, joint)

    def searches(self, rung: Rung) -> int:
        """How many searches a rung takes besides those that it starts from."""
        counts = {"as given": 0, "alternating": 2 * self.rounds}
        return counts.get(rung.name, 1)


def climb(study: Study, *, rounds: int, seeds: int) -> Climb:
    """Every rung, each search with the same number of starts."""
    result = ladder(study, rounds=rounds, progress=log.info)
    singles = []
    for seed in range(study.search.seed, study.search.seed + seeds):
        log.info("[%s, seed %d]", ALONE, seed)
        search = dataclasses.replace(study.search, seed=seed)
        other = dataclasses.replace(study, search=search)
        singles.append(optimize(other, progress=log.info))
    return Climb(
        result,
        alone=dataclasses.replace(singles[0].best, name=ALONE),
        rounds=rounds,
        seconds=result.seconds + sum(single.seconds for single in singles),
        seeds=tuple(single.best.objective for single in singles),
    )


def page(found: Climb, *, small: bool) -> str:
    """The experiment's page; every number comes from the run."""
    result, study = found.result, found.result.study
    command = f"{COMMAND} --small" if small else COMMAND
    prose = [
        "# 01 What does joint design gain?",
        f"""**No verdict is given before constants and quality are calibrated** (claim 1
        stays open until then): this page shows the mechanics of the ladder on one
        market, {study.name}. With today's constants the joint design takes
        {versus(result.best, found)} {OBJECTIVES[study.minimize][0]}, against the
        *tuned* baseline, within the same limits on
        latency, dollars per token, die area and model quality; searched without
        knowing the other rungs it takes {versus(found.alone, found)}.""",
        "![Energy per output token of every rung](ladder.svg)",
        "## Rungs",
        *metric_table(found),
        """Percentages refer to the tuned baseline. The quality gap is the logarithm of
        the training compute that the model is worth less than the baseline's.""",
        *freedom_table(found),
        f"""A search is {study.search.starts} starts of the descent and of the choices,
        then the polish; every search has the same budget. *Alternating* spends
        {found.searches(result.rungs[-2])} of them in turn, *joint* one, but the joint
        search knows the designs of all rungs above it and cannot end worse. What one
        search of everything finds by itself is *{ALONE}*. Seed {study.search.seed};
        {seed_words(found)}""",
        "## Designs",
        *variable_table(found),
        "At a limit, within 0.1 %:",
        *(
            f"- **{rung.name}**: {', '.join(at_limits(found, rung)) or 'none'}"
            for rung in found.rungs[1:]
        ),
        "## Evidence",
        *evidence(found),
        "## What to keep in mind",
        *CAVEATS,
        f"""- Rounding costs {two_digits(100 * result.gap):g} % against the same choices
        with integers left continuous on the smoothed model; that is no bound on the
        optimum.""",
        "## Run again",
        f"""`{command}` took {found.seconds / 60:.1f} minutes
        on two shared cores and writes this page and its figure; the questions asked
        stand in [study.yaml](study.yaml).""",
    ]
    return joined(prose)


CAVEATS = (
    """- Constants of stack, power and technology are starting values with the sources
    named in `configs/`; they are not calibrated jointly, and no spread is drawn.""",
    """- Quality is the mean of the scaling laws of `configs/quality/`. The search goes
    where the law rewards it (experts, formats, shape); the range of its evidence is a
    limit of the study, but a law fitted inside that range can still be wrong.""",
    """- The baseline's bits are those of its preset. Post-training quantisation, which
    the law does not describe, would move *tuned* and *formats*.""",
    "- One request shape and one baseline.",
)


def seed_words(found: Climb) -> str:
    """How far searches of everything with different seeds lie apart."""
    if len(found.seeds) == 1:
        return "no other seed was tried."
    spread = 100 * (max(found.seeds) / min(found.seeds) - 1)
    return (
        f"{len(found.seeds)} seeds of *{ALONE}* end within {two_digits(spread):g} % of "
        "each other, and gains below that are none."
    )


def joined(parts: Sequence[str]) -> str:
    """Paragraphs wrapped at 80 columns; tables, lists and headings stay together."""
    lines: list[str] = []
    for part in parts:
        text = " ".join(part.split())
        block = text[:2] in {"| ", "|-", "- "}
        if lines and not (block and lines[-1][:2] in {"| ", "|-", "- ", "  "}):
            lines.append("")
        if text.startswith(("|", "!", "#")):
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


def versus(rung: Rung, found: Climb) -> str:
    """Relative change of the objective against the tuned baseline."""
    return change(rung.objective, found.result.baseline.objective)


def two_digits(value: float) -> float:
    """The value rounded to two digits."""
    return float(f"{value:.2g}")


def metric_table(found: Climb) -> list[str]:
    """One line per rung: metrics, change, quality gap, limits kept."""
    units, columns = path_units(Cost), []
    for path, title in METRICS.items():
        values = [float(get_path(rung.cost, path)) for rung in found.rungs]
        unit, scale = common_unit(values, units[path])
        cells = [f"{two_digits(value / scale):g}" for value in values]
        columns.append((f"{title} [{unit}]", cells))
    changes = [versus(rung, found) for rung in found.rungs]
    columns.insert(1, ("against tuned", changes))
    gaps = [f"{float(rung.quality.gap):+.2f}" for rung in found.rungs]
    columns.append(("quality gap", gaps))
    kept = ["yes" if r.feasible else f"no: {r.worst}" for r in found.rungs]
    columns.append(("limits kept", kept))
    return table(found, columns)


def freedom_table(found: Climb) -> list[str]:
    """What each rung may change, from where, and for how many searches."""
    free = [FREE[r.name].format(rounds=found.rounds) for r in found.rungs]
    searches = [str(found.searches(rung)) for rung in found.rungs]
    return table(found, [("may change", free), ("searches", searches)])


def variable_table(found: Climb) -> list[str]:
    """The free variables of the study and the voltages, one line each."""
    names = [rung.name for rung in found.rungs]
    lines = [f"| variable | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for variable in build_space(found.result.study).variables:
        values = [float(get_path(r.design, variable.path)) for r in found.rungs]
        exact = bool(variable.choices or variable.multiple or variable.integer)
        unit, scale = ("", 1.0) if exact else common_unit(values, Unit(variable.unit))
        cells = [f"{v if exact else two_digits(v / scale):g}" for v in values]
        title = f"`{variable.path}`{f' [{unit}]' if unit else ''}"
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def table(found: Climb, columns: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """A Markdown table with one line per rung."""
    titles = " | ".join(title for title, _ in columns)
    lines = [f"| rung | {titles} |", "|---" * (len(columns) + 1) + "|"]
    for rung, *cells in zip(found.rungs, *(c for _, c in columns), strict=True):
        lines.append(f"| {rung.name} | {' | '.join(cells)} |")
    return lines


def at_limits(found: Climb, rung: Rung) -> list[str]:
    """Limits of the study and of every design that a rung has used up."""
    study, tuned = found.result.study, found.result.baseline
    asked = [limit for limit in study.limits if not (limit.baseline and rung is tuned)]
    uses = {
        limit.text: float(
            log_constraint(
                limit, rung, design=rung.design, bound=bound_of(limit, tuned)
            )
        )
        for limit in asked
    }
    always = build_problem(study, build_space(study)).always
    uses |= {limit_title(name): float(metric(rung, name)) for name in always}
    return [
        name for name, use in uses.items() if use > -AT_LIMIT and name not in STRUCTURAL
    ]


def bound_of(limit: Limit, tuned: Rung) -> float:
    """Right side of a limit; one on the baseline refers to the tuned one."""
    if limit.baseline:
        return limit.factor * float(metric(tuned, limit.metric))
    return np.nan if limit.value is None else limit.value


def evidence(found: Climb) -> list[str]:
    """Shadow prices at the joint design, bounds reached, and agreement."""
    result = found.result
    proof = result.evidence
    if proof is None:
        return []
    prices = [
        f"- {limit_title(b.name)}: {two_digits(b.price):g}"
        for b in proof.binding
        if b.price >= 0.005
    ]
    bounds = ", ".join(f"`{text}`" for text in proof.at_bound) or "none"
    return [
        """Shadow prices at the joint design, percent of the objective per percent of
        the limit (quality: per 0.01 of the gap):""",
        *prices,
        f"""Variables at a bound of their box: {bounds}. Largest violation of the
        conditions of optimality, at the relaxed optimum of the joint design's choices:
        {two_digits(proof.kkt):g}. Share of relaxed starts within 0.1 % of the best:
        {two_digits(100 * result.best.agreement):g}\N{NO-BREAK SPACE}%.""",
    ]


def chart(found: Climb) -> str:
    """Bars of the objective over the rungs, as an SVG."""
    rungs = found.rungs
    title, unit, scale = OBJECTIVES[found.result.study.minimize]
    top = max(rung.objective for rung in rungs)
    bar, left, width = 34, 110, 420
    rows = []
    for index, rung in enumerate(rungs):
        y = 34 + index * bar
        length = width * rung.objective / top
        colour = "#0072B2" if rung.name != "as given" else "#999999"
        label = f"{two_digits(scale * rung.objective):g} {unit} ({versus(rung, found)})"
        rows.append(
            f'<text x="{left - 8}" y="{y + 17}" text-anchor="end">'
            f'{escape(rung.name)}</text><rect x="{left}" y="{y}" '
            f'width="{length:.0f}" height="24" fill="{colour}"/>'
            f'<text x="{left + length + 6:.0f}" y="{y + 17}">{label}</text>'
        )
    height, bars = 44 + bar * len(rungs), "\n".join(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="680" height="{height}" '
        f'font-family="sans-serif" font-size="13">'
        f'<rect width="680" height="{height}" fill="white"/>'
        f'<text x="{left}" y="20">{escape(title)} [{unit}]; '
        f"change against tuned</text>\n{bars}</svg>\n"
    )


def smaller(study: Study) -> Study:
    """The study with few starts, for a look at the mechanics."""
    return dataclasses.replace(
        study, search=dataclasses.replace(study.search, starts=SMALL_STARTS)
    )


@contextmanager
def short_polish() -> Iterator[None]:
    """A polish of a twelfth of the trials while this lasts."""
    before = [getattr(module, name) for module, name, _ in SMALL]
    try:
        for module, name, value in SMALL:
            setattr(module, name, value)
        yield
    finally:
        for (module, name, _), value in zip(SMALL, before, strict=True):
            setattr(module, name, value)


def main(arguments: Sequence[str] | None = None) -> Climb:
    """Climb the ladder and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few starts, one round")
    parser.add_argument("--out", type=Path, help="folder of the page")
    parser.add_argument("--market", choices=MARKETS, default=CHAT)
    parser.add_argument(
        "--minimize", choices=OBJECTIVES, default=next(iter(OBJECTIVES))
    )
    options = parser.parse_args(arguments)
    main_page = options.market == CHAT and options.minimize == next(iter(OBJECTIVES))
    own = Path("runs/01_joint_design")
    if not main_page:
        own = own.with_name(f"{own.name}_{options.market}_{options.minimize}")
    folder = options.out or (HERE if main_page and not options.small else own)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    start_jax()
    file = "study.yaml" if options.market == CHAT else f"markets/{options.market}.yaml"
    study = cd.load_study(HERE / file, overrides=[f"minimize={options.minimize}"])
    if options.small:
        with short_polish():
            found = climb(smaller(study), rounds=1, seeds=1)
    else:
        found = climb(study, rounds=ROUNDS, seeds=SEEDS)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ladder.svg").write_text(chart(found), encoding="utf-8")
    text = page(found, small=options.small)
    (folder / "README.md").write_text(text, encoding="utf-8")
    log.info("%s", folder / "README.md")
    return found


if __name__ == "__main__":
    main()
