"""Sweeps: experiments for the points of a grid, and runs side by side."""

from lowland.compare.cells import Cell, Examples, Failure, build_cells, run_cells, with_grid
from lowland.compare.grid import Grid, Point, is_grid_word
from lowland.compare.jobs import JOBS, Job, make_jobs, run_jobs
from lowland.compare.launch import Launcher, make_launcher
from lowland.compare.pace import Pace
from lowland.compare.speed import Speed

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
