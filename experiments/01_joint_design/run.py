"""What does joint design gain over tuning, model, chip, or both in turn?

Study beside this file and markets/ -> README.md, figures, numbers.json and the
ladders in results/, from which the page is drawn again where the question is the
same.

    python experiments/01_joint_design/run.py            # the page
    python experiments/01_joint_design/run.py --small    # one market, few starts
    python experiments/01_joint_design/run.py --market edge --minimize usd_per_token
    python experiments/01_joint_design/run.py --stored   # draw the page only
"""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

import codesign as cd
from codesign.config.study import Study
from codesign.core.paths import path_units
from codesign.optimize import engine, search
from codesign.optimize.waterfall import GROUPS
from codesign.report.limits import limit_title
from codesign.report.texts import common_unit
from codesign.serving.design import Design
from experiments.common import figure as fig
from experiments.common.again import gains
from experiments.common.ladder import (
    ALL,
    CONTENDERS,
    HARDWARE,
    HIGHER,
    JOINT,
    LOWER,
    MODEL,
    NAMES,
    PERFECT,
    ROUNDS,
    SEARCHES,
    TUNED,
    TURNS,
    Draws,
    Ladder,
    Step,
    climb,
    climb_again,
    store,
    stored,
)
from experiments.common.page import (
    Run,
    band,
    clause,
    elasticity_table,
    interval,
    log,
    main,
    table,
    two,
)
from experiments.common.verdict import part

COMMAND = "python experiments/01_joint_design/run.py"
MARKETS = {
    "chat": "interactive chat",
    "agent": "a 32k agent",
    "edge": "one user at the edge",
    "offline": "offline batch",
}
JOULE, USD = "energy_per_token_server", "usd_per_token"
OBJECTIVES = {JOULE: "joules", USD: "dollars"}
DRAWS = {JOULE: Draws(24, 8), USD: Draws(24, 0)}  # of all constants, of quality
SMALL_DRAWS, SMALL_STARTS = Draws(2, 0), 16
FULL = ((search, "POLISH_TRIALS", 64),)
SMALL = ((engine, "GROUP", SMALL_STARTS), (search, "POLISH_TRIALS", 16))
"""Settings of the search: two fifths and a tenth of the usual polish."""
KINDS = {
    ALL: "all constants drawn",
    "quality": "quality law drawn",
    LOWER: "lower V_min",
    HIGHER: "higher V_min",
    PERFECT: "perfect software",
}
SAME = 5e-4  # of the objective, below which a difference is none
PAYS, NOISE = 0.05, 0.02  # of the objective: what counts, what the search scatters
COLORS = {
    HARDWARE: fig.SKY,
    MODEL: fig.ORANGE,
    TURNS: fig.GREEN,
    JOINT: fig.BLUE,
}
Key = tuple[str, str]
Found = Mapping[Key, Ladder]


def study_of(run: Run, key: Key) -> Study:
    """The study of a market and objective; that of chat is the run's own."""
    market, minimize = key
    if market == "chat":
        return dataclasses.replace(run.study, minimize=minimize)
    file = run.folder / "markets" / f"{market}.yaml"
    return cd.load_study(file, overrides=[f"minimize={minimize}"])


def kept_ladders(run: Run, keys: Sequence[Key]) -> Found:
    """The stored ladders, whatever is missing."""
    files = {key: run.out / "results" / f"{'_'.join(key)}.json" for key in keys}
    every = {key: stored(file, study_of(run, key)) for key, file in files.items()}
    found = {key: ladder for key, ladder in every.items() if ladder is not None}
    run.kept_seconds += sum(ladder.seconds for ladder in found.values())
    return found


def ladders(run: Run, keys: Sequence[Key], *, again: Sequence[Key]) -> Found:
    """The ladder of every market and objective, stored or climbed now."""
    found = {}
    for key in keys:
        study = study_of(run, key)
        path = run.out / "results" / f"{'_'.join(key)}.json"
        known = None if run.small or key in again else stored(path, study)
        if known is None:
            log.info("== %s, %s", *key)
            known = climb(study)
            store(known, path)
        else:
            run.kept_seconds += known.seconds
        if not known.again:
            log.info("== %s, %s, draws", *key)
            draws = SMALL_DRAWS if run.small else DRAWS[key[1]]
            known = climb_again(study, known, draws=draws)
            store(known, path)
        found[key] = known
    return found


