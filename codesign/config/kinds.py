"""Which kinds of presets are there? One folder of ``configs/`` each."""

KINDS = (
    "calibration",
    "chips",
    "models",
    "plans",
    "stacks",
    "studies",
    "technology",
)
