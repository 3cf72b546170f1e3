"""``codesign measure``: time a real transformer and kernels on this device."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesign.app.flags import Json

if TYPE_CHECKING:
    from codesign.measure.device import Device
    from codesign.measure.energies import FittedEnergies
    from codesign.measure.kernels import Kernel
    from codesign.measure.measure import Measurement, MeasurePlan
    from codesign.measure.sizes import Sizes
    from codesign.report.tables import Table

LARGE_STREAM, CACHED_STREAM = "1 GiB", "4 MiB"

Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        help="Model to run: preset, YAML file or config.json. Repeat for several.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", metavar="FOLDER", help="Where to write.", show_default=False),
]
Batches = Annotated[
    str, typer.Option("--batch", help="Batches to serve, such as 1,8,64.")
]
Layers = Annotated[
    int,
    typer.Option("--layers", help="Layers of each model that are run; 0: all."),
]
Prompt = Annotated[int, typer.Option("--prompt-length", help="Tokens of a prompt.")]
Output = Annotated[int, typer.Option("--output-length", help="Tokens of an answer.")]
Like = Annotated[
    str,
    typer.Option(
        "--like",
        help="Chip preset that fills in what is not measured. "
        "Default: the preset with the device's name.",
        show_default=False,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="float32 or bfloat16. Default: float32 on processors.",
        show_default=False,
    ),
]
GemmSize = Annotated[
    int, typer.Option("--gemm-size", help="Edge of the square weight of products.")
]
GemmRows = Annotated[
    str, typer.Option("--gemm-rows", help="Rows M of products, from few to many.")
]
StreamSize = Annotated[
    str, typer.Option("--stream-size", help="Bytes of a stream beyond every cache.")
]
Seconds = Annotated[
    float, typer.Option("--seconds", help="Time of each kernel; 1 or more for power.")
]


def measure(
    *,
    model: Models,
    out: Out,
    batch: Batches = "1,8",
    layers: Layers = 0,
    prompt_length: Prompt = 128,
    output_length: Output = 64,
    like: Like = "",
    precision: Precision = "",
    gemm_rows: GemmRows = "1,16,128,1024,8192",
    gemm_size: GemmSize = 4096,
    stream_size: StreamSize = LARGE_STREAM,
    seconds: Seconds = 1.0,
    as_json: Json = False,
) -> None:
    """Time a real transformer and single kernels on this device, and fit a chip.

    Runs prefill and decode of a Flax model with random weights, products in 16 and
    8 bits, streams and loops on the chip; reads power where the device offers it
    (NVML, RAPL). Writes rows.csv,
    models.csv, kernels.csv, chip.yaml and stack.yaml, which evaluate, validate and
    calibrate accept.

    Example: codesign measure --model qwen3-8b --layers 4 --batch 1,8 --out mine
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import console, print_json, show_table, versions
    from codesign.config.units import parse_quantity
    from codesign.core.quantities import Unit
    from codesign.measure.device import this_device
    from codesign.measure.kernels import KernelPlan
    from codesign.measure.measure import MeasurePlan, measurement_dict
    from codesign.measure.measure import measure as run

    device = this_device()

    def size(text: str, name: str) -> float:
        return parse_quantity(text, Unit("B"), name=name)

    kernels = KernelPlan(
        gemm_rows=_numbers(gemm_rows, name="--gemm-rows"),
        gemm_size=gemm_size,
        stream_bytes=size(stream_size, "--stream-size"),
        cached_bytes=min(size(CACHED_STREAM, ""), size(stream_size, "") / 4),
        seconds=seconds,
    )
    plan = MeasurePlan(
        models=_models(model, layers=layers),
        batches=_numbers(batch, name="--batch"),
        prompt_length=_at_least(prompt_length, 2, name="--prompt-length"),
        output_length=_at_least(output_length, 2, name="--output-length"),
        precision=_precision(precision, device=device),
        like=_like(like, device=device),
        kernels=kernels,
    )
    found = run(
        plan,
        device,
        folder=out,
        command=_command(plan, layers=layers, out=out),
        progress=lambda text: typer.echo(text, err=True),
    )
    if as_json:
        data = measurement_dict(found)
        print_json({"device": device.name, **data, "versions": versions()})
        return
    screen = console()
    for table in _tables(found, device=device):
        show_table(screen, table)
    screen.print(f"written   {out}", markup=False)


def _models(names: list[str], *, layers: int) -> "dict[str, Sizes]":
    from codesign.config.models import load_model
    from codesign.measure.sizes import shortened, sizes_of

    found: dict[str, Sizes] = {}
    for name in names:
        sizes = sizes_of(load_model(name))
        short = Path(name).stem
        if 0 < layers < sizes.num_layers:
            sizes, short = shortened(sizes, layers), f"{short}, {layers} layers"
        found[short] = sizes
    return found


