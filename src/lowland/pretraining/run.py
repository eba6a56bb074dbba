"""One pre-training, from text files to a model that can be fine-tuned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tomli_w
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lowland.errors import UserError
from lowland.files import aside_of, fingerprint, put_in_place, remove, remove_asides
from lowland.models import LoadedModel, load_model, save_model, weights_sha256
from lowland.models.build import build_model
from lowland.pretraining.batches import SpanBatches, SpanCorruption, validation_batches
from lowland.pretraining.corpus import Corpus, load_corpus
from lowland.pretraining.identity import (
    as_model,
    claim,
    identity_of,
    keep_start,
    own_directory,
    refuse_other_vocabulary,
)
from lowland.pretraining.settings import PretrainSettings
from lowland.pretraining.vocabulary import load_vocabulary, sentinel_ids, train_vocabulary
from lowland.runs.directory import Bystander, RunDirectory, write_json
from lowland.runs.guard import StopRequest, locked, stop_request
from lowland.runs.resumable import Resumable
from lowland.runs.run import processes
from lowland.sam import SAMConfig
from lowland.train import (
    StepReport,
    Training,
    be_deterministic,
    derive_seed,
    keep_freed_memory,
    resolve_precision,
    seed_dropout,
)
from lowland.train.loss import sequence_loss


@dataclass(frozen=True, kw_only=True)
class TextReport:
    """What is known before training begins.

    Attributes:
        documents: Documents of the text.
        tokens: Their tokens.
        vocabulary: Tokens of the vocabulary, sentinels among them.
        parameters: Of the model.
        pieces: Pieces of an epoch.
        raw: Tokens of a piece of raw text.
        inputs: Tokens of an input.
        targets: Tokens of a target.
    """

    documents: int
    tokens: int
    vocabulary: int
    parameters: int
    pieces: int
    raw: int
    inputs: int
    targets: int


class Observer(Protocol):
    """What is told of a pre-training while it goes on."""

    def on_note(self, sentence: str) -> None:
        """Called with something that the user should know."""

    def on_text(self, report: TextReport) -> None:
        """Called once, before training begins."""

    def on_log(self, report: StepReport) -> None:
        """Called at every line of the training log."""

    def on_resume(self, step: int) -> None:
        """Called when an interrupted run goes on after a step."""

    def on_validation(self, step: int, loss: float) -> None:
        """Called after a validation, with the loss in nats a target token."""


def pretrain(
    settings: PretrainSettings,
    files: Sequence[Path],
    path: Path | None,
    observer: Observer,
    *,
    arm: str = "baseline",
    vocabulary: Path | None = None,
    model: str | None = None,
    dtype: torch.dtype | None = None,
) -> Path | None:
    """Pre-trains a model from random weights or a checkpoint's, or goes on with what was interrupted.

    Args:
        settings: What decides the outcome.
        files: Text files; blank lines part documents.
        path: The run's directory; `None` for one of its own in `runs`.
        observer: Is told how it goes.
        arm: `baseline` or `sam`.
        vocabulary: Directory of a tokenizer; `None` trains one.
        model: The checkpoint to begin with, which gives shape and vocabulary; `None` for random weights.
        dtype: What the weights of the final model are cast to; `None` for fp32.

    Returns:
        The final model's directory; `None` on all processes but the first.

    Raises:
        UserError: If something the user gave is wrong, or the directory holds another run.
        TrainingError: If training cannot go on.
        KeyboardInterrupt: If the user asked to stop; the same command goes on.
    """
    if settings.train.deterministic:
        be_deterministic()
    first = processes().is_main_process
    keep_freed_memory()
    identity = identity_of(settings, files, arm=arm, vocabulary=vocabulary, model=model, dtype=dtype)
    path = own_directory(identity) if path is None else path
    with locked(path) if first else nullcontext(), stop_request(observer.on_note) as stop:
        if first:
            claim(path, identity)
            remove_asides(path)
            if model is not None:
                keep_start(model, path / "start")
                vocabulary = path / "start"
            elif vocabulary is not None:
                refuse_other_vocabulary(vocabulary, path / "vocabulary")
            _prepare(settings, files, identity["text"], path, vocabulary, observer)
        processes().wait_for_everyone()
        start = None
        if model is not None:
            start = load_model(str(path / "start"), dropout=settings.train.dropout)
            settings = as_model(settings, start)
        tokenizer = load_vocabulary(path / "vocabulary")
        corpus = load_corpus(files, tokenizer, path / "corpus", identity["text"])
        directory = (RunDirectory if first else Bystander)(path, arm, settings.seed)
        if directory.done:
            directory.tidy()
        elif not _train(
            settings, path, directory, tokenizer, corpus, observer, stop, start, dtype, fingerprint(identity)
        ):
            raise KeyboardInterrupt
        return path / "model" if first else None


def _prepare(
    settings: PretrainSettings,
    files: Sequence[Path],
    text: str,
    path: Path,
    vocabulary: Path | None,
    observer: Observer,
) -> None:
    """Makes vocabulary and tokens, where an earlier call has not."""
    target = path / "vocabulary"
    if not target.exists():
        if vocabulary is not None:
            tokenizer = load_vocabulary(vocabulary)
        aside = aside_of(target)
        try:
            if vocabulary is None:
                observer.on_note(f"Training a vocabulary of {settings.pieces} pieces.")
                tokenizer = train_vocabulary(
                    files,
                    aside,
                    pieces=settings.pieces,
                    fold_case=settings.fold_case,
                    lines=settings.vocabulary_lines,
                    seed=derive_seed(settings.seed, "subsample") % 2**31,
                )
            else:
                tokenizer.save_pretrained(aside)
            put_in_place(aside, target)
        finally:
            remove(aside)
    observer.on_note("Reading the text.")
    load_corpus(files, load_vocabulary(target), path / "corpus", text)


def split_documents(
    corpus: Corpus, settings: PretrainSettings
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Parts the documents into those to train on and those to validate on.

    Raises:
        UserError: If none would be left to train on.
    """
    count = settings.validation_documents
    if count >= len(corpus.ends):
        raise UserError(
            f"The text has {len(corpus.ends)} document(s), parted by blank lines, and {count} are wanted for "
            "validation. Give fewer --validation-documents, or part the text by blank lines."
        )
    order = np.random.default_rng(derive_seed(settings.seed, "held-out")).permutation(len(corpus.ends))
    return np.sort(order[count:]), np.sort(order[:count])


