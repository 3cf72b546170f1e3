"""What do many evaluations and searches teach? Sweeps, and folders of runs."""

from codesign.study.runs import load_run as load_run
from codesign.study.runs import save_run as save_run
from codesign.study.sweep import Sweep as Sweep
from codesign.study.sweep import spaced_values as spaced_values
from codesign.study.sweep import sweep as sweep
