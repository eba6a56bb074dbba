"""Load a checkpoint with its tokenizer: the embedded one, a directory, or one from the Hugging Face hub."""

from __future__ import annotations

import contextlib
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging
from transformers.utils.hub import cached_file

from lowland.errors import UserError
from lowland.files import SUMS, DamagedError, check_sums
from lowland.models.head import has_separate_head, is_t5, keep_head_separate

EMBEDDED = "embedded"
"""The name of the small checkpoint that the package carries."""

ADAPTER = "adapter_config.json"
"""The file that tells a directory of adapters from one of a model."""

BASE_CONFIG = "base_config.json"
"""Configuration of the model that adapters stand beside; as config.json it would be one of a whole model."""

DROPOUT_SETTINGS = (
    "dropout_rate",  # T5, mT5, UMT5, LongT5, Switch
    "dropout",  # BART, Marian, Pegasus, ...
    "attention_dropout",
    "activation_dropout",
    "hidden_dropout_prob",  # BERT and relatives
    "attention_probs_dropout_prob",
    "resid_pdrop",  # GPT-2 as a decoder
    "embd_pdrop",
    "attn_pdrop",
    "embedding_dropout",  # ModernBERT
    "mlp_dropout",
)
"""Configuration fields that hold a dropout rate of the network itself (not of a classifier on top)."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A language model in evaluation mode on the CPU, its tokenizer, and the name by which it was loaded.

    `fresh` names the weights that the checkpoint lacks, and that were drawn anew.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    fresh: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Which class of transformers a checkpoint is loaded with, and what is changed on the way.

    `name` and `wanted` are words for messages: what such a model is called, and what to give instead of
    another. `is_fresh` and `is_unused` tell by a weight's name whether it may be missing, or there without
    use; `change` changes the configuration before the model is built, `finish` the model after it was read.
    """

    auto: Any = AutoModelForSeq2SeqLM
    name: str = "sequence-to-sequence language model"
    wanted: str = "a checkpoint of T5, mT5, ByT5, BART or another encoder-decoder"
    is_fresh: Callable[[str], bool] = lambda name: False
    is_unused: Callable[[str], bool] = lambda name: False
    change: Callable[[PreTrainedConfig], None] = lambda config: None
    finish: Callable[[PreTrainedModel], None] = lambda model: None
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)  # for from_pretrained


def load_model(
    name: str,
    *,
    dropout: float | None,
    hub: bool = False,
    kind: Kind | None = None,
    config: PreTrainedConfig | None = None,
) -> LoadedModel:
    """Loads a checkpoint: T5, T5.1.1, mT5, UMT5, ByT5, BART, encoder-decoder pairs, or one of another kind.

    Only safetensors are read, and code that comes with a checkpoint is never run. The model is in fp32, and a
    separate output matrix (T5.1.1) stays separate. `dropout` is one rate for all of the network; `None` keeps
    the checkpoint's own. `config` is changed in place.
    """
    kind = kind or Kind()
    source, local = resolve(name, hub)
    if local and (Path(source) / SUMS).is_file():  # a model that lowland saved
        try:
            check_sums(Path(source))
        except DamagedError as error:
            raise UserError(
                f"Model {name!r} is damaged: {error} Give another checkpoint, or remove {SUMS} from it if "
                "you changed the file yourself."
            ) from None
    config = config or read_config(name, hub)
    with quiet_transformers(), _as_user_error(name):
        if type(config) not in kind.auto._model_mapping:
            raise UserError(
                f"Model {name!r} is of the type {config.model_type!r}, which is no {kind.name}; "
                f"give {kind.wanted}."
            )
        if dropout is not None and _set_dropout(config, dropout) == 0 and dropout > 0:
            raise UserError(f"Model {name!r} has no dropout setting that lowland knows; leave dropout unset.")
        kind.change(config)
        model, info = kind.auto.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=local,
            ignore_mismatched_sizes=True,  # refused below
            output_loading_info=True,
            **kind.options,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=local)
        _check_tokenizer_files(name, source, local, tokenizer)
    fresh = {*info["missing_keys"], *(found[0] for found in info["mismatched_keys"])}
    if missing := sorted(key for key in fresh if not kind.is_fresh(key)):
        raise UserError(
            f"Model {name!r} lacks {len(missing)} weights of a {type(model).__name__} as its config.json "
            f"has it (the first is {missing[0]}); give a checkpoint of a {kind.name} and its config.json."
        )
    if unused := sorted(key for key in info["unexpected_keys"] if not kind.is_unused(key)):
        warnings.warn(
            f"Model {name!r} has {len(unused)} weights that a {type(model).__name__} of its config.json "
            f"does not use (the first is {unused[0]}).",
            stacklevel=2,
        )
    kind.finish(model)
    if is_t5(model) and has_separate_head(model):
        keep_head_separate(model)
    _check_vocabulary(name, model, tokenizer)
    _complete_special_tokens(name, model, tokenizer)
    for leftover in ("is_local", "local_files_only"):  # where it was read from, which no save should say
        tokenizer.init_kwargs.pop(leftover, None)
    return LoadedModel(model=model.eval(), tokenizer=tokenizer, name=name, fresh=tuple(sorted(fresh)))


def read_config(name: str, hub: bool = False) -> PreTrainedConfig:
    """Reads the configuration of a checkpoint."""
    source, local = resolve(name, hub)
    with quiet_transformers(), _as_user_error(name):
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            source, trust_remote_code=False, local_files_only=local
        )
    if "/" in str(getattr(config, "_attn_implementation", None) or ""):
        raise UserError(
            f"The config.json of model {name!r} names an attention to be fetched from the hub, which "
            "is code; take that line out."
        )
    return config


