"""What do many evaluations and searches teach? Sweeps, and folders of runs."""

from codesign.study.line import Line as Line
from codesign.study.line import spaced_values as spaced_values
from codesign.study.line import sweep_line as sweep_line
from codesign.study.runs import load_run as load_run
from codesign.study.runs import save_run as save_run
from codesign.study.table import Table as Table