def _numbers(text: str, *, name: str) -> tuple[int, ...]:
    from codesign.core.errors import InputError

    try:
        numbers = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        numbers = ()
    if not numbers or numbers[0] < 1:
        raise InputError(f"{name} is {text!r}; expected whole numbers such as 1,8,64.")
    return numbers


def _at_least(number: int, least: int, *, name: str) -> int:
    from codesign.core.errors import InputError

    if number < least:
        raise InputError(f"{name} is {number}; expected {least} or more.")
    return number


def _precision(text: str, *, device: "Device") -> str:
    from codesign.core.errors import InputError
    from codesign.measure.measure import PRECISIONS

    chosen = text or ("float32" if device.platform == "cpu" else "bfloat16")
    if chosen not in PRECISIONS:
        raise InputError(f"--precision is {text!r}; known: {', '.join(PRECISIONS)}.")
    return chosen


def _like(name: str, *, device: "Device") -> str:
    from codesign.config.catalogue import find_preset
    from codesign.core.errors import InputError

    chosen = name or device.preset
    if not chosen:
        raise InputError(
            f"no chip preset has the name of this device, {device.name!r}. Give "
            "--like with the preset nearest to it: its node, die, memory and power "
            "limit stand in for what cannot be measured."
        )
    return find_preset("chips", chosen).stem


def _command(plan: "MeasurePlan", *, layers: int, out: Path) -> str:
    words = ["codesign", "measure", "--like", plan.like, "--out", out.name]
    words += ["--batch", ",".join(map(str, plan.batches)), "--layers", str(layers)]
    words += ["--prompt-length", str(plan.prompt_length)]
    words += ["--output-length", str(plan.output_length)]
    words += ["--precision", plan.precision]
    for name in plan.models:
        words += ["--model", name.partition(",")[0]]
    return shlex.join(words)


def _format(kernel: "Kernel") -> str:
    """Format of the operands, and that in which they are multiplied if another."""
    from codesign.measure.kernels import in_own_format

    other = "" if in_own_format(kernel) else f", run in {kernel.executed}"
    return kernel.format + other


def _energies(fitted: "FittedEnergies") -> "Table":
    from typing import get_type_hints

    from codesign.core.quantities import Unit, unit_of
    from codesign.measure.energies import Energies
    from codesign.report.tables import Table
    from codesign.report.texts import quantity

    hints = get_type_hints(Energies, include_extras=True)
    rows = tuple(
        (
            name,
            quantity(float(value), unit_of(hints[name]) or Unit("1")),
            f"{fitted.measured[name]:.2f}",
        )
        for name, value in asdict(fitted.values).items()
    )
    return Table(
        "Powers and energies",
        ("constant", "value", "measured"),
        rows,
        note="Measured: 1 where kernels alone decide, 0 where it is as expected.",
    )


def _tables(found: "Measurement", *, device: "Device") -> list["Table"]:
    from codesign.calibrate.validate import score_rows
    from codesign.core.quantities import Unit
    from codesign.report.tables import Table
    from codesign.report.texts import quantity

    kernels = tuple(
        (
            k.kind,
            _format(k),
            f"{k.rows} x {k.cols}",
            quantity(float(k.seconds), Unit("s")),
            quantity(float(k.compute), Unit("FLOP/s")),
            quantity(float(k.bandwidth), Unit("B/s")),
            quantity(float(k.power), Unit("W")),
        )
        for k in found.kernels
    )
    runs = tuple(
        (
            run.model,
            str(run.batch),
            quantity(float(run.prefill), Unit("s")),
            quantity(float(sum(run.steps)) / len(run.steps), Unit("s")),
            f"{run.batch * run.output_length / run.duration:.4g} token/s",
        )
        for run in found.runs
    )
    constants = tuple(
        (name, f"{value:.4g}") for name, value in found.overheads.constants.items()
    )
    meter = device.meter.source if device.meter else "not offered by this device"
    header, *scores = score_rows(found.report)
    return [
        Table(
            f"Kernels on {device.name}",
            ("kernel", "format", "size", "time", "arithmetic", "bytes", "power"),
            kernels,
            note=f"Power: {meter}.",
        ),
        _energies(found.energies),
        Table("Runs", ("model", "batch", "prefill", "step", "throughput"), runs),
        Table("Fitted constants of the stack, SI", ("constant", "value"), constants),
        Table(
            "Model against these runs, in sample",
            tuple(header),
            tuple(map(tuple, scores)),
            note="MAPE / median / bias in percent.",
        ),
    ]
