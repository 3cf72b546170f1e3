"""Fill the scorecard: how wrong is the model on models that it has not seen?

    python docs/scorecard.py DATA [--keep FOLDER]

DATA is the folder of measured data. Calibrates every stack of the plan ``PLAN`` and
those of vLLM 0.5 with one model left out at a time, scores ratios between runs that
differ in one thing, kernels, chips and boundaries outside of the fit; fills
``docs/score_page.txt`` into ``docs/scorecard.md``, draws its pictures and writes the
table between the two marks of ``README.md``. With FOLDER, parts that were computed
before are read from there, so that a run that was stopped goes on.
"""

import argparse
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from other_machines import (
    cross_vendor_rows,
    server_rows,
    unseen_chip_groups,
    unseen_chip_rows,
    wall_rows,
)
from score_plots import draw
from score_tables import (
    ITL,
    JOULES,
    batch_table,
    constant_tables,
    elasticity,
    errors,
    first_token_table,
    interval_table,
    latency_table,
    markdown,
    ratio_table,
    score_table,
)
from score_targets import Evidence, target_table

from codesign.calibrate.calibrate import (
    Calibration,
    calibrate,
    calibrate_together,
)
from codesign.calibrate.deltas import deltas
from codesign.calibrate.groups import ALL
from codesign.calibrate.kernel_report import validate_kernels
from codesign.calibrate.score import Score
from codesign.calibrate.validate import MILLISECONDS
from codesign.config.plans import Part, load_plan
from codesign.core.checks import enable_x64
from codesign.core.quantities import Unit
from codesign.report.texts import quantity

BEGIN, END = "<!-- scorecard:begin -->", "<!-- scorecard:end -->"
ROOT = Path(__file__).resolve().parents[1]
PLAN = "public"
FULL_TIME = {"H100": "vllm-0.11-h100", "B200": "vllm-0.11-b200"}
"""Stacks of the plan whose times are a law of the chip too."""
TUNED = ("tuned-hopper", "tuned-b200")
OLD = "mlenergy-v2"  # runs of vLLM 0.5, to which power alone is fitted
POWER_TABLES = ("kernels_gemm", "kernels_attention", "kernels_moe")
KERNEL_TABLES = (*POWER_TABLES, "kernels_comm")
PRIOR_MATURITY = 1.25
FIRST_ENGINE = "vllm"  # its recipes hold no request back
T = TypeVar("T")
INTRODUCTION = """\
Errors on measured serving runs of **models that the fit has not seen** (one model
left out at a time; MAPE / median in percent; runs that the source flags as irregular
are not used). Energy is that of the chips per output token, prefill included. A
repeated measurement differs by 3 % (H100) to 5-10 % (B200). Of vLLM 0.5 only power was
fitted."""
PAGE = ROOT / "docs" / "score_page.txt"


def main() -> None:
    """Read the arguments, compute, write."""
    parser = argparse.ArgumentParser(description="Write docs/scorecard.md.")
    parser.add_argument("data", type=Path, help="folder of the measured data")
    parser.add_argument("--keep", type=Path, help="folder of parts already computed")
    options = parser.parse_args()
    enable_x64()
    write(options.data, keep=options.keep)


