"""SAM over LoRA adapters: `python examples/peft_lora.py`."""

from __future__ import annotations

import torch
import toy
from peft import LoraConfig, get_peft_model
from torch import Tensor

import lowland


def main() -> None:
    base, tokenizer = toy.model_and_tokenizer()
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM"))
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)

    def loss_fn(batch: toy.Batch) -> Tensor:
        return model(**batch).loss

    # Frozen weights are neither perturbed nor copied: rho is a radius in the space of the adapters.
    sam = lowland.SAM(model, rho=0.05)
    for batch in toy.batches(tokenizer, 8):
        info = sam(loss_fn, batch)
        optimizer.step()
        optimizer.zero_grad()
        print(f"loss {info.loss:.3f}  radius {info.radius:.4f}  moved {info.moved:.1%}")


if __name__ == "__main__":
    main()
