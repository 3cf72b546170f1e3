"""Which parameters does the explorer show, over which range and in which steps?

Study -> sliders: what the study frees in its own bounds, then what is usual.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from codesign.config.study import Study
from codesign.config.units import display_units
from codesign.config.variables import GOVERNED, Variable, read_variables
from codesign.config.yaml import Problems
from codesign.core.paths import path_units
from codesign.core.quantities import Unit
from codesign.serving.design import Design

CHIP, MODEL, WORK, PLACE = "Chip", "Model", "Workload", "Deployment"
GROUPS = {"chip": CHIP, "model": MODEL, "request": WORK}
EXPERTS = "model.num_experts"

DESIGNED: dict[str, dict[str, Any]] = {
    "chip.compute.macs": {"min": 10e3, "max": 4e6},
    "chip.sram.capacity": {"min": "16 MiB", "max": "2 GiB"},
    "chip.dram.bandwidth": {"min": "200 GB/s", "max": "20 TB/s"},
    "chip.dram.stacks": {"min": 1, "max": 16, "integer": True},
    "chip.link.bandwidth": {"min": "10 GB/s", "max": "4 TB/s"},
    "chip.tdp": {"min": "50 W", "max": "2 kW"},
    "chip.voltage": {"min": "0.55 V", "max": "1.1 V"},
    "model.hidden_size": {"min": 1024, "max": 32768, "multiple_of": 128},
    "model.num_layers": {"min": 8, "max": 200, "integer": True},
    "model.ffn_size": {"min": 2048, "max": 131072, "multiple_of": 128},
    "model.num_kv_heads": {"choices": [1, 2, 4, 8, 16, 32, 64]},
    "model.num_experts": {"choices": [1, 8, 16, 32, 64, 128, 256]},
    "model.expert_size": {"min": 256, "max": 32768, "multiple_of": 128},
    "model.num_active_experts": {"choices": [1, 2, 4, 6, 8]},
    "model.weight_bits": {"choices": [4, 8, 16]},
    "model.activation_bits": {"choices": [8, 16]},
    "model.kv_bits": {"choices": [4, 8, 16]},
    "deployment.batch": {"min": 1, "max": 8192, "integer": True},
    "deployment.tensor_parallel": {"choices": [1, 2, 4, 8, 16]},
    "deployment.power_limit": {"min": "50 W", "max": "chip.tdp"},
}
"""What a search may change where a study does not say; in the words of ``free``."""

GIVEN = (
    Variable("request.prompt_length", "token", 16.0, 131072.0, integer=True),
    Variable("request.output_length", "token", 16.0, 16384.0, integer=True),
    Variable("request.output_variation", "1", 0.0, 2.0),
    Variable("request.prefix_hit_fraction", "1", 0.0, 0.95),
    Variable(
        "system.num_chips",
        "1",
        1.0,
        256.0,
        choices=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0),
    ),
)
"""What is asked for, and on how many chips: shown, but never searched."""
RATE = Variable("request.rate", "request/s", 0.01, 1000.0)

TITLES = {
    "chip.compute.macs": "16-bit MAC units",
    "chip.sram.capacity": "on-chip memory",
    "chip.dram.bandwidth": "DRAM bandwidth",
    "chip.dram.stacks": "DRAM stacks",
    "chip.link.bandwidth": "link bandwidth",
    "chip.tdp": "TDP",
    "chip.voltage": "voltage",
    "model.hidden_size": "hidden size",
    "model.num_layers": "layers",
    "model.ffn_size": "FFN size",
    "model.num_kv_heads": "KV heads",
    "model.num_experts": "experts",
    "model.expert_size": "expert size",
    "model.num_active_experts": "active experts",
    "model.weight_bits": "weight bits",
    "model.activation_bits": "activation bits",
    "model.kv_bits": "KV bits",
    "request.prompt_length": "prompt",
    "request.output_length": "output",
    "request.output_variation": "spread of outputs",
    "request.prefix_hit_fraction": "prompt in cache",
    "request.rate": "arrivals",
    "system.num_chips": "chips",
    "deployment.batch": "running sequences",
    "deployment.tensor_parallel": "tensor parallel",
    "deployment.power_limit": "power limit",
    "deployment.decode_voltage": "decode voltage",
    "deployment.prefill_voltage": "prefill voltage",
}
VOLTAGES = (0.3, 1.1)  # V; below a style's minimum they stand for a slower clock
GOVERNOR = tuple(Variable(path, "V", *VOLTAGES) for path in GOVERNED)
LINEAR = ("chip.voltage", *GOVERNED)


@dataclass(frozen=True)
class Slider:
    """A parameter with its legal values, where it stands and how it moves.

    ``searched`` ones may be unlocked for steps and searches, ``unlocked`` are so
    at the start. ``log`` sliders move in logarithms.
    """

    variable: Variable
    title: str
    group: str
    log: bool
    searched: bool
    unlocked: bool

    @property
    def path(self) -> str:
        """Dotted path in a design."""
        return self.variable.path

    def as_dict(self) -> dict[str, Any]:
        """What the page needs to draw it."""
        found = self.variable
        return {
            "path": found.path,
            "title": self.title,
            "group": self.group,
            "units": display_units(Unit(found.unit)),
            "low": found.low,
            "high": found.high,
            "log": self.log,
            "choices": list(found.choices),
            "step": found.multiple or float(found.integer),
            "searched": self.searched,
            "unlocked": self.unlocked,
        }


def sliders_of(study: Study) -> tuple[Slider, ...]:
    """Sliders of a study: chip, model, workload, deployment.

    A study's free variables start unlocked; without any, those of chip and
    deployment do.
    """
    freed = {variable.path: variable for variable in study.free}
    usual = read_variables(DESIGNED, baseline=study.baseline, problems=Problems())
    known = {v.path: v for v in (*usual, *GIVEN, *GOVERNOR)} | freed
    if float(study.baseline.request.rate) > 0:
        known = {p: v for p, v in known.items() if p != "deployment.batch"}
        known[RATE.path] = RATE
    order = [*TITLES, *(path for path in known if path not in TITLES)]
    found = [_slider(known[path], freed=freed) for path in order if path in known]
    return tuple(sorted(found, key=_place))


def _slider(variable: Variable, *, freed: Mapping[str, Variable]) -> Slider:
    path, part = variable.path, variable.path.partition(".")[0]
    searched = path in freed or path in DESIGNED or path in GOVERNED
    usual = searched and path.startswith(("chip.", "deployment."))
    return Slider(
        variable=variable,
        title=TITLES.get(path) or path.partition(".")[2].replace("_", " "),
        group=GROUPS.get(part, PLACE),
        log=variable.low > 0 and path not in LINEAR,
        searched=searched,
        unlocked=path in freed or path in GOVERNED if freed else usual,
    )


def _place(slider: Slider) -> int:
    return (CHIP, MODEL, WORK, PLACE).index(slider.group)


def searched_variables(
    sliders: tuple[Slider, ...], *, values: Mapping[str, float]
) -> tuple[Variable, ...]:
    """Variables of a search around a design; the box reaches to where it stands.

    What is zero in the design, such as DRAM on a chip without, has no logarithm and
    stays. The governor's voltages are always variables of a search.
    """
    known = path_units(Design)
    return tuple(
        _reaching(slider.variable, values[slider.path])
        for slider in sliders
        if slider.searched and slider.path not in GOVERNED
        if slider.path in known and values[slider.path] > 0
    )


def _reaching(variable: Variable, value: float) -> Variable:
    if variable.choices:
        choices = tuple(sorted({*variable.choices, value}))
        power = variable.power_of_two and value in variable.choices
        reached = replace(variable, choices=choices, power_of_two=power)
        return replace(reached, low=choices[0], high=choices[-1])
    low, high = min(variable.low, value), max(variable.high, value)
    return replace(variable, low=low, high=high)
