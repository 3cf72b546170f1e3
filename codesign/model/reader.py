"""Which numbers does a model's config file state, and how is a family written?

Keys of a ``config.json`` -> numbers; absent and unreadable keys are collected,
so that one message names them all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LARGEST = 1e12  # of any count in a config file
Values = dict[str, float]


class ConfigReader:
    """Numbers of a config file; remembers every absent or unreadable key.

    ``renamed`` says which key a family writes instead of the usual one.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        defaults: Mapping[str, Any],
        renamed: Mapping[str, str],
    ) -> None:
        self.config = config
        self.defaults = defaults
        self.renamed = renamed
        self.problems: list[str] = []

    def raw(self, name: str) -> Any:
        """Value of a key, of its class default, or None."""
        value = self.config.get(self.renamed.get(name, name))
        return self.defaults.get(name) if value is None else value

    def number(self, *names: str, default: float | None = None) -> float:
        """First of several keys that is set; noted as missing if none is."""
        for name in names:
            value = self.raw(name)
            if isinstance(value, int | float) and abs(value) < LARGEST:
                return float(value)
            if value is not None:
                self.problems.append(f"{name} is {value!r}, not a number")
                return 1.0
        if default is None:
            self.problems.append(f"{' or '.join(names)} is missing")
            return 1.0
        return default

    def items(self, name: str) -> list[Any]:
        """A list of plain values; empty where it is not set, noted if it is none."""
        value = self.raw(name)
        if value is None or value is False:
            return []
        plain = isinstance(value, list) and all(
            isinstance(item, str | int | float) for item in value
        )
        if not plain:
            self.problems.append(f"{name} is not a list of plain values")
            return []
        return list(value)

    def step(self, name: str) -> int:
        """A period in layers, 1 where it is not set."""
        return max(int(self.number(name, default=1.0)), 1)

    def size(self, *names: str) -> float:
        """A number that must be positive."""
        value = self.number(*names)
        if value > 0:
            return value
        self.problems.append(f"{' or '.join(names)} is {value:g}, must be positive")
        return 1.0


Part = Callable[[ConfigReader, Values], Values]
WindowCount = Callable[[ConfigReader, float], float]


@dataclass(frozen=True)
class Family:
    """How one ``model_type`` writes its FFN, its attention and its windows."""

    feedforward: Part
    attention: Part
    windows: WindowCount
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
