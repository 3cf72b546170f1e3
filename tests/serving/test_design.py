import pytest

from codesign.core.errors import UnknownKeyError
from codesign.model.parameters import count_parameters
from codesign.serving.design import set_parameter
from tests.helpers import assert_trees_close
from tests.physics.designs import preset_design


def test_parameter_is_set_by_its_path():
    design = preset_design()
    changed = set_parameter(design, "chip.dram.bandwidth", value=5e12)
    assert float(changed.chip.dram.bandwidth) == 5e12
    restored = set_parameter(
        changed, "chip.dram.bandwidth", value=design.chip.dram.bandwidth
    )
    assert_trees_close(restored, design, rtol=0.0)


def test_unknown_path_is_an_error_with_near_names():
    with pytest.raises(UnknownKeyError, match=r"chip\.dram\.bandwidth"):
        set_parameter(preset_design(), "chip.dram.bandwith", value=1.0)


@pytest.mark.parametrize(
    "model", ["llama-3-8b", "gemma-3-27b", "nemotron-nano-9b-v2", "deepseek-v3"]
)
def test_more_layers_keep_the_shares_of_their_kinds(model: str):
    design = preset_design("h200-sxm", model)
    before = design.model
    after = set_parameter(
        design, "model.num_layers", value=2.0 * before.num_layers
    ).model
    for name in ("num_layers", "num_ffn_layers", "num_window_layers"):
        assert float(getattr(after, name)) == 2.0 * float(getattr(before, name))
    assert float(after.recurrent.num_layers) == 2.0 * float(before.recurrent.num_layers)
    grown, base = count_parameters(after), count_parameters(before)
    for part in ("attention", "recurrent"):
        assert float(getattr(grown, part)) == pytest.approx(
            2.0 * float(getattr(base, part))
        )
    assert float(grown.embedding) == float(base.embedding)
