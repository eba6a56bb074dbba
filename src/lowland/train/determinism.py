"""Nothing left to chance or to the timing of threads: the same bits from every run on the same machine."""

from __future__ import annotations

import os

import torch


def be_deterministic() -> None:
    """Makes torch refuse operations whose result depends on the order in which threads finish.

    To be called before anything is computed on a GPU: cuBLAS reads its setting only once. The number of
    threads matters, too, and is left as it is: see `torch.set_num_threads`.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