def write(data: Path, *, keep: Path | None) -> None:
    """Compute all parts and write the page, its pictures and the README's table."""
    rows, models, latency, vendors, mlperf = (
        data / f"{name}.csv"
        for name in ("serving", "models", "serving_latency", "cross_vendor", "mlperf")
    )

    known = Parts(keep)
    plan = load_plan(PLAN, data=data)
    fitted = known.part(
        "calibration-plan",
        lambda: calibrate_together(list(plan.parts.values()), plan.models),
    )
    stacks = dict(zip(plan.parts, fitted, strict=True))
    power = Part(rows=rows, chip="A100-SXM4-40GB", source=OLD, constants="power")
    newer_chip = replace(
        power,
        chip="H100",
        kernels=tuple(data / f"{name}.csv" for name in POWER_TABLES),
        kernel_chip="H200",
    )
    found = {chip: stacks[stack] for chip, stack in FULL_TIME.items()} | {
        f"{name}, vLLM 0.5": known.part(
            f"calibration-old-{name}", lambda part=part: calibrate(part, models)
        )
        for name, part in (("A100", power), ("H100", newer_chip))
    }
    engines = [stacks[stack] for stack in TUNED]
    first = known.part(
        "first-tokens",
        lambda: calibrate(
            Part(
                rows=latency,
                chip="H100,H200,B200",
                engine=FIRST_ENGINE,
                constants="first_token",
            ),
            models,
        ),
    )
    tables = [data / f"{name}.csv" for name in KERNEL_TABLES]
    kernels = known.part("kernels", lambda: validate_kernels(tables).fits)
    unseen = known.part("unseen", lambda: unseen_chip_groups(rows, models))
    others, unmatched = known.part("vendors", lambda: cross_vendor_rows(vendors))
    wall = known.part("wall", lambda: wall_rows(mlperf))
    served = known.part("served", lambda: server_rows(mlperf))
    pairs, newer = (
        deltas([p for calibration in group for p in calibration.unseen])
        for group in (found.values(), engines)
    )
    (whole,) = (g for g in unseen[PRIOR_MATURITY] if g.kind == ALL)
    evidence = Evidence(
        energy=found,
        tuned=engines,
        energy_pairs=pairs,
        tuned_pairs=newer,
        kernels=kernels,
        unseen_chip=whole.scores,
    )
    calibrations = [*found.values(), *engines]
    table = score_table(list(found.values()))
    page = PAGE.read_text(encoding="utf-8").format(
        introduction=INTRODUCTION,
        table=table,
        targets=target_table(evidence),
        batches=batch_table([found[name] for name in FULL_TIME]),
        our_times=_both(found, ITL),
        our_joules=_both(found, JOULES),
        our_tuned=_of_all(engines),
        intervals=interval_table(calibrations),
        ratios=ratio_table(pairs),
        unpredicted=sum(len(calibration.faults) for calibration in engines),
        latency=latency_table(engines),
        latency_ratios=ratio_table(newer),
        first_tokens=first_token_table(first, engines),
        first_constants=_requests(first),
        elasticity=elasticity(newer),
        unseen_chip=_table(unseen_chip_rows(unseen)),
        cross_vendor=_table(others),
        unmatched=unmatched,
        wall=_table(wall),
        served=_table(served),
        constants="\n\n".join(constant_tables(calibrations)),
    )
    (ROOT / "docs" / "scorecard.md").write_text(page, encoding="utf-8")
    _pictures(found, engines)
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    section = (
        f"{BEGIN}\n{INTRODUCTION}\n\n{table}\n\nTuned engines (vLLM from 0.12, SGLang, "
        f"TensorRT-LLM), time per output token:\n\n{latency_table(engines)}\n{END}"
    )
    readme.write_text(f"{before}{section}{after}", encoding="utf-8")


@dataclass(frozen=True)
class Parts:
    """Parts of the page; with a folder, each is computed once and kept there."""

    folder: Path | None

    def part(self, name: str, compute: Callable[[], T]) -> T:
        """A part from the folder, or computed and put there."""
        if self.folder is None:
            return compute()
        path = self.folder / f"{name}.pkl"
        if path.is_file():
            return pickle.loads(path.read_bytes())  # noqa: S301, our own file
        found = compute()
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(found))
        return found


def _pictures(found: Mapping[str, Calibration], engines: Sequence[Calibration]) -> None:
    folder = ROOT / "docs"
    for chip in ("H100", "B200"):
        for metric, short, unit, scale in (
            (ITL, "itl", "ms", MILLISECONDS),
            (JOULES, "j", "J", 1.0),
        ):
            draw(
                folder / f"score-{chip.lower()}-{short}.svg",
                found[chip].unseen,
                metric=metric,
                unit=unit,
                scale=scale,
            )
    for calibration in engines:
        draw(
            folder / f"score-{calibration.stack}.svg",
            calibration.unseen,
            metric=ITL,
            unit="ms",
            scale=MILLISECONDS,
        )


def _both(found: Mapping[str, Calibration], metric: str) -> str:
    """MAPE and median on H100 and on B200."""
    return " / ".join(
        _score(errors(found[chip].unseen, metric)) for chip in ("H100", "B200")
    )


def _requests(first: Calibration) -> str:
    """The fitted constants of a request with their jackknife."""
    return ", ".join(
        f"`{c.label}` {quantity(c.value, Unit(c.unit))} "
        f"({quantity(c.low, Unit(c.unit))} to {quantity(c.high, Unit(c.unit))})"
        for c in first.constants
    )


def _of_all(engines: Sequence[Calibration]) -> str:
    return _score(errors([p for c in engines for p in c.unseen], ITL))


def _score(found: Score) -> str:
    return f"{100 * found.mean:.1f} ({100 * found.median:.1f})"


def _table(cells: Sequence[Sequence[str]]) -> str:
    return markdown(cells[0], cells[1:])


if __name__ == "__main__":
    main()
