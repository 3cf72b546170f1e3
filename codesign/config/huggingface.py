"""How does a published model become a file of ours?

A Hugging Face ``config.json``, its folder, or a name on the hub -> the model and
the YAML text of a preset, with its number of weights checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from codesign.config.design import exact_text
from codesign.config.models import config_file, read_config_file
from codesign.config.yaml import yaml_text
from codesign.core.errors import InputError, UnknownNameError
from codesign.core.paths import get_path, path_units
from codesign.core.quantities import Bytes, Count
from codesign.model.huggingface import FAMILIES, from_huggingface
from codesign.model.parameters import count_parameters
from codesign.model.transformer import Transformer

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
CLOSE = 0.02  # of the published number of weights; our counts agree within 0.1 %
TOKENS = "model.training_tokens"


@dataclass(frozen=True)
class Imported:
    """A model from a config file: what it is called, where it is from, its sizes.

    ``stored`` are the bytes of its weights' files as their index says, if that
    lies beside the config.
    """

    name: str
    source: str
    family: str
    model: Transformer
    stored: Bytes | None = None

    @property
    def total(self) -> float:
        """Number of weights."""
        return float(count_parameters(self.model).total)

    @property
    def active(self) -> float:
        """Number of weights that one token uses."""
        return float(count_parameters(self.model).active)


def import_config(
    given: str, *, name: str = "", family: str = "", training_tokens: float = 0.0
) -> Imported:
    """The model of a config file, a folder that holds one, or a name on the hub.

    Raises:
        InputError: nothing is there, or no rule reads it.
    """
    if family and family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise UnknownNameError(f"--as {family}: no such family. Known: {known}.")
    file = config_file(Path(given))
    source = given if file is None else str(file)
    file = _from_hub(given) if file is None else file
    content = read_config_file(file)
    model = from_huggingface(content, training_tokens=training_tokens, family=family)
    return Imported(
        name=name or _name(given, content),
        source=f"{CONFIG} of {content.get('_name_or_path') or source}",
        family=family or str(content.get("model_type")),
        model=model,
        stored=_stored(file.with_name(INDEX)),
    )


def _name(given: str, content: Mapping[str, Any]) -> str:
    """Name of a model: its folder, its entry on the hub, or the file's own."""
    published = str(content.get("_name_or_path") or "").rpartition("/")[2]
    path = Path(given)
    if path.name == CONFIG:
        return (published or path.resolve().parent.name).lower()
    return (path.stem if path.suffix == ".json" else path.name).lower()


def _from_hub(name: str) -> Path:
    """The config file of a model on the hub, by the client that users install."""
    try:
        hub: Any = import_module("huggingface_hub")
    except ImportError as error:
        raise InputError(
            f"{name}: no such file or folder. For a name on the Hugging Face hub "
            "install huggingface_hub, or save its config.json and give that path."
        ) from error
    try:
        return Path(hub.hf_hub_download(repo_id=name, filename=CONFIG))
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{name}: not found on the hub: {reason}") from error


def _stored(index: Path) -> float | None:
    """Bytes of all weights, as the index of their files says."""
    if not index.is_file():
        return None
    size = (read_config_file(index).get("metadata") or {}).get("total_size")
    return float(size) if isinstance(size, int | float) else None


def check_count(found: Imported, published: Count) -> None:
    """Raise unless the model has the published number of weights, within 2 %.

    Raises:
        InputError: with both numbers and what may explain the difference.
    """
    error = found.total / float(published) - 1.0
    if abs(error) > CLOSE:
        raise InputError(
            f"{found.name}: its config gives {found.total:.4g} weights, not "
            f"{float(published):.4g} ({error:+.1%}). Left out of the count: vision and "
            "audio towers, heads that predict further tokens. If that is not it, the "
            f"file is not written as {found.family} files are; --as reads it as "
            "another family."
        )


def model_text(found: Imported) -> str:
    """YAML text of a preset with the model's fields, each an exact number."""
    parameters: dict[str, Any] = {}
    for path, unit in path_units(Transformer).items():
        if _is_needed(path, found.model):
            section, _, name = path.rpartition(".")
            place = parameters.setdefault(section, {}) if section else parameters
            place[name] = exact_text(float(get_path(found.model, path)), unit)
    known = float(found.model.training_tokens) > 0
    note = (
        f"read as {found.family}; {found.total:.6g} weights, {found.active:.6g} active"
    )
    if not known:
        note += f"; training tokens are unknown, which quality needs: set {TOKENS}"
    return yaml_text(
        {
            "name": found.name,
            "title": found.name,
            "source": found.source,
            "note": note,
            "parameters": parameters,
        }
    )


def _is_needed(path: str, model: Transformer) -> bool:
    """Whether a field says anything about this model."""
    if path.startswith("latent."):
        return float(model.latent_fraction) > 0
    if path.startswith("recurrent."):
        return float(model.recurrent.num_layers) > 0
    return path != "training_tokens" or float(model.training_tokens) > 0