@contextmanager
def short_search(run: Run) -> Iterator[None]:
    """A shorter polish, and few starts in the small setting, while this lasts."""
    if run.small:
        starts = dataclasses.replace(run.study.search, starts=SMALL_STARTS)
        run.study = dataclasses.replace(run.study, search=starts)
    settings = SMALL if run.small else FULL
    before = [getattr(module, name) for module, name, _ in settings]
    try:
        for module, name, value in settings:
            setattr(module, name, value)
        yield
    finally:
        for (module, name, _), value in zip(settings, before, strict=True):
            setattr(module, name, value)


def write(run: Run, *, again: Sequence[Key], as_stored: bool) -> None:
    """All numbers, figures and the page."""
    own = run.small or run.out != run.folder
    keys = (
        [("chat", run.study.minimize)]
        if own
        else [(market, minimize) for minimize in OBJECTIVES for market in MARKETS]
    )
    run.draws = (SMALL_DRAWS if run.small else DRAWS[JOULE]).all
    with short_search(run):
        found = (
            kept_ladders(run, keys) if as_stored else ladders(run, keys, again=again)
        )
    run.add("# 01 What does joint design gain?")
    claim(run, found)
    draw_gains(run, found)
    run.add("![Gain of every contender by market](gains.svg)")
    run.add(*where_not(found))
    run.add("## What the gain is made of")
    draw_waterfall(run, found)
    waterfall_tables(run, found)
    run.add("## How robust it is")
    draw_robust(run, found)
    robust_table(run, found)
    run.add("## Numbers")
    rung_tables(run, found)
    design_table(run, found)
    evidence(run, found)
    closing(run, found)


def drawn(found: Ladder, kind: str = ALL) -> dict[str, np.ndarray]:
    """Gain against the tuned baseline per draw, by contender; first the central.

    Of the legal designs alone where no draw was solved.
    """
    if kind not in found.again:
        return {name: np.array([found.gain(name)]) for name in CONTENDERS}
    each = gains(found.again[kind], CONTENDERS)
    return dict(zip(CONTENDERS, each, strict=True))


def beyond(found: Ladder, *names: str, kind: str = ALL) -> np.ndarray:
    """What joint design takes less than the best of some contenders, per draw."""
    each = drawn(found, kind)
    best = np.max([each[name] for name in names], axis=0)
    further = 1 - (1 - each[JOINT]) / (1 - best)
    return np.where(further < SAME, 0.0, further)


