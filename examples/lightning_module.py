"""SAM in Lightning, on one device, by manual optimization: `python examples/lightning_module.py`."""

from __future__ import annotations

import lightning
import torch
import toy
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

import lowland


class FineTuning(lightning.LightningModule):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.automatic_optimization = False  # the gradient is ours
        self.model = model

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.model.parameters(), lr=1e-3)

    def on_fit_start(self) -> None:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)  # with precision="16-mixed"
        self.sam = lowland.SAM(self.model, rho=0.05, scaler=scaler)

    def loss(self, batch: toy.Batch) -> Tensor:
        return self.model(**batch).loss

    def training_step(self, batch: toy.Batch, index: int) -> None:
        optimizer = self.optimizers()
        info = self.sam(self.loss, batch)  # instead of self.manual_backward(self.loss(batch))
        optimizer.step()
        optimizer.zero_grad()
        self.log_dict({"loss": info.loss, "radius": info.radius}, prog_bar=True)


def main() -> None:
    model, tokenizer = toy.model_and_tokenizer()
    loader = DataLoader(toy.rows(tokenizer), batch_size=8, collate_fn=toy.collate)
    trainer = lightning.Trainer(
        max_epochs=2, devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    trainer.fit(FineTuning(model), loader)
    print({name: round(float(value), 4) for name, value in trainer.callback_metrics.items()})


if __name__ == "__main__":
    main()
