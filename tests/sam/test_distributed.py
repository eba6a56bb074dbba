"""Two processes give what one gives on the examples of both: gradients, figures, trajectories."""

from __future__ import annotations

import json

import pytest
import torch.multiprocessing
from tests.sam import worker

# Starting two processes and all cases take half a minute, on a busy machine more.
# With `--dist loadgroup` one worker runs them all, so that they are started once.
pytestmark = [pytest.mark.distributed, pytest.mark.timeout(300), pytest.mark.xdist_group("distributed")]


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What went wrong in each case, by rank; all cases run in one pair of processes."""
    folder = tmp_path_factory.mktemp("distributed")
    torch.multiprocessing.spawn(worker.work, args=(str(folder),), nprocs=worker.WORLD)
    return [json.loads((folder / f"errors-{rank}.json").read_text()) for rank in range(worker.WORLD)]


@pytest.mark.parametrize("name", worker.CASES)
def test_case(name: str, errors: list[dict[str, str]]) -> None:
    """Both processes find what the case claims; see the case of this name in worker.py."""
    for rank, found in enumerate(errors):
        assert not found[name], f"rank {rank}: {found[name]}"
