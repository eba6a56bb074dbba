"""Sweeps: experiments for the points of a grid, and runs side by side."""

from lowland.experiment.sweep.cells import Cell, Examples, Failure, build_cells, run_cells, with_grid
from lowland.experiment.sweep.grid import Grid, Point, is_grid_word
from lowland.experiment.sweep.jobs import JOBS, Job, make_jobs, run_jobs
from lowland.experiment.sweep.launch import Launcher, make_launcher
from lowland.experiment.sweep.pace import Pace
from lowland.experiment.sweep.speed import Speed

__all__ = [
    "JOBS",
    "Cell",
    "Examples",
    "Failure",
    "Grid",
    "Job",
    "Launcher",
    "Pace",
    "Point",
    "Speed",
    "build_cells",
    "is_grid_word",
    "make_jobs",
    "make_launcher",
    "run_cells",
    "run_jobs",
    "with_grid",
]