def known(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Markets x draws, without those in which a baseline cannot keep its limits."""
    most = max(len(row) for row in rows)
    values = np.array([row if len(row) > 1 else np.repeat(row, most) for row in rows])
    return values[:, np.isfinite(values).all(axis=0)]


def claim(run: Run, found: Found) -> None:
    """Verdict on claim 1."""
    parts = []
    for minimize, word in OBJECTIVES.items():
        some = [f for (_, m), f in found.items() if m == minimize]
        if some:
            least = known([beyond(f, MODEL, HARDWARE) for f in some]).min(axis=0)
            parts.append(
                part(
                    f"joint design takes over {100 * PAYS:.0f} % fewer {word} than the "
                    "better of model and chip alone in every market",
                    least > PAYS,
                )
            )
    most = [
        known([beyond(f, TURNS) for (_, m), f in found.items() if m == minimize]).max(
            axis=0
        )
        for minimize in dict.fromkeys(m for _, m in found)
    ]
    parts.append(
        part(
            f"it takes over {100 * NOISE:.0f} % less than the best model, then the "
            "best chip for it, and so on in turn, in some market",
            np.concatenate([most[0][:1], *(each[1:] for each in most)]) > NOISE,
        )
    )
    run.claim(
        1,
        "Co-design beats designing hardware and model in isolation; it is the paradigm "
        "of the next years.",
        parts=parts,
        gist=" ".join(gist(found)),
        surprise=f"""One search of model and chip together ends
        {span([100 * interval(beyond(f, TURNS))[0] for f in found.values()])} below
        designing them in turn, twice each: what pays is to design both, and that may
        be done one after the other.""",
    )


def gist(found: Found) -> Iterator[str]:
    """One sentence per objective, and what designing in turn leaves."""
    for minimize, word in OBJECTIVES.items():
        some = {k[0]: f for k, f in found.items() if k[1] == minimize}
        if not some:
            continue
        cells = [
            f"{band(100 * drawn(f)[JOINT], '%')} for {MARKETS[market]} (model alone "
            f"{two(100 * interval(drawn(f)[MODEL])[0])}, chip alone "
            f"{two(100 * interval(drawn(f)[HARDWARE])[0])})"
            for market, f in some.items()
        ]
        extra = [100 * interval(beyond(f, MODEL, HARDWARE))[0] for f in some.values()]
        yield (
            f"Of the tuned baseline's {word} joint design saves "
            f"{'; '.join(cells)}. It ends {span(extra)} below the better half alone."
        )
    left = [100 * interval(beyond(f, TURNS))[0] for f in found.values()]
    both = clause(
        [0.0, max(left) < 100 * NOISE],
        " What pays is designing both, at once or in turn.",
    )
    yield f"Designed in turn, twice each, the two end {span(left)} above it.{both}"


def span(values: Sequence[float]) -> str:
    """Least to most, in percent."""
    low, high = (two(max(x, 0.0) if abs(x) < 1e-9 else x) for x in
                 (min(values), max(values)))  # fmt: skip
    return f"{low} %" if low == high else f"{low} to {high} %"


def where_not(found: Found) -> list[str]:
    """Markets where joint design does not pay, in the words of the numbers."""
    lines = []
    for key, ladder in found.items():
        name = f"{MARKETS[key[0]]}, {OBJECTIVES[key[1]]}"
        half = beyond(ladder, MODEL, HARDWARE)
        turn = beyond(ladder, TURNS)
        best = max((MODEL, HARDWARE), key=ladder.gain)
        words = "pays" if interval(half)[0] > PAYS else "hardly pays"
        lines.append(
            f"- **{name}**: {words}: {band(100 * half, '%')} less than the better half "
            f"alone, which is the {'chip' if best == HARDWARE else best}; against both "
            f"in turn {band(100 * turn, '%')}."
        )
    return [
        "## Where joint design pays, and where it does not",
        *lines,
        f"""Differences under {100 * NOISE:.0f} % are none. {scatter(found)}""",
    ]


def scatter(found: Found) -> str:
    """How far apart the searches of a contender end, and where joint search ends."""
    apart = [
        100 * (max(step.searches) / min(step.searches) - 1)
        for ladder in found.values()
        for step in ladder.steps
        if len(step.searches) > 1
    ]
    own = {
        key: 100
        * (min(ladder.step(JOINT).searches, default=np.inf) / ladder.best.objective - 1)
        for key, ladder in found.items()
    }
    worst = max(own, key=lambda key: own[key])
    seeds = (
        f"Two searches of one contender end {two(float(np.median(apart)))} % apart in "
        f"the median and {two(max(apart))} % at most. "
        if apart
        else ""
    )
    harder = clause(
        [0.0, own[worst] > 100 * NOISE], ": the larger the space, the harder the search"
    )
    return (
        f"{seeds}The search of everything at once ends up to {two(own[worst])} % above "
        f"the best design known, for {MARKETS[worst[0]]} and "
        f"{OBJECTIVES[worst[1]]}{harder}."
    )


def draw_gains(run: Run, found: Found) -> None:
    """Percent saved by each contender, by market, a panel per objective."""
    panels = [m for m in OBJECTIVES if any(k[1] == m for k in found)]
    with fig.figure(run, "gains", columns=len(panels), size=(9.4, 5.2)) as made:
        for axes, minimize in zip(np.atleast_1d(made), panels, strict=True):
            some = {k[0]: f for k, f in found.items() if k[1] == minimize}
            for place, name in enumerate(COLORS):
                y = np.arange(len(some))[::-1] + 0.3 - 0.2 * place
                width = [100 * f.gain(name) for f in some.values()]
                label = {HARDWARE: "chip alone", MODEL: "model alone"}.get(name, name)
                axes.barh(y, width, height=0.18, color=COLORS[name], label=label)
                for at, f in zip(y, some.values(), strict=True):
                    _, low, high = interval(100 * drawn(f)[name])
                    axes.plot([low, high], [at, at], color=fig.BLACK, lw=1.4)
            names = [MARKETS[market] for market in some]
            axes.set_yticks(np.arange(len(some))[::-1], names)
            axes.grid(visible=False, axis="y")
            axes.set(
                xlabel=f"{OBJECTIVES[minimize]} per token saved [%]",
                xlim=(0, 100),
                xticks=range(0, 100, 20),
            )
            if axes is not np.atleast_1d(made)[0]:
                axes.set_yticklabels([])
        fig.legend_above(np.atleast_1d(made)[0], columns=4)


def draw_waterfall(run: Run, found: Found) -> None:
    """From tuned to joint by group of variables, a panel per market."""
    minimize = next(iter(found))[1]
    some = {k[0]: f for k, f in found.items() if k[1] == minimize}
    columns = min(2, len(some))
    rows = -(-len(some) // columns)
    with fig.figure(
        run, "waterfall", rows=rows, columns=columns, size=(8.2, 0.6 + 3.6 * rows)
    ) as made:
        panels = np.atleast_1d(made).ravel()
        for axes, (market, ladder) in zip(panels, some.items(), strict=True):
            bars, level = [("tuned", 0.0, 100.0, fig.GREY)], 100.0
            for group, share in shares(ladder):
                after = level * np.exp(share)
                color = fig.GREEN if share <= 0 else fig.RED
                bars.append((group, min(level, after), abs(after - level), color))
                level = after
            left = 100 * (1 - ladder.gain(JOINT))
            bars.append(("joint", 0.0, left, fig.BLUE))
            y = np.arange(len(bars))[::-1]
            for place, (_, start, width, color) in zip(y, bars, strict=True):
                axes.barh(place, width, left=start, color=color, height=0.66)
            axes.set_yticks(y, [b[0] for b in bars])
            axes.grid(visible=False, axis="y")
            label = f"{OBJECTIVES[minimize]}, % of tuned"
            axes.set(xlabel=label, title=MARKETS[market], xlim=(0, 105))
        for axes in panels:
            if not axes.get_subplotspec().is_first_col():
                axes.set_yticklabels([])
    run.add("![What the gain is made of](waterfall.svg)")


def shares(ladder: Ladder) -> list[tuple[str, float]]:
    """Shapley shares of ln objective in the order of the groups, all of them."""
    fall = ladder.waterfall or {"groups": [], "shares": [], "rounding": 0.0}
    known = dict(zip(fall["groups"], fall["shares"], strict=True))
    listed = [(g, known.get(g, 0.0)) for g, _ in GROUPS if g != "rest of the chip"]
    return [*listed, ("whole numbers", fall["rounding"])]


def waterfall_tables(run: Run, found: Found) -> None:
    """Shares of the gain by group."""
    keys = list(found)
    rows = [
        [group, *(signed(shares(found[key])[index][1]) for key in keys)]
        for index, (group, _) in enumerate(shares(found[keys[0]]))
    ]
    total = [signed(np.log1p(-found[key].gain(JOINT))) for key in keys]
    head = [f"{MARKETS[m]}, {OBJECTIVES[o]}" for m, o in keys]
    run.add(
        """Factors on the objective, averaged over all orders in which the groups may be
        freed (Shapley), all limits kept; they multiply:""",
        *table(["group of variables", *head], [*rows, ["all together", *total]]),
    )


def signed(logarithm: float) -> str:
    """A factor as its change."""
    share = 100 * float(np.expm1(logarithm))
    if abs(share) < 0.05:
        return "0 %"
    return f"{'+' if share > 0 else '−'}{two(abs(share))} %"


def draw_robust(run: Run, found: Found) -> None:
    """What joint design gains beyond the halves and the turns, by kind of draw."""
    colors = dict(zip(MARKETS, fig.COLORS, strict=False))
    minimize = next(iter({k[1] for k in found if k[1] == JOULE} or {USD}))
    some = {k[0]: f for k, f in found.items() if k[1] == minimize}
    kinds = [kind for kind in KINDS if kind in next(iter(some.values())).again]
    with fig.figure(run, "robust", columns=2, size=(9.4, 5.0)) as panels:
        for axes, names, title in zip(
            panels,
            ((MODEL, HARDWARE), (TURNS,)),
            ("beyond the better half alone", "beyond both in turn"),
            strict=True,
        ):
            for place, (market, ladder) in enumerate(some.items()):
                y = np.arange(len(kinds))[::-1] + 0.24 - 0.16 * place
                cells = [
                    interval(100 * beyond(ladder, *names, kind=kind)) for kind in kinds
                ]
                middle = [cell[0] for cell in cells]
                axes.plot(middle, y, "o", color=colors[market], label=MARKETS[market])
                for at, (_, low, high) in zip(y, cells, strict=True):
                    axes.plot([low, high], [at, at], color=colors[market], lw=2)
            axes.set_yticks(np.arange(len(kinds))[::-1], [KINDS[k] for k in kinds])
            axes.set(xlabel=f"{OBJECTIVES[minimize]} saved [%]", title=title)
            axes.axvline(0, color=fig.GREY, lw=1)
        panels[1].set(yticklabels=[], xlim=panels[0].get_xlim())
        fig.legend_above(panels[0], columns=4)
    run.add(
        "![What joint design gains beyond either half, by kind of draw](robust.svg)"
    )


def robust_table(run: Run, found: Found) -> None:
    """Gains by kind of draw."""
    rows = []
    for (market, minimize), ladder in found.items():
        for kind, title in KINDS.items():
            if kind in ladder.again:
                each = drawn(ladder, kind)
                half = beyond(ladder, MODEL, HARDWARE, kind=kind)
                rows.append(
                    [
                        f"{MARKETS[market]}, {OBJECTIVES[minimize]}",
                        title,
                        *(band(100 * each[name]) for name in (HARDWARE, MODEL, TURNS)),
                        band(100 * each[JOINT]),
                        band(100 * half),
                        band(100 * beyond(ladder, TURNS, kind=kind)),
                    ]
                )
    head = ["market", "constants", "chip alone", "model alone", "in turn", "joint"]
    head += ["joint beyond better half", "joint beyond in turn"]
    run.add(
        f"""Percent saved against the baseline tuned under the same constants,
        {run.draws} draws of all constants, every contender
        solved again in each: listed choices are those of the designs below and their
        neighbours, whole numbers and tiles are continuous.
        {left_out(found)}""",
        *table(head, rows),
        """Perfect software is the `ideal` stack for all contenders; else it is the
        baseline's own. A new chip has no software of its own that was measured.""",
    )


