"""SAM in a loop with Accelerate: `accelerate launch examples/accelerate_loop.py`."""

from __future__ import annotations

import torch
import toy
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

import lowland


def main() -> None:
    accelerator = Accelerator(gradient_accumulation_steps=2)
    model, tokenizer = toy.model_and_tokenizer()
    loader = DataLoader(toy.rows(tokenizer), batch_size=4, collate_fn=toy.collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    def loss_fn(batch: toy.Batch) -> Tensor:
        return model(**batch).loss

    # The model as prepared, and Accelerate's scaler (None but for fp16).
    sam = lowland.SAM(model, rho=0.05, scaler=accelerator.scaler)
    micro_batches = []
    for batch in loader:
        micro_batches.append(batch)
        with accelerator.accumulate(model):
            if accelerator.sync_gradients:  # the last micro-batch of a step
                info = sam(loss_fn, micro_batches=micro_batches)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                accelerator.print(f"loss {info.loss:.3f}  radius {info.radius:.4f}")
                micro_batches = []
            optimizer.step()
            optimizer.zero_grad()
    accelerator.end_training()


if __name__ == "__main__":
    main()
