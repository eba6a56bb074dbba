"""Adapters beside a model's weights: LoRA, DoRA and IA3, computed by PEFT."""

from __future__ import annotations

import dataclasses
import json
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PreTrainedConfig

from lowland.errors import UserError
from lowland.families.settings import FamilySettings, LoRASettings
from lowland.models.load import ADAPTER, BASE_CONFIG, Kind, LoadedModel, quiet_transformers, read_config

WEIGHTS = "adapter_model.safetensors"


def find(name: str, hub: bool) -> tuple[str, Path | None]:
    """Gives the name of the model itself, and the directory of its adapters, if there are any."""
    folder = Path(name)
    try:
        if not (folder / ADAPTER).is_file():
            return name, None
    except OSError as error:  # a text that no folder can have as its name
        raise UserError(f"Model {name!r} cannot be read: {error.strerror}.") from None
    try:
        base = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise UserError(f"{folder / ADAPTER} does not name the model that its adapters are for.")
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"Directory {name!r} of adapters has no {WEIGHTS}.")
    if not hub and not Path(base).is_dir():
        raise UserError(
            f"The adapters in {name!r} are for the model {base!r}, which is not here; write its directory "
            f"into {ADAPTER}, or, for a name on the Hugging Face hub, allow it with --hub."
        )
    return base, folder


def config_of(name: str, base: str, hub: bool) -> PreTrainedConfig:
    """Reads the configuration of a model, or the one beside adapters, which knows their labels."""
    folder = Path(name)
    if name == base or not (folder / BASE_CONFIG).is_file():
        return read_config(base, hub)
    with quiet_transformers():
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            str(folder / BASE_CONFIG), trust_remote_code=False, local_files_only=True
        )
    return config


def completed(kind: Kind, folder: Path | None) -> Kind:
    """Lets a model lack what its adapters bring along: the head of a classifier."""
    if folder is None:
        return kind
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as tensors:
            brought = set(tensors.keys())
    except SafetensorError as error:
        raise UserError(f"{folder / WEIGHTS} is damaged ({error}); copy it again.") from None
    return dataclasses.replace(kind, is_fresh=lambda name: f"base_model.model.{name}" in brought)


def quantized(kind: Kind, settings: FamilySettings) -> Kind:
    """Lets matrices be held in 4 bits, where that is asked for."""
    if not settings.load_in_4bit:
        return kind
    if find_spec("bitsandbytes") is None:
        raise UserError("--load-in-4bit needs bitsandbytes: run pip install bitsandbytes.")
    if not torch.cuda.is_available():
        raise UserError("--load-in-4bit needs a CUDA device, and there is none.")
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return dataclasses.replace(
        kind, options={**kind.options, "quantization_config": quantization, "device_map": {"": 0}}
    )


def attach(
    loaded: LoadedModel,
    name: str,
    folder: Path | None,
    lora: LoRASettings | None,
    settings: FamilySettings,
    *,
    trainable: bool,
) -> LoadedModel:
    """Puts adapters beside a model: those of a directory, new ones, or the latter on the former merged."""
    if settings.load_in_4bit and trainable and lora is None and folder is None:
        raise UserError("Weights in 4 bits cannot be trained; give --lora to train adapters beside them.")
    if folder is None and lora is None:
        return loaded
    try:
        peft: Any = import_module("peft")
    except ImportError:
        raise UserError("Adapters need PEFT: run pip install 'lowland[peft]'.") from None
    model: Any = loaded.model
    if settings.load_in_4bit and trainable:
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    try:
        with warnings.catch_warnings():
            # Of names that transformers gives up, and of a transposed matrix (GPT-2) that PEFT sets right.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", "fan_in_fan_out")
            if folder is not None:
                model = peft.PeftModel.from_pretrained(
                    model, str(folder), is_trainable=trainable and lora is None, use_safetensors=True
                )
                if lora is not None:
                    model = model.merge_and_unload()
            if lora is not None:
                model = peft.get_peft_model(model, _config(peft, lora, loaded))
    except (ValueError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise UserError(f"Adapters do not fit the model {loaded.name!r}: {reason}.") from None
    return dataclasses.replace(loaded, model=model.eval(), name=name)


def merge(loaded: LoadedModel) -> LoadedModel:
    """Adds adapters to the weights that they stand beside; a model without any stays as it is."""
    model: Any = loaded.model
    if not hasattr(model, "merge_and_unload"):
        return loaded
    return dataclasses.replace(loaded, model=model.merge_and_unload())


def _config(peft: Any, lora: LoRASettings, loaded: LoadedModel) -> Any:
    """Writes settings as PEFT has them."""
    task = "SEQ_2_SEQ_LM" if loaded.model.config.is_encoder_decoder else "CAUSAL_LM"
    if type(loaded.model).__name__.endswith("ForSequenceClassification"):
        task = "SEQ_CLS"
    # A head that is new is trained and saved whole; PEFT itself sees to modules of these two names.
    new = sorted({name.rpartition(".")[0] for name in loaded.fresh})
    new = [name for name in new if not {"classifier", "score"} & set(name.split("."))]
    folder = Path(loaded.name)
    shared = {
        "task_type": task,
        "modules_to_save": new or None,
        "target_modules": "all-linear" if lora.targets == ("all-linear",) else list(lora.targets) or None,
        "base_model_name_or_path": str(folder.resolve()) if folder.is_dir() else loaded.name,
    }
    if lora.kind == "ia3":
        return peft.IA3Config(**shared)
    return peft.LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, use_dora=lora.dora, **shared
    )