def resolve(name: str, hub: bool) -> tuple[str, bool]:
    """Returns where to read and whether that is this machine's disk."""
    if name == EMBEDDED:
        return str(Path(__file__).parent / "embedded"), True
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            inside = (path / "model" / "config.json").is_file()
            give = repr(str(path / "model")) if inside else "a directory with a saved model"
            raise UserError(f"Model directory {name!r} holds no config.json; give {give} instead.")
        if not any(path.glob("*.safetensors")):
            raise UserError(
                f"Model directory {name!r} has no .safetensors file; save the model with save_pretrained, "
                "because pickled weights such as pytorch_model.bin can run code and are not read."
            )
        return str(path), True
    if not hub or path.exists():
        raise UserError(
            f"Model {name!r} is neither {EMBEDDED!r} nor a directory here; give the directory of a "
            "checkpoint, or, for a name on the Hugging Face hub, allow it with --hub."
        )
    return name, False


def _set_dropout(config: PreTrainedConfig, rate: float) -> int:
    """Writes the rate to every dropout field of a configuration and its parts, and counts them."""
    known = [name for name in DROPOUT_SETTINGS if hasattr(config, name)]
    for name in known:
        setattr(config, name, rate)
    return len(known) + sum(_set_dropout(getattr(config, part), rate) for part in config.sub_configs)


def _check_tokenizer_files(name: str, source: str, local: bool, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuses a tokenizer that transformers made up: without files it returns one that knows no words."""
    # ByT5 has no vocabulary; its tokenizer_config.json is all there is.
    files = tuple(tokenizer.vocab_files_names.values()) or ("tokenizer_config.json",)
    for file in files:
        with contextlib.suppress(OSError):
            cached_file(source, file, local_files_only=local)
            return
    raise UserError(f"Model {name!r} has no tokenizer; add the checkpoint's {' or '.join(files)}.")


def _check_vocabulary(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    two: Any = tokenizer if hasattr(tokenizer, "get_tgt_vocab") else None  # FSMT encodes targets as inputs
    if two is not None and two.decoder != {i: token for token, i in two.encoder.items()}:
        raise UserError(
            f"Model {name!r} has one vocabulary for inputs and another for targets, and its tokenizer cannot "
            "encode targets; give a model with one vocabulary for both, such as T5, BART or Marian."
        )
    rows = min(
        len(cast(Tensor, matrix.weight))
        for matrix in (model.get_input_embeddings(), model.get_output_embeddings())
        if matrix is not None
    )
    # A vocabulary may have gaps, so that its last id tells more than its size.
    ids = max(len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=0))
    if ids > rows:
        raise UserError(
            f"The tokenizer of model {name!r} has {ids} tokens, but its embeddings have only "
            f"{rows} rows; give a checkpoint whose tokenizer belongs to it."
        )


def _complete_special_tokens(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Fills in ids that training and generation need and that some checkpoints leave to the tokenizer."""
    fallbacks: dict[str, tuple[int | None, ...]] = {
        "eos_token_id": (tokenizer.eos_token_id, tokenizer.sep_token_id),
        "pad_token_id": (tokenizer.pad_token_id,),
    }
    if model.config.is_encoder_decoder:
        # T5 starts with padding; BART and encoder-decoder pairs have a token for it.
        fallbacks["decoder_start_token_id"] = (
            (tokenizer.pad_token_id,) if is_t5(model) else (tokenizer.bos_token_id, tokenizer.cls_token_id)
        )
    else:  # a decoder alone often has no padding: what is padded is masked
        ends = getattr(model.config, "eos_token_id", None)
        fallbacks["pad_token_id"] += (tokenizer.eos_token_id, ends if isinstance(ends, int) else None)
    generation = getattr(model, "generation_config", None)  # a classifier has none
    owners = [model.config, *([generation] if generation is not None else [])]
    for wanted, candidates in fallbacks.items():
        known = (*(getattr(owner, wanted, None) for owner in owners), *candidates)
        # Some have -1 where there is none.
        value: Any = next((value for value in known if value not in (None, -1)), None)
        if value is None:
            raise UserError(f"Model {name!r} has no {wanted}; add it to its config.json.")
        for owner in owners:
            if getattr(owner, wanted, None) in (None, -1):
                setattr(owner, wanted, value)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = model.config.pad_token_id


@contextlib.contextmanager
def _as_user_error(name: str) -> Iterator[None]:
    """Turns what transformers raises for an unreadable checkpoint into one sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of any kind: a damaged file can trip the library anywhere
        if "custom code" in str(error) or "trust_remote_code" in str(error):
            raise UserError(
                f"Model {name!r} needs code of its own, which is never run here; give a checkpoint "
                "whose architecture and tokenizer are part of transformers."
            ) from None
        if isinstance(error, SafetensorError):
            raise UserError(
                f"Model {name!r} has a damaged .safetensors file ({error}); copy or download it again."
            ) from None
        reason = textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" ...").rstrip(". ")
        raise UserError(f"Model {name!r} cannot be loaded: {reason}.") from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences what transformers prints while it loads and saves."""
    verbosity, progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if progress:
            logging.enable_progress_bar()


def checkpoint_layers(model: PreTrainedModel) -> None:
    """Lets layers be computed again; reentrant checkpointing would hide weights from SAM's ascent."""
    if not model.supports_gradient_checkpointing:
        raise UserError(
            f"{type(model).__name__} does not support gradient checkpointing; leave out "
            "--gradient-checkpointing."
        )
    enable: Any = getattr(model, "activation_checkpointing_enable", None)  # its name from transformers 6 on
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    # These hooks are for frozen embeddings; here the embeddings are trained.
    model.disable_input_require_grads()