def left_out(found: Found) -> str:
    """How many draws have no gain, since the baseline fails in them."""
    count = {
        f"{MARKETS[market]}, {OBJECTIVES[minimize]}": int(
            np.sum(~np.isfinite(drawn(ladder)[JOINT]))
        )
        for (market, minimize), ladder in found.items()
    }
    words = [f"{number} for {name}" for name, number in count.items() if number]
    bare = [
        f"{MARKETS[market]}, {OBJECTIVES[minimize]}"
        for (market, minimize), ladder in found.items()
        if ALL not in ladder.again
    ]
    kept = (
        "Draws in which even the tuned baseline cannot keep its limits are left out: "
        f"{'; '.join(words)}."
        if words
        else "In every draw the baseline can keep its limits."
    )
    return f"{kept} Not drawn: {'; '.join(bare)}." if bare else kept


def rung_tables(run: Run, found: Found) -> None:
    """One table per market and objective: every contender's legal design."""
    budget = next(iter(found.values())).starts
    run.add(
        f"""Every contender starts from the tuned baseline and has the same budget:
        {SEARCHES * budget} starts in {SEARCHES} search{"es" if SEARCHES > 1 else ""}
        (in turn: in {2 * ROUNDS} searches), then the choices, rounding and polish.
        *Joint* is the best of all, since whatever one half reaches the joint space
        holds too; *searched* is what a contender's own search ended at."""
    )
    for (market, minimize), ladder in found.items():
        word = OBJECTIVES[minimize]
        rows = [rung_row(ladder, name) for name in NAMES]
        head = ["contender", "against tuned", "searched", "J/token"]
        head += ["USD/Mtoken", "ms/token", "first token [ms]", "chip [mm²]", "gap"]
        run.add(f"**{MARKETS[market].capitalize()}, least {word}:**")
        run.add(*table([*head, "limits kept"], rows))


