"""From run directories to tables and figures. Reads files only; no torch."""

from lowland.report.result import Report, Reports
from lowland.report.runs import Experiment, read_experiment
from lowland.report.sweep import SweepReport, find_experiments, write_sweep
from lowland.report.write import report_many, write_report

__all__ = [
    "Experiment",
    "Report",
    "Reports",
    "SweepReport",
    "find_experiments",
    "read_experiment",
    "report_many",
    "write_report",
    "write_sweep",
]
