"""One pre-training, from text files to a model that can be fine-tuned."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase, T5Config

from lowland.data.encode import TokenIds
from lowland.errors import UserError
from lowland.evaluate.generate import evaluation_mode
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.files import aside_of, fingerprint, put_in_place, remove, remove_asides, sha256
from lowland.models import LoadedModel, load_model, save_model, weights_sha256
from lowland.models.build import build_model
from lowland.models.head import is_t5
from lowland.pretraining.settings import SHAPE, PretrainSettings
from lowland.pretraining.spans import SpanCorruption, sentinel_ids
from lowland.pretraining.text import SpanBatches, fixed_batches, mean_loss, read_documents, tokenise
from lowland.pretraining.vocabulary import load_vocabulary, train_vocabulary
from lowland.runs.directory import RunDirectory, write_json
from lowland.runs.guard import StopRequest, locked, stop_request
from lowland.runs.resumable import Resumable
from lowland.runs.run import processes
from lowland.sam import SAMConfig
from lowland.train import (
    StepReport,
    Training,
    TrainSettings,
    derive_seed,
    keep_freed_memory,
    resolve_precision,
    seed_dropout,
)

FILE = "pretraining.json"
ROWS = 64
"""The rows of the embeddings are rounded up to a multiple of this, which matrix units like."""

MOST_PIECES = 500
"""Pieces that are validated on."""


def train_settings(settings: PretrainSettings) -> TrainSettings:
    """Gives the settings of the training."""
    names = {field.name for field in dataclasses.fields(TrainSettings)} - {"input_length"}
    values = {name: value for name, value in dataclasses.asdict(settings).items() if name in names}
    return TrainSettings(**values, schedule="cosine", gradient_clip=1.0, dropout=0.0)


def t5_config(settings: PretrainSettings, tokenizer: PreTrainedTokenizerBase) -> T5Config:
    """Gives the configuration of a T5.1.1 model with a vocabulary: gated GELU, no dropout."""
    config = T5Config(  # type: ignore[call-arg]  # passed on to the base class
        vocab_size=math.ceil(len(tokenizer) / ROWS) * ROWS,
        d_model=settings.d_model,
        d_ff=settings.d_ff,
        d_kv=settings.d_kv,
        num_heads=settings.heads,
        num_layers=settings.encoder_layers,
        num_decoder_layers=settings.decoder_layers,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    # The same function as T5's gelu_new, which transformers computes in eight operations instead of one.
    config.dense_act_fn = "gelu_pytorch_tanh"
    return config


def pretrain(
    settings: PretrainSettings,
    files: Sequence[Path],
    path: Path | None,
    say: Callable[[str], None],
    *,
    model: str | None = None,
) -> Path:
    """Pre-trains a model from random weights or a checkpoint's, or resumes what was interrupted.

    Args:
        settings: What decides the outcome.
        files: Text files; blank lines separate documents.
        path: The run's directory; `None` for one of its own in `runs`.
        say: Is told how it goes, a sentence at a time.
        model: The checkpoint to begin with, which gives shape and vocabulary; `None` for random weights.

    Returns:
        The final model's directory.

    Raises:
        UserError: If something the user gave is wrong, or the directory holds another run.
        TrainingError: If training cannot go on.
        KeyboardInterrupt: If the user asked to stop; the same command resumes it.
    """
    keep_freed_memory()
    first = processes().is_main_process
    start = None if model is None else _checkpoint(model)
    plain = dataclasses.asdict(settings)
    if start is not None:
        plain = {name: value for name, value in plain.items() if name not in SHAPE}
    identity = {
        "settings": plain,
        "text": [_hash(file) for file in files],
        "start": None if start is None else weights_sha256(start.model),
    }
    path = path or Path("runs") / f"pretrain-{fingerprint(identity)}"
    documents = list(read_documents(files))
    with locked(path) if first else nullcontext(), stop_request(say) as stop:
        if first:
            _claim(path, identity)
            if start is None and not (path / "vocabulary").exists():
                say(f"Training a vocabulary of {settings.pieces} pieces.")
                _make_vocabulary(documents, path / "vocabulary", settings)
        processes().wait_for_everyone()
        if start is None:
            tokenizer = load_vocabulary(path / "vocabulary")
            torch.manual_seed(derive_seed(settings.seed, "initialisation"))
            start = LoadedModel(
                model=build_model(t5_config(settings, tokenizer)), tokenizer=tokenizer, name=path.name
            )
        arm = "sam" if settings.rho else "baseline"
        run = RunDirectory(path, arm, settings.seed, writes=first)
        if run.done:
            run.tidy()
        else:
            tokens = tokenise(documents, start.tokenizer)
            if not _train(settings, run, start, tokens, say, stop, fingerprint(identity)):
                raise KeyboardInterrupt
    return path / "model"


def split_documents(count: int, kept: int, seed: int) -> tuple[list[int], list[int]]:
    """Parts the numbers of documents into those to train on and those to validate on.

    Raises:
        UserError: If none would be left to train on.
    """
    if kept >= count:
        raise UserError(
            f"The text has {count} document(s), parted by blank lines, and {kept} are wanted for "
            "validation. Give fewer --validation-documents, or part the text by blank lines."
        )
    order = np.random.default_rng(derive_seed(seed, "held-out")).permutation(count).tolist()
    return sorted(order[kept:]), sorted(order[:kept])


def _checkpoint(name: str) -> LoadedModel:
    loaded = load_model(name, dropout=0.0)
    if not is_t5(loaded.model) or not sentinel_ids(loaded.tokenizer):
        raise UserError(
            f"{name} cannot be pre-trained further, for it is no T5 whose vocabulary ends in sentinels "
            "(..., <extra_id_1>, <extra_id_0>)."
        )
    return loaded


def _hash(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from None


def _claim(path: Path, identity: dict[str, Any]) -> None:
    """Makes a directory that of a run, or finds that it is; a run that has not begun gives way to another."""
    elsewhere = "Give another directory with --out."
    file = path / FILE
    if file.exists() and (found := json.loads(file.read_text(encoding="utf-8"))) != identity:
        if any(path.glob("*-seed*")):
            other = ", ".join(name for name in identity if found.get(name) != identity[name])
            raise UserError(f"{path} holds another pre-training (other: {other}). {elsewhere}")
        remove(path / "vocabulary")
    elif not file.exists() and any(found.name[0] != "." for found in path.iterdir()):
        raise UserError(f"{path} exists and holds no pre-training. {elsewhere}")
    write_json(file, identity)
    remove_asides(path)


def _make_vocabulary(documents: Sequence[str], folder: Path, settings: PretrainSettings) -> None:
    aside = aside_of(folder)
    seed = derive_seed(settings.seed, "subsample") % 2**31
    try:
        train_vocabulary(documents, aside, pieces=settings.pieces, fold_case=settings.fold_case, seed=seed)
        put_in_place(aside, folder)
    finally:
        remove(aside)


def _train(
    settings: PretrainSettings,
    run: RunDirectory,
    start: LoadedModel,
    documents: Sequence[TokenIds],
    say: Callable[[str], None],
    stop: StopRequest,
    identity: str,
) -> bool:
    """Trains, validates and saves; tells whether the last step was reached."""
    train, seed = train_settings(settings), settings.seed
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
    bf16 = resolve_precision(train.precision, accelerator.device) == "bf16"
    model = start.model.to(accelerator.device)
    family = EncoderDecoder(start)
    corruption = SpanCorruption(start.tokenizer, settings.input_length)
    parts = split_documents(len(documents), settings.validation_documents, seed)
    kept, held_out = ([documents[index] for index in part] for part in parts)
    batches = SpanBatches(kept, corruption, train.batch_size, derive_seed(seed, "order"))
    validation = fixed_batches(held_out, corruption, batch_size=train.batch_size, most=MOST_PIECES)
    say(
        f"Text: {len(documents):,} documents, {sum(map(len, documents)):,} tokens; an epoch is "
        f"{batches.pieces:,} pieces of {corruption.lengths.tokens} tokens.\n"
        f"Model: {model.num_parameters():,} parameters, {len(start.tokenizer):,} tokens."
    )
    training = Training(
        model,
        batches,
        family.loss,
        settings=train,
        sam=SAMConfig(rho=settings.rho),
        accelerator=accelerator,
        bf16=bf16,
    )
    progress = _Progress(say, train.steps)
    resumable = Resumable(training, run, identity, accelerator, progress, stop)
    if resumable.restore() is None:
        run.start(json.dumps(dataclasses.asdict(settings)), resumable.environment, train.steps)
        seed_dropout(seed, accelerator.process_index)

    def on_log(report: StepReport) -> None:
        run.log(report)
        progress.on_log(report)

    @torch.no_grad()
    def evaluate(step: int) -> None:
        with evaluation_mode(model):
            loss = mean_loss(family.loss(accelerator.device, bf16=bf16), validation)
        run.evaluation("validation", step, "held_out", {"loss": loss}, len(validation), 0.0)
        say(f"step {step}: validation loss {loss:.4f} nats a target token")

    with resumable:
        finished = training.run(on_log, resumable.evaluation(evaluate), resumable.asked_to_stop)
    if not finished:
        return False
    if accelerator.is_main_process:
        dtype = torch.bfloat16 if settings.save_as == "bf16" else None
        save_model(start, run.path.parent / "model", dtype=dtype, overwrite=True)
    run.finish(weights_sha256=weights_sha256(model))
    return True


class _Progress:
    """Tells how a training goes on, a line every half minute."""

    SECONDS = 30.0

    def __init__(self, say: Callable[[str], None], steps: int) -> None:
        self.on_note = say
        self._steps = steps
        self._seconds, self._line_at = 0.0, 0.0
        self._counted = 0  # the steps that were taken before

    def on_resume(self, step: int) -> None:
        self._counted = step
        self.on_note(f"Going on after step {step}.")

    def on_log(self, report: StepReport) -> None:
        self._seconds += report.seconds
        if time.monotonic() - self._line_at < self.SECONDS and report.step < self._steps:
            return
        self._line_at = time.monotonic()
        left = self._seconds / (report.step - self._counted) * (self._steps - report.step) / 60
        self.on_note(
            f"step {report.step} of {self._steps}: loss {report.loss_text}, about {left:.0f} min left"
        )
