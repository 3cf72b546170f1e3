"""Pictures out: tables, figures and the page of a result."""

from codesign.report.page import write_report as write_report
from codesign.report.tables import Table as Table
from codesign.report.tables import comparison_table as comparison_table
from codesign.report.tables import headline as headline
from codesign.report.tables import variables_table as variables_table