def rung_row(ladder: Ladder, name: str) -> list[str]:
    """Cells of one contender."""
    own = ladder.step(name)
    step = ladder.best if name == JOINT else own
    tuned = ladder.step(TUNED).objective
    ends = [signed(float(np.log(x / tuned))) for x in own.searches]
    facts = step.metrics
    return [
        name,
        signed(float(np.log(step.objective / tuned))),
        ", ".join(sorted(ends, reverse=True)) if name in CONTENDERS else "",
        two(facts[JOULE]),
        two(facts[USD] * 1e6),
        two(facts["time_per_output_token"] * 1e3),
        two(facts["time_to_first_token"] * 1e3),
        two(facts["chip.area"] * 1e6),
        f"{step.gap:+.2f}".replace("-", "−"),
        "yes" if step.feasible else f"no: {step.worst}",
    ]


def design_table(run: Run, found: Found) -> None:
    """Variables of the tuned and the joint designs."""
    units = path_units(Design)
    columns: list[tuple[str, Step]] = []
    for (market, minimize), ladder in found.items():
        if not any(title.startswith(f"{MARKETS[market]}, t") for title, _ in columns):
            columns.append((f"{MARKETS[market]}, tuned", ladder.step(TUNED)))
        columns.append((f"{MARKETS[market]}, {OBJECTIVES[minimize]}", ladder.best))
    paths = list(dict.fromkeys(path for _, step in columns for path in step.values))
    rows = []
    for path in paths:
        values = [step.values.get(path, np.nan) for _, step in columns]
        known = [value for value in values if np.isfinite(value)]
        unit, scale = common_unit(known, units[path])
        title = f"`{path}`{f' [{unit}]' if unit not in ('', '1') else ''}"
        rows.append([title, *(cell(value, path, scale=scale) for value in values)])
    run.add("The tuned baselines and the joint designs:")
    run.add(*table(["variable", *(title for title, _ in columns)], rows))


