"""How do the pages become a site? Sphinx with MyST, built with warnings as errors.

``sphinx-build -W -b html docs build/docs``; no page asks for anything beyond itself.
"""

import inspect
import re
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx

import codesign
from codesign.core.paths import path_units
from codesign.core.record import Record

project = "codesign"
author = "The codesign contributors"
copyright = author  # noqa: A001 - the name that Sphinx reads
version = release = codesign.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = [
    "myst.header",  # pages of a folder start where their index leaves off
]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 4
myst_all_links_external = False

autodoc_typehints = "none"  # units stand in a table under each record
autodoc_member_order = "bysource"
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_custom_sections = [("Assumes", "notes_style"), ("Source", "notes_style")]

html_theme = "furo"
html_title = f"codesign {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#005a8e",
        "color-brand-content": "#005a8e",
        "font-stack": "system-ui, sans-serif",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6cc0f5",
        "color-brand-content": "#6cc0f5",
    },
}
pygments_style = "friendly"
pygments_dark_style = "monokai"

LATEX_GAPS = {
    r"\ln ": r"\ln\,",
    r"\dots": r"\ldots",
    r"\bigl": "",
    r"\bigr": "",
    r"\big": "",
}
"""Commands that the converter lacks, and what stands for them."""


def _source_read(_app: Sphinx, page: str, text: list[str]) -> None:
    """Files outside of the pages are named, not linked: a site does not hold them."""
    depth = page.count("/")
    pattern = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)([\w./#-]+)\)")

    def kept(found: re.Match[str]) -> str:
        outside = found[2].count("../") > depth
        label = found[1] if found[1].startswith("`") else f"`{found[3]}`"
        return label if outside else found[0]

    text[0] = pattern.sub(kept, text[0])


def _mathml(text: str, *, block: bool) -> str:
    for command, plain in LATEX_GAPS.items():
        text = text.replace(command, plain)
    return str(latex2mathml.tex2mathml(text, as_block=block))


def _visit_inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(_mathml(node.astext(), block=False))
    raise nodes.SkipNode


def _visit_block(writer: Any, node: nodes.math_block) -> None:
    text = re.sub(r"\\(?:begin|end)\{(?:equation|align|gather)\*?\}", "", node.astext())
    writer.body.append(f'<div class="equation">{_mathml(text, block=True)}</div>')
    raise nodes.SkipNode


def _document(*given: Any) -> None:
    """Plain text stays plain; a record gets a table of its fields and units."""
    _, kind, _, thing, _, lines = given
    lines[:] = [re.sub(r"(?<!`)\|([^|`]+)\|(?!`)", r"\\|\1\\|", line) for line in lines]
    if kind == "class" and inspect.isclass(thing) and issubclass(thing, Record):
        units = path_units(thing)
        lines += ["", ".. list-table::", "   :header-rows: 1", "   :widths: 70 30", ""]
        lines += ["   * - field", "     - unit"]
        for path, unit in units.items():
            lines += [f"   * - ``{path}``", f"     - {unit.text}"]
        lines.append("")


def setup(app: Sphinx) -> None:
    """Hooks of the build."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(_visit_inline, None),
        block_renderers=(_visit_block, None),
    )
    app.connect("source-read", _source_read)
    app.connect("autodoc-process-docstring", _document)
