"""``codesign import-hf``: a published model as a file to evaluate and to change."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesign.app.flags import Json
from codesign.core.errors import InputError

if TYPE_CHECKING:
    from codesign.config.huggingface import Imported

Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help="A config.json, a folder that holds one, or a name on the hub.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="MODEL.yaml",
        help="Where to write the model. Default: its name, in this folder.",
        show_default=False,
    ),
]
Name = Annotated[
    str, typer.Option("--name", help="Name of the model.", show_default=False)
]
Family = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="FAMILY",
        help="Read the file as this model_type, such as llama.",
        show_default=False,
    ),
]
Tokens = Annotated[
    str,
    typer.Option(
        "--training-tokens",
        help='Tokens it was trained on, such as "15e12 token"; quality needs them.',
        show_default=False,
    ),
]
Weights = Annotated[
    float | None,
    typer.Option(
        "--parameters",
        min=1,
        help="Published number of weights, to check against within 2 %.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")]


def import_hf(
    config: Config,
    *,
    out: Out = None,
    name: Name = "",
    family: Family = "",
    training_tokens: Tokens = "",
    parameters: Weights = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a Hugging Face config.json as a model file, and count its weights.

    The file is read back and must give the same model. With --parameters, exit
    code 2 if the count is off by more than 2 %.

    Example: codesign import-hf ./Llama-3.1-8B/config.json --parameters 8.03e9
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import print_json, versions, write_output
    from codesign.config.huggingface import check_count, import_config, model_text
    from codesign.config.units import parse_quantity
    from codesign.core.quantities import Unit

    unit = Unit("token")
    tokens = (
        parse_quantity(training_tokens, unit, name="--training-tokens")
        if training_tokens
        else 0.0
    )
    found = import_config(config, name=name, family=family, training_tokens=tokens)
    if parameters is not None:
        check_count(found, parameters)
    target = out or Path(f"{found.name}.yaml")
    if target.suffix not in (".yaml", ".yml"):
        raise InputError(f"--out {target}: end the name in .yaml.")
    if target.exists() and not force:
        raise InputError(f"{target}: is there already. --force overwrites it.")
    write_output(target, model_text(found))
    _check_same(target, found)
    if as_json:
        facts = {
            "name": found.name,
            "source": found.source,
            "family": found.family,
            "parameters": found.total,
            "active_parameters": found.active,
            "published_parameters": parameters,
            "stored_bytes": found.stored,
        }
        print_json({**facts, "file": str(target), "versions": versions()})
    else:
        _show(found, target, published=parameters)


def _check_same(file: Path, found: "Imported") -> None:
    """The file must read back as the very same model."""
    from codesign.config.models import load_model
    from codesign.core.paths import get_path, path_units

    again = load_model(file)
    for path in path_units(type(again)):
        if float(get_path(again, path)) != float(get_path(found.model, path)):
            raise RuntimeError(f"{file}: {path} does not read back as it was written")


def _show(found: "Imported", file: Path, *, published: float | None) -> None:
    from codesign.config.units import format_quantity
    from codesign.core.quantities import Unit

    model, billion = found.model, 1e9
    experts = float(model.num_experts)
    kind = f"{experts:g} experts" if experts > 1 else "dense"
    lines = {
        "model": f"{found.name}, read as {found.family}",
        "layers": f"{float(model.num_layers):g} of width {float(model.hidden_size):g}, "
        + kind,
        "weights": f"{found.total / billion:.4g} billion, "
        f"{found.active / billion:.4g} billion used per token",
    }
    if published is not None:
        lines["check"] = f"{found.total / published - 1:+.2%} of the published number"
    if found.stored is not None:
        bits = 8 * float(found.stored) / found.total
        size = format_quantity(float(found.stored), Unit("B"))
        lines["stored"] = f"{size}, {bits:.3g} bit a weight"
    lines |= {
        "wrote": str(file),
        "next": f"codesign evaluate --model {file} --chip ...",
    }
    for key, text in lines.items():
        typer.echo(f"{key:8} {text}")