def cell(value: float, path: str, *, scale: float) -> str:
    """Whole numbers of model and deployment in full, the rest in two digits."""
    if not np.isfinite(value):
        return ""
    whole = path.startswith(
        ("model.", "deployment.batch", "deployment.tensor", "chip.dram.stacks")
    )
    return f"{value:.0f}" if whole else two(value / scale)


def evidence(run: Run, found: Found) -> None:
    """Limits, prices, agreement."""
    rows = []
    for (market, minimize), ladder in found.items():
        proof = ladder.evidence
        prices = [
            f"{limit_title(b['name'])}: {two(b['price'])}"
            for b in proof["binding"]
            if b["price"] >= 0.005
        ]
        rows.append(
            [
                f"{MARKETS[market]}, {OBJECTIVES[minimize]}",
                "; ".join(prices) or "none",
                ", ".join(f"`{text}`" for text in proof["at_bound"]) or "none",
                two(proof["kkt"]),
            ]
        )
    head = ["joint design", "shadow prices", "variables at a bound", "KKT residual"]
    run.add(
        """What holds the joint designs: percent of the objective per percent of the
        limit (quality: per 0.01 of the gap):""",
        *table(head, rows),
    )


def closing(run: Run, found: Found) -> None:
    """What matters most, what would change it, caveats."""
    entries = [
        (
            f"{MARKETS[market]}, {OBJECTIVES[minimize]}, joint",
            list(ladder.evidence["elasticities"].items())[:5],
        )
        for (market, minimize), ladder in found.items()
    ]
    run.add(
        "## What matters most",
        "At the joint optimum with its limits held, ranked by elasticity times spread:",
        *elasticity_table(entries),
        "## What would change the verdict",
        """- The law of quality: most of the model's share comes from experts and
        narrower formats, which the law rewards within the range of its evidence. A law
        that rewards them less leaves more to the chip.""",
        """- A wider box: memory other than HBM or GDDR, chips of another style, several
        chips per phase. Joint design gains most where both halves have to move
        together, and here they keep the baseline's style.""",
        """- A model that is given: then the chip alone is all there is to design, and
        gains what its row says.""",
        """- Post-training quantisation of the baseline, which its bits do not use here,
        would move *tuned* and *formats*.""",
        """No pair of designs of this kind is measured: the numbers are the calibrated
        model's alone.""",
    )


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options; --market climbs one ladder of the page again."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--market", choices=MARKETS)
    parser.add_argument("--minimize", choices=OBJECTIVES)
    parser.add_argument("--again", action="store_true", help="climb all anew")
    parser.add_argument("--stored", action="store_true", help="climb nothing")
    options, rest = parser.parse_known_args(arguments)
    chosen = options.again or options.market or options.minimize
    again = [
        (market, minimize)
        for market in MARKETS
        for minimize in OBJECTIVES
        if chosen
        and options.market in {None, market}
        and options.minimize in {None, minimize}
    ]
    change = "request.output_length=512"
    work = partial(write, again=again, as_stored=options.stored)
    return main(__file__, work, change=change, arguments=rest)


if __name__ == "__main__":
    run_experiment()
