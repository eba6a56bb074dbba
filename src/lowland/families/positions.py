"""How long a text a model can hold: the rows of its tables of positions."""

from __future__ import annotations

from torch import nn


def most_positions(model: nn.Module) -> tuple[int | None, int | None]:
    """Finds the most tokens of an input and of a target for which a model has positions.

    Models without a table (relative or rotary positions, sinusoids that are computed) have no limit here.

    Args:
        model: The model.

    Returns:
        The least of the tables that see inputs, and of those that see targets; `None` where there is none.
    """
    inputs: list[int] = []
    targets: list[int] = []
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if not isinstance(module, nn.Embedding) or not ("position" in last or last == "wpe"):
            continue
        if "relative" in last:
            continue
        # BART and OPT begin at row 2; RoBERTa, MPNet and ProphetNet after the row of padding.
        first = int(getattr(module, "offset", 0)) or (
            0 if module.padding_idx is None else module.padding_idx + 1
        )
        rows = module.num_embeddings - first
        parts = name.split(".")
        if "decoder" not in parts:
            inputs.append(rows)
        if "encoder" not in parts:
            targets.append(rows)
    return min(inputs, default=None), min(targets, default=None)
