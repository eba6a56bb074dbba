"""What a SAM step costs on a GPU beside a baseline step: models, lengths, compiled and with CUDA graphs.

    benchmarks/gpu.sh OUT.json

runs this and the heart's tests on CUDA. Small models with short texts are among the cases: there the number
of kernel launches sets the time, and an ascent on a quarter of the batch can cost as much as on the whole.
A case that fails is written down with its error and the others go on; none begins after the time is over.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from common import finish, parser_of, timed
from peft import LoraConfig, get_peft_model
from rich.console import Console
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, T5Config

from lowland import SAMConfig, SAMGradient, StandardGradient
from lowland.models.head import build_model

T5_SHAPES = {
    "tiny": {"d_model": 256, "d_ff": 384, "d_kv": 64, "num_heads": 4, "num_layers": 4, "vocab_size": 4800},
    "t5.1.1-small": {"d_model": 512, "d_ff": 1024, "d_kv": 64, "num_heads": 6, "num_layers": 8},
    "t5.1.1-base": {"d_model": 768, "d_ff": 2048, "d_kv": 64, "num_heads": 12, "num_layers": 12},
}
CAUSAL = {  # 1.1 billion weights, TinyLlama's shape; the small one is for a look on a CPU
    "llama-lora": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "vocab_size": 32000,
    },
    "tiny-llama-lora": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "vocab_size": 512,
    },
}
VARIANTS = {"eager": None, "compiled": "default", "cuda graphs": "reduce-overhead"}


class Case(NamedTuple):
    """What is measured together."""

    model: str
    examples: int
    inputs: int
    targets: int  # of an encoder-decoder
    variant: str = "eager"


CASES = [
    Case("tiny", 32, 32, 8),
    Case("tiny", 32, 32, 8, "compiled"),
    Case("tiny", 32, 32, 8, "cuda graphs"),
    Case("t5.1.1-small", 32, 32, 8),
    Case("t5.1.1-small", 128, 512, 62),
    Case("t5.1.1-base", 32, 32, 8),
    Case("t5.1.1-base", 64, 512, 62),
    Case("llama-lora", 8, 512, 0),
    Case("llama-lora", 8, 64, 0),
    Case("t5.1.1-small", 32, 32, 8, "compiled"),
    Case("t5.1.1-small", 32, 32, 8, "cuda graphs"),
    Case("llama-lora", 8, 64, 0, "compiled"),
]


def model_of(name: str, device: torch.device) -> nn.Module:
    """A model with random weights, in training mode; a causal one is in bf16, with adapters in fp32."""
    torch.manual_seed(0)
    if name in T5_SHAPES:
        config = T5Config(
            **{"vocab_size": 32128, "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0}
            | T5_SHAPES[name],
            tie_word_embeddings=False,
            dropout_rate=0.1,
        )
        return build_model(config).to(device).train()
    base = LlamaForCausalLM(
        LlamaConfig(num_attention_heads=32 if name == "llama-lora" else 4, **CAUSAL[name])
    ).to(device, torch.bfloat16)
    adapters = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=["q_proj", "v_proj"])
    return get_peft_model(base, adapters).train()


def batch_of(case: Case, words: int, device: torch.device, seed: int) -> dict[str, Tensor]:
    """A batch of random tokens without padding; a causal model's labels are its inputs."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(2, words, (case.examples, case.inputs), generator=generator)
    targets = torch.randint(2, words, (case.examples, case.targets), generator=generator)
    batch = {"input_ids": inputs, "attention_mask": torch.ones_like(inputs)}
    batch["labels"] = targets if case.targets else inputs
    return {name: tensor.to(device) for name, tensor in batch.items()}


def measure(case: Case, device: torch.device, rounds: int) -> dict[str, Any]:
    """Measures one case: times of whole steps, interleaved, and each step's peak of memory."""
    model = model_of(case.model, device)
    words = int(model.config.vocab_size) - 100
    mode = VARIANTS[case.variant]
    module: nn.Module = model if mode is None else torch.compile(model, mode=mode)  # type: ignore[assignment]

    def loss_fn(batch: dict[str, Tensor]) -> Tensor:
        if case.variant == "cuda graphs":
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(device.type, torch.bfloat16):
            loss: Tensor = module(**batch).loss
        return loss.clone()  # a graph's output is overwritten by its next replay

    a = SAMConfig(rho=0.05)
    gradients: dict[str, StandardGradient] = {
        "baseline": StandardGradient(module),
        "sam, a = b/4": SAMGradient(module, a),
        "sam, a = b": SAMGradient(module, SAMConfig(rho=0.05, ascent=1.0)),
        "previous": SAMGradient(module, SAMConfig(rho=0.05, direction="previous")),
    }
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=device.type == "cuda")
    begun = time.perf_counter()
    seconds: dict[str, list[float]] = {name: [] for name in gradients}
    peaks: dict[str, float] = {}
    for turn in range(-2, rounds):
        batch = batch_of(case, words, device, turn + 2)
        for name, gradient in gradients.items():
            if isinstance(gradient, SAMGradient):
                gradient.measure = False
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()

            def step(gradient: StandardGradient = gradient, batch: dict[str, Tensor] = batch) -> None:
                gradient(loss_fn, batch)
                optimizer.step()
                optimizer.zero_grad()

            taken = timed(device, step)
            if turn >= 0:
                seconds[name].append(taken)
                if device.type == "cuda":
                    peaks[name] = torch.cuda.max_memory_allocated() / 2**20
        if turn == -1:
            warm_up = time.perf_counter() - begun
    baseline = statistics.median(seconds["baseline"])
    return {
        "weights": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for p in trained),
        "warm_up_seconds": warm_up,
        "baseline_ms": 1000 * baseline,
        "times_baseline": {
            name: statistics.median(x / y for x, y in zip(of, seconds["baseline"], strict=True))
            for name, of in seconds.items()
        },
        "peak_mib": peaks,
        "seconds": seconds,
    }


def attempt(case: Case, work: Callable[[], dict[str, Any]], over: bool) -> dict[str, Any]:
    """Measures a case, or says why it was not."""
    row: dict[str, Any] = case._asdict()
    if over:
        return row | {"error": "not begun: the time was over"}
    try:
        return row | work()
    except Exception as error:  # whatever a compiler or the driver raises: the other cases count as well
        return row | {"error": f"{type(error).__name__}: {str(error)[:500]}"}


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=[*T5_SHAPES, *CAUSAL], help="only these models")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=20, help="measured rounds, after two that are not")
    parser.add_argument("--seconds", type=float, default=270, help="no case begins later than this")
    options = parser.parse_args()
    device, end = torch.device(options.device), time.monotonic() + options.seconds
    cases = [*CASES, Case("tiny-llama-lora", 4, 16, 0)] if options.models else CASES
    rows = []
    for case in cases:
        if case.variant not in options.variants or case.model not in (options.models or [case.model]):
            continue

        def work(case: Case = case) -> dict[str, Any]:
            return measure(case, device, options.rounds)

        rows.append(attempt(case, work, over=time.monotonic() > end))
        shown = rows[-1].get("times_baseline", rows[-1].get("error"))
        Console().print(f"{case}: {rows[-1].get('baseline_ms', float('nan')):.1f} ms; {shown}")
        finish("gpu", rows, options.json)  # after each case, so that a kill loses one only
        torch._dynamo.reset()
        if device.type == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
