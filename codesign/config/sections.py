"""Which sections does a file of the catalogue have, and what do they hold?

Document -> its data with keys checked; one section -> what is known of its values.
"""

from typing import Any

from codesign.config.records import (
    ValueInfo,
    read_values,
)
from codesign.config.yaml import Document, Problems
from codesign.core.record import Record


def checked_keys(
    document: Document, known: tuple[str, ...], *, problems: Problems
) -> dict[str, Any]:
    """Data of a document; keys that are unknown or missing are noted."""
    for key in document.data:
        if key not in known:
            problems.unknown_key(key, list(known))
    optional = {"title", "aliases", "note", "store", "published", "fit", "serves"}
    wanted = [key for key in known if key not in optional]
    missing = [key for key in wanted if key not in document.data]
    problems.missing_keys("", missing)
    return document.data


def read_section(
    record_type: type[Record],
    data: dict[str, Any],
    *,
    key: str,
    problems: Problems,
    optional: set[str],
) -> dict[str, ValueInfo]:
    """What is known of the values of one section, by path with its key in front."""
    infos = read_values(
        record_type,
        data.get(key) or {},
        problems=problems,
        prefix=key,
        optional=optional,
    )
    return {f"{key}.{path}": info for path, info in infos.items()}
