"""From run directories to tables and figures. Reads files only; no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowland.report.result import Report, Reports
    from lowland.report.runs import Experiment, read_experiment
    from lowland.report.sweep import SweepReport, find_experiments, write_sweep
    from lowland.report.write import read_report, report_many, write_report

__all__ = [
    "Experiment",
    "Report",
    "Reports",
    "SweepReport",
    "find_experiments",
    "read_experiment",
    "read_report",
    "report_many",
    "write_report",
    "write_sweep",
]
_HOMES = {
    "Experiment": "runs",
    "Report": "result",
    "Reports": "result",
    "SweepReport": "sweep",
    "find_experiments": "sweep",
    "read_experiment": "runs",
    "write_sweep": "sweep",
}


def __getattr__(name: str) -> Any:
    # The command line writes tables without loading scipy, which only a report needs.
    if name in __all__:
        return getattr(import_module(f"lowland.report.{_HOMES.get(name, 'write')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
