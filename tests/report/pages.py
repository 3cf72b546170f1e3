"""What stands in a page, as a browser without scripts would read it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = ("meta", "link", "br", "img", "input")


@dataclass
class Page:
    """Tables as rows of texts, tags with attributes, scripts by id, all text."""

    tables: list[list[tuple[str, ...]]] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    scripts: list[tuple[dict[str, str], str]] = field(default_factory=list)
    styles: str = ""
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.open: list[str] = []
        self.row: list[str] = []
        self.cell: str | None = None
        self.script = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.page.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.page.tables.append([])
        elif tag == "tr":
            self.row = []
        elif tag in {"td", "th"}:
            self.cell = ""
        elif tag == "script":
            self.page.scripts.append((attributes, ""))

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            attributes, text = self.page.scripts[-1]
            self.page.scripts[-1] = attributes, text + data
        elif inside == "style":
            self.page.styles += data
        else:
            self.page.text += data
            if self.cell is not None:
                self.cell += data

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in {"td", "th"}:
            self.row.append(self.cell or "")
            self.cell = None
        elif tag == "tr":
            self.page.tables[-1].append(tuple(self.row))


def read_page(text: str) -> Page:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader.page
