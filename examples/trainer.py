"""SAM in Hugging Face's Seq2SeqTrainer: `python examples/trainer.py`, or with torchrun."""

from __future__ import annotations

import tempfile

import toy
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments

import lowland
from lowland.integrations import t5_adafactor


class MyTrainer(lowland.SAMTrainerMixin, Seq2SeqTrainer):
    pass


def main(folder: str) -> None:
    model, tokenizer = toy.model_and_tokenizer()
    arguments = Seq2SeqTrainingArguments(
        folder,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_train_epochs=3,
        lr_scheduler_type="constant",
        max_grad_norm=0,
        logging_steps=2,
        save_strategy="no",
        report_to="none",
    )
    trainer = MyTrainer(
        model,
        arguments,
        data_collator=toy.collate,
        train_dataset=toy.rows(tokenizer),
        optimizers=(t5_adafactor(model, learning_rate=5e-3), None),
        sam=lowland.SAMConfig(rho=0.05),
    )
    trainer.train()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
