"""Pictures out: tables, figures and the page of a result."""

from codesign.report.limits import binding_table as binding_table
from codesign.report.limits import limits_table as limits_table
from codesign.report.page import FIGURES as FIGURES
from codesign.report.page import write_report as write_report
from codesign.report.plots import plot_area as plot_area
from codesign.report.plots import plot_energy as plot_energy
from codesign.report.plots import plot_quality as plot_quality
from codesign.report.plots import plot_time as plot_time
from codesign.report.roofline import plot_roofline as plot_roofline
from codesign.report.search import plot_convergence as plot_convergence
from codesign.report.search import plot_ladder as plot_ladder
from codesign.report.search import plot_levers as plot_levers
from codesign.report.search import plot_rounding as plot_rounding
from codesign.report.tables import Table as Table
from codesign.report.tables import boundary_table as boundary_table
from codesign.report.tables import comparison_table as comparison_table
from codesign.report.tables import headline as headline
from codesign.report.tables import ladder_table as ladder_table
from codesign.report.tables import variables_table as variables_table
from codesign.report.waterfall import plot_waterfall as plot_waterfall
from codesign.report.waterfall import waterfall_table as waterfall_table
