"""SAM in a plain PyTorch loop, with accumulation, and in mixed precision: `python examples/plain.py`."""

from __future__ import annotations

import torch
import toy
from torch import Tensor
from transformers import get_scheduler

import lowland
from lowland.integrations import t5_adafactor


def plain() -> None:
    model, tokenizer = toy.model_and_tokenizer()
    optimizer = t5_adafactor(model, learning_rate=5e-3)
    schedule = get_scheduler("constant_with_warmup", optimizer, num_warmup_steps=2)

    def loss_fn(batch: toy.Batch) -> Tensor:
        return model(**batch).loss

    sam = lowland.SAM(model, rho=0.05, ascent=0.25)
    for batch in toy.batches(tokenizer, 8):
        info = sam(loss_fn, batch)  # instead of loss_fn(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        print(
            f"loss at w_adv {info.loss:.3f}  at w, on the ascent examples {info.ascent_loss:.3f}  "
            f"norm {info.ascent_norm:.3f}  radius {info.radius:.4f}  moved {info.moved:.1%}"
        )


def accumulation() -> None:
    model, tokenizer = toy.model_and_tokenizer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def loss_fn(batch: toy.Batch) -> Tensor:
        return model(**batch).loss

    # Large batches that do not fit in memory: SAM cuts them itself.
    sam = lowland.SAM(model, rho=0.05, micro_batch_size=2)
    for batch in toy.batches(tokenizer, 8, epochs=1):
        sam(loss_fn, batch)
        optimizer.step()
        optimizer.zero_grad()

    # Batches that come in pieces already: hand over the pieces of one step together.
    sam = lowland.SAM(model, rho=0.05)
    pieces = []
    for piece in toy.batches(tokenizer, 2, epochs=1):
        pieces.append(piece)
        if len(pieces) == 4:
            sam(loss_fn, micro_batches=pieces)
            optimizer.step()
            optimizer.zero_grad()
            pieces = []


def bf16() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = toy.model_and_tokenizer()
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def loss_fn(batch: toy.Batch) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):  # the weights stay fp32
            return model(**batch).loss

    sam = lowland.SAM(model, rho=0.05)
    for batch in toy.batches(tokenizer, 8, epochs=1):
        sam(loss_fn, {name: column.to(device) for name, column in batch.items()})
        optimizer.step()
        optimizer.zero_grad()


def fp16() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = toy.model_and_tokenizer()
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def loss_fn(batch: toy.Batch) -> Tensor:
        with torch.autocast(device, dtype=torch.float16):
            return model(**batch).loss

    scaler = torch.amp.GradScaler(device)
    sam = lowland.SAM(model, rho=0.05, scaler=scaler)
    for batch in toy.batches(tokenizer, 8, epochs=1):
        sam(loss_fn, {name: column.to(device) for name, column in batch.items()})
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)  # never with a closure
        scaler.update()
        optimizer.zero_grad()


if __name__ == "__main__":
    for loop in (plain, accumulation, bf16, fp16):
        print(loop.__name__)
        loop()
