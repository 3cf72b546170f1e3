"""``codesign presets``: what is shipped, and where does each value come from?"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.app.flags import Json
from codesign.config.kinds import KINDS
from codesign.core.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from codesign.config.records import ValueInfo
    from codesign.report.tables import Table

What = Annotated[
    str | None,
    typer.Argument(
        metavar="[list|show|KIND]",
        help=f"A kind ({', '.join(KINDS)}), or list or show. Default: list all.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="Preset to show, or kind to list.", show_default=False
    ),
]
SINGULAR = {kind.removesuffix("s"): kind for kind in KINDS}


Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE.html",
        help="Of chips, or one chip: write pictures of area, power and balance.",
        show_default=False,
    ),
]


def presets(
    what: What = None, name: Name = None, *, as_json: Json = False, out: Out = None
) -> None:
    """List presets, or show one: values, units, sources, confidence.

    A chip also shows its anchor: the log-residuals between what was published
    and what the equations derive.

    Examples: codesign presets; codesign presets chips --out chips.html; codesign
    presets show h100-sxm
    """
    kind, chosen = _asked(what, name)
    if out is not None:
        _draw(kind, chosen, out=out)
    if chosen is None:
        _list((kind,) if kind else KINDS, as_json=as_json)
    else:
        _show(kind or _kind_of(chosen), chosen, as_json=as_json)


def _asked(what: str | None, name: str | None) -> tuple[str | None, str | None]:
    """Kind and preset that the words mean; None for any kind, or for a list."""
    words = [word for word in (what, name) if word is not None]
    if words[:1] in (["list"], ["show"]):
        verb, words = words[0], words[1:]
        if verb == "show" and not words:
            raise UnknownNameError("presets show: say which, such as show h100-sxm.")
    kinds = {**{kind: kind for kind in KINDS}, **SINGULAR}
    if words and words[0] in kinds:
        return kinds[words[0]], words[1] if len(words) > 1 else None
    return None, words[0] if words else None


def _draw(kind: str | None, name: str | None, *, out: Path) -> None:
    """Write the page of one chip, or of all."""
    if (kind or (name and _kind_of(name))) != "chips" or out.suffix != ".html":
        raise InputError(
            f"--out {out}: pictures are of chips, in a file that ends in .html, such "
            "as codesign presets chips --out chips.html."
        )
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.errors import complain
    from codesign.config.catalogue import list_presets
    from codesign.report.chip_page import write_chip_page

    write_chip_page([name] if name else list_presets("chips"), out)
    complain(f"wrote {out}")


def _list(kinds: tuple[str, ...], *, as_json: bool) -> None:
    from codesign.app.output import console, print_json, show_table
    from codesign.config.catalogue import list_aliases, list_presets, preset_title
    from codesign.report.tables import Table

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in kinds:
        aliases = list_aliases(kind)
        found[kind] = {
            name: {
                "title": preset_title(kind, name),
                "aliases": [alias for alias, stem in aliases.items() if stem == name],
            }
            for name in list_presets(kind)
        }
    if as_json:
        print_json(found)
        return
    for kind, entries in found.items():
        rows = [
            (name, entry["title"], ", ".join(entry["aliases"]))
            for name, entry in entries.items()
        ]
        table = Table(kind, ("name", "title", "also called"), tuple(rows))
        show_table(console(), table)


def _kind_of(name: str) -> str:
    from codesign.config.catalogue import find_preset, list_aliases, list_presets
    from codesign.core.paths import nearest

    known: list[str] = []
    for kind in KINDS:
        try:
            find_preset(kind, name)
        except UnknownNameError:
            known += [*list_presets(kind), *list_aliases(kind)]
        else:
            return kind
    folded = {each.casefold(): each for each in known}
    close = [folded[each] for each in nearest(name.casefold(), list(folded))]
    near = f" Close: {', '.join(close)}." if close else ""
    raise UnknownNameError(
        f'no preset is called "{name}".{near} All names: "codesign presets".'
    )


def _show(kind: str, name: str, *, as_json: bool) -> None:
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import console, print_json, show_table
    from codesign.config.catalogue import find_preset

    if kind in ("studies", "calibration", "plans"):
        text = find_preset(kind, name).read_text(encoding="utf-8")
        if as_json:
            print_json({"name": name, "text": text})
        else:
            typer.echo(text, nl=False)
        return
    facts, values, residuals = _READERS[kind](name)
    if as_json:
        rows = {path: _value_dict(info) for path, info in values.items()}
        print_json({**facts, "values": rows, "residuals": residuals})
        return
    screen = console()
    for key, value in facts.items():
        if value:
            screen.print(f"{key:8} {value}", markup=False)
    show_table(screen, _values_table(values))
    if residuals:
        show_table(screen, _residuals_table(residuals))


Facts = dict[str, Any]
Residuals = dict[str, float]
Shown = tuple[Facts, "Mapping[str, ValueInfo]", Residuals]


def _chip(name: str) -> Shown:
    from codesign.config.chips import chip_info, load_chip
    from codesign.study.plain import flatten

    info = chip_info(name)
    facts = {
        "name": info.name,
        "title": info.title,
        "aliases": ", ".join(info.aliases),
        "style": info.style,
        "memory": info.memory,
        "store": info.store,
        "link": info.link,
        "stack": info.stack,
        "note": info.note,
    }
    return facts, info.values, flatten(load_chip(name).anchor)


def _model(name: str) -> Shown:
    from codesign.config.models import model_info

    info = model_info(name)
    facts = {
        "name": info.name,
        "title": info.title,
        "aliases": ", ".join(info.aliases),
        "source": info.source,
        "note": info.note,
    }
    return facts, info.values, {}


def _stack(name: str) -> Shown:
    from codesign.config.stacks import stack_info

    info = stack_info(name)
    facts = {
        "name": info.name,
        "title": info.title,
        "aliases": ", ".join(info.aliases),
        "note": info.note,
    }
    facts |= {f"fit.{key}": str(value) for key, value in info.fit.items()}
    return facts, info.values, {}


def _technology(name: str) -> Shown:
    from codesign.config import technology
    from codesign.config.catalogue import find_preset

    file = find_preset("technology", name).stem
    kinds = {
        "styles": technology.style_values,
        "memory": technology.memory_values,
        "links": technology.link_values,
        "stores": technology.store_values,
    }
    if file in kinds:
        return {"name": file}, dict(_of_kinds(file, kinds[file])), {}
    part = next(k for k, v in technology.TECHNOLOGY_FILES.items() if v == file)
    known = technology.technology_values()
    values = {p: info for p, info in known.items() if p.startswith(f"{part}.")}
    return {"name": file}, values, {}


def _of_kinds(
    file: str, read: Callable[[str], Mapping[str, "ValueInfo"]]
) -> Iterator[tuple[str, "ValueInfo"]]:
    from codesign.config.technology import list_kinds

    for kind in list_kinds(file):
        for path, info in read(kind).items():
            yield f"{kind}.{path}", info


_READERS: dict[str, Callable[[str], Shown]] = {
    "chips": _chip,
    "models": _model,
    "stacks": _stack,
    "technology": _technology,
}


def _value_dict(info: "ValueInfo") -> dict[str, Any]:
    return {
        "value": info.value,
        "unit": info.unit.text,
        "low": info.low,
        "high": info.high,
        "source": info.source,
        "year": info.year,
        "status": info.status,
        "confidence": info.confidence,
        "note": info.note,
    }


def _values_table(values: Mapping[str, "ValueInfo"]) -> "Table":
    from codesign.report.tables import Table

    rows = [
        (
            path,
            _text(info.value, info),
            _spread(info),
            info.status,
            info.confidence,
            "; ".join(filter(None, (info.source, info.note))),
        )
        for path, info in values.items()
    ]
    columns = ("parameter", "value", "low to high", "status", "sure", "source")
    return Table("", columns, tuple(rows))


def _text(value: Any, info: "ValueInfo") -> str:
    from codesign.config.units import format_quantity

    if isinstance(value, list):
        return ", ".join(_text(item, info) for item in value)
    return format_quantity(value, info.unit, digits=4)


def _spread(info: "ValueInfo") -> str:
    if info.low is None or info.high is None or isinstance(info.low, list):
        return ""
    return f"{_text(info.low, info)} to {_text(info.high, info)}"


def _residuals_table(residuals: Residuals) -> "Table":
    import math

    from codesign.report.tables import Table
    from codesign.report.texts import number

    rows = [
        (name, number(value), number(math.exp(value)))
        for name, value in residuals.items()
    ]
    return Table(
        title="Anchor",
        columns=("residual of", "ln(published / derived)", "factor"),
        rows=tuple(rows),
        note="0: as derived, or nothing is published. Limits that the chip exceeds "
        "(shoreline, power_density, sram_bandwidth) are widened to what it needs.",
    )
