"""Sweeps: one experiment for every point of a grid."""

from lowland.experiment.sweep.cell import SweepCell, build_cells
from lowland.experiment.sweep.grid import Grid, Point, is_grid_word
from lowland.experiment.sweep.launch import Launcher, make_launcher
from lowland.experiment.sweep.pace import Pace
from lowland.experiment.sweep.plan import Plan, make_plan
from lowland.experiment.sweep.run import Failure, run_here, run_jobs
from lowland.experiment.sweep.seeds import plan_seeds, run_seeds
from lowland.experiment.sweep.speed import Speed

__all__ = [
    "Failure",
    "Grid",
    "Launcher",
    "Pace",
    "Plan",
    "Point",
    "Speed",
    "SweepCell",
    "build_cells",
    "is_grid_word",
    "make_launcher",
    "make_plan",
    "plan_seeds",
    "run_here",
    "run_jobs",
    "run_seeds",
]