def _train(
    settings: PretrainSettings,
    path: Path,
    directory: RunDirectory,
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    observer: Observer,
    stop: StopRequest,
    start: LoadedModel | None,
    dtype: torch.dtype | None,
    identity: str,
) -> bool:
    """Trains, validates and saves; tells whether the last step was reached."""
    train, seed = settings.train, settings.seed
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
    first = accelerator.is_main_process
    bf16 = resolve_precision(train.precision, accelerator.device) == "bf16"
    torch.manual_seed(derive_seed(seed, "initialisation"))
    model = start.model if start is not None else build_model(settings.shape.config(tokenizer))
    model = model.to(accelerator.device)
    corruption = SpanCorruption(
        sentinel_ids(tokenizer),
        int(tokenizer.eos_token_id),
        input_length=settings.input_length,
        density=settings.noise_density,
        mean_span=settings.mean_noise_span,
    )
    kept, held_out = split_documents(corpus, settings)
    batches = SpanBatches(corpus, kept, corruption, train.batch_size, derive_seed(seed, "order"))
    validation = validation_batches(
        corpus, held_out, corruption, batch_size=train.batch_size, most=settings.validation_pieces
    )
    observer.on_text(
        TextReport(
            documents=len(corpus.ends),
            tokens=len(corpus.tokens),
            vocabulary=len(tokenizer),
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            pieces=batches.pieces,
            raw=corruption.lengths.tokens,
            inputs=corruption.lengths.inputs,
            targets=corruption.lengths.targets,
        )
    )
    training = Training(
        model,
        batches,
        settings=train,
        sam=settings.sam if directory.arm == "sam" else SAMConfig(rho=0.0),
        accelerator=accelerator,
        bf16=bf16,
    )
    resumable = Resumable(
        training, directory, identity, accelerator, observer, deterministic=train.deterministic
    )
    if resumable.restore() is None:
        directory.start(tomli_w.dumps(settings.to_dict()), resumable.environment, train.steps)
        seed_dropout(seed, accelerator.process_index)

    def on_log(report: StepReport) -> None:
        directory.log(report)
        observer.on_log(report)

    def evaluate(step: int) -> None:
        loss = validation_loss(model, validation, bf16=bf16)
        directory.evaluation(
            "validation", step, "held_out", {"loss": loss}, sum(len(b["labels"]) for b in validation), 0.0
        )
        observer.on_validation(step, loss)

    if not resumable.run(on_log, evaluate, stop):
        return False
    if first:
        save_model(
            LoadedModel(model=model, tokenizer=tokenizer, name=path.name),
            path / "model",
            dtype=dtype,
            overwrite=True,
        )
        write_json(path / "pretraining.json", json.loads(json.dumps(settings.to_dict())))
    directory.finish(weights_sha256=weights_sha256(model))
    return True


@torch.no_grad()
def validation_loss(model: torch.nn.Module, batches: Sequence[dict[str, Tensor]], *, bf16: bool) -> float:
    """Computes the mean loss over all target tokens, in nats, without dropout or z-loss.

    Args:
        model: An encoder-decoder; left as it was.
        batches: What it is validated on; all of one target length.
        bf16: Whether to compute under bf16 autocast.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    total, count = 0.0, 0
    for batch in batches:
        on_device = {name: column.to(device) for name, column in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = sequence_loss(model, model.prepare_decoder_input_ids_from_labels, on_device)  # type: ignore[arg-type]
        total += float(loss) * batch["labels"].numel()
        count += batch["labels"].numel()
    model.train(training)
    return total / count
