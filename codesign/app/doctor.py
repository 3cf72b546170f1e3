"""``codesign doctor``: does this machine have what the program needs?"""

import os
from pathlib import Path
from typing import Any

import typer

from codesign.app.flags import Json

BAD_INPUT = 2


def doctor(*, as_json: Json = False) -> None:
    """Versions, devices, folders, and a design evaluated as a test.

    Exit code 2 if something is missing; the line says what.
    """
    from codesign.app.output import print_json, versions
    from codesign.app.start import start_jax

    start_jax()
    facts: dict[str, Any] = {
        "versions": versions(),
        "processors": os.cpu_count(),
        "devices": _devices(),
        **_folders(),
        "presets": _presets(),
    }
    checks = {
        "64-bit floats": _has_float64(),
        "cache can be written": _writable(Path(facts["cache"])),
        "this folder can be written": _writable(Path()),
        "a design can be evaluated": _evaluates(),
    }
    if as_json:
        print_json({**facts, "checks": checks})
    else:
        _show(facts, checks)
    if not all(checks.values()):
        raise typer.Exit(BAD_INPUT)


def _show(facts: dict[str, Any], checks: dict[str, bool]) -> None:
    for name, version in facts.pop("versions").items():
        typer.echo(f"{name:28} {version}")
    for name, value in facts.items():
        text = (
            ", ".join(f"{k} {v}" for k, v in value.items())
            if isinstance(value, dict)
            else str(value)
        )
        typer.echo(f"{name:28} {text}")
    for name, fine in checks.items():
        typer.echo(f"{name:28} {'yes' if fine else 'NO'}")


def _devices() -> str:
    import jax

    return ", ".join(f"{d.platform} {d.device_kind}" for d in jax.devices())


def _folders() -> dict[str, str]:
    from codesign.app.start import cache_folder
    from codesign.config.catalogue import presets_directory

    return {"cache": str(cache_folder()), "configs": str(presets_directory())}


def _presets() -> dict[str, int]:
    from codesign.config.catalogue import KINDS, list_presets

    return {kind: len(list_presets(kind)) for kind in KINDS}


def _has_float64() -> bool:
    import jax.numpy as jnp

    return jnp.ones(()).dtype == jnp.float64


def _writable(folder: Path) -> bool:
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _evaluates() -> bool:
    import numpy as np

    from codesign.config.design import build_design
    from codesign.cost.evaluate import evaluate

    design = build_design(
        chip="h100-sxm",
        num_chips=8,
        model="llama-3-70b",
        batch=64,
        prompt_length=1024,
        output_length=256,
    )
    return bool(np.isfinite(evaluate(design).energy_per_token))
