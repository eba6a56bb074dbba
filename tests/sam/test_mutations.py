"""Breaks each line of the algorithm in turn, and sees that the test named for it fails."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LOWLAND = ROOT / "src" / "lowland"


@dataclass(frozen=True)
class Mutation:
    """One wrong expression or statement: where, what is right, what is wrong, and the test that must notice.

    Both are compared and put in as syntax trees, so that neither format nor comments matter. `wrong` may be
    empty where a statement is to go.
    """

    file: str
    function: str
    right: str
    wrong: str
    test: str


MUTATIONS = {
    "rho is scaled by 1.01": Mutation(
        "sam/perturb.py", "perturb", "rho / norm", "1.01 * rho / norm", "test_radius.py::test_radius_is_rho"
    ),
    "the ascent is on the whole batch": Mutation(
        "sam/ascent.py",
        "points",
        "(cut(pieces, 0, group), list(pieces), 1.0)",
        "(list(pieces), list(pieces), 1.0)",
        "test_micro_batches.py::test_ascent_sees_the_first_examples",
    ),
    "the ascent is on the last a examples": Mutation(
        "sam/ascent.py",
        "points",
        "(cut(pieces, 0, group), list(pieces), 1.0)",
        "(cut(pieces, size - group, size), list(pieces), 1.0)",
        "test_micro_batches.py::test_ascent_sees_the_first_examples",
    ),
    "the descent is on the ascent examples": Mutation(
        "sam/ascent.py",
        "points",
        "(cut(pieces, 0, group), list(pieces), 1.0)",
        "(cut(pieces, 0, group), cut(pieces, 0, group), 1.0)",
        "test_reference.py::test_mlp",
    ),
    "the norm is each tensor's own": Mutation(
        "sam/perturb.py",
        "perturb",
        "weights.move(directions, scale)",
        "weights.move([d / d.norm() for d in directions], scale * norm)",
        "test_radius.py::test_norm_is_global_and_not_squared",
    ),
    "the norm is squared": Mutation(
        "sam/perturb.py",
        "perturb",
        "rho / norm",
        "rho / norm**2",
        "test_radius.py::test_norm_is_global_and_not_squared",
    ),
    "the norm of fp16 is summed in fp16": Mutation(
        "parameters/norms.py",
        "squares",
        "torch.float64 if group[0].dtype == torch.float64 else torch.float32",
        "group[0].dtype",
        "test_radius.py::test_norm_is_summed_in_fp32",
    ),
    "w_adv is on the other side": Mutation(
        "sam/perturb.py",
        "perturb",
        "weights.move(directions, scale)",
        "weights.move(directions, -scale)",
        "test_reference.py::test_mlp",
    ),
    "the weights are not restored": Mutation(
        "sam/weights.py",
        "back",
        "torch._foreach_copy_(self.now, self.saved)",
        "None",
        "test_restore.py::test_success",
    ),
    "the weights are restored by subtraction": Mutation(
        "sam/weights.py",
        "back",
        "torch._foreach_copy_(self.now, self.saved)",
        "[w.sub_(1.001 * (w - s)) for w, s in zip(self.now, self.saved)]",
        "test_restore.py::test_success",
    ),
    "the weights are not restored after an error": Mutation(
        "sam/gradient.py",
        "__call__",
        "self._replicas.abandon()",
        "undo._actions.clear()",
        "test_restore.py::test_exception",
    ),
    "what is undone is added after it is done": Mutation(
        "sam/perturb.py",
        "perturb",
        "undo.later(weights.back)",
        "weights.move(directions, scale) or undo.later(weights.back) or weights.back()",
        "test_restore.py::test_ctrl_c_at_every_moment",
    ),
    "a zero gradient is divided by its norm": Mutation(
        "sam/perturb.py",
        "perturb",
        "rho / norm if norm > 0 else 0.0",
        "rho / norm",
        "test_radius.py::test_zero_ascent_gradient",
    ),
    "a point that is not finite is taken": Mutation(
        "sam/perturb.py",
        "perturb",
        "narrow and radius is not None and not math.isfinite(radius)",
        "False",
        "test_radius.py::test_weights_that_cannot_hold_the_point",
    ),
    "the gradients of both passes are summed": Mutation(
        "parameters/preserve.py", "gradients", "undo.later(back)", "None", "test_reference.py::test_mlp"
    ),
    "found gradients are dropped": Mutation(
        "parameters/preserve.py",
        "gradients",
        "None if p.grad is None else p.grad.clone() if copy else p.grad",
        "None",
        "test_rho_zero.py::test_found_gradients_are_added_to",
    ),
    "the random streams are not restored": Mutation(
        "parameters/preserve.py",
        "random_streams",
        "undo.later(back)",
        "None",
        "test_rho_zero.py::test_equals_loss_backward",
    ),
    "the buffers are not restored": Mutation(
        "parameters/preserve.py",
        "buffers",
        "undo.later(back)",
        "None",
        "test_rho_zero.py::test_equals_loss_backward",
    ),
    "a cast of w is used at w_adv": Mutation(
        "sam/weights.py",
        "move",
        "torch.clear_autocast_cache()",
        "None",
        "test_mixed_precision.py::test_autocast_outside",
    ),
    "a cast of w_adv is used at w": Mutation(
        "sam/weights.py",
        "back",
        "torch.clear_autocast_cache()",
        "None",
        "test_mixed_precision.py::test_autocast_outside",
    ),
    "rows of a table stay at w_adv": Mutation(
        "sam/weights.py",
        "back",
        "self._whole[index].index_copy_(0, rows, self.saved[index])",
        "None",
        "test_rows.py::test_the_same_gradient",
    ),
    "rows of a table stay at w": Mutation(
        "sam/weights.py",
        "move",
        "self._whole[index].index_copy_(0, rows, self.now[index])",
        "None",
        "test_rows.py::test_the_same_gradient",
    ),
    "micro-batches weigh the same": Mutation(
        "sam/standard.py",
        "_weighted",
        "count / total if total else 1 / len(pieces)",
        "1 / len(pieces)",
        "test_micro_batches.py::test_examples",
    ),
    "tokens are not counted": Mutation(
        "batches/batch.py",
        "target_count",
        "(labels != -100).sum()",
        "torch.tensor(labels.numel())",
        "test_micro_batches.py::test_target_tokens",
    ),
    "the gradients of m points are summed": Mutation(
        "sam/ascent.py",
        "points",
        "(cut(pieces, point * group, (point + 1) * group), list(pieces), 1.0 / m)",
        "(cut(pieces, point * group, (point + 1) * group), list(pieces), 1.0)",
        "test_micro_batches.py::test_full_averages_the_points",
    ),
    "an overflow of the ascent is not passed on": Mutation(
        "sam/gradient.py",
        "_after",
        "parameter.grad.mul_(math.inf)",
        "None",
        "test_mixed_precision.py::test_overflow",
    ),
    "the cosine is of the gradient before": Mutation(
        "sam/gradient.py",
        "__call__",
        "descent_cosine(done.weights)",
        "abs(descent_cosine(done.weights) or 0.0)",
        "test_cosine.py::test_one_weight",
    ),
    "the logits' gradient is that at w_adv": Mutation(
        "methods/functional.py",
        "put",
        "slope.to(found.dtype)",
        "found",
        "../methods/test_references.py::test_functional",
    ),
    "the logits are recorded of the ascent examples alone": Mutation(
        "sam/gradient.py",
        "__call__",
        "self._record(loss_fn, whole, share, undo)",
        "self._record(loss_fn, examples, share, undo)",
        "../methods/test_references.py::test_functional",
    ),
    "the mask keeps the smallest": Mutation(
        "methods/fisher.py",
        "mask_smallest",
        "gradient.abs().float() < least",
        "gradient.abs().float() > least",
        "../methods/test_references.py::test_fisher",
    ),
    "a second moment is not rooted": Mutation(
        "methods/precondition.py",
        "precondition",
        "moment.sqrt()",
        "moment.clone()",
        "../methods/test_references.py::test_preconditioned",
    ),
    "noise is the same in every step": Mutation(
        "methods/noise.py",
        "take",
        "int(torch.randint(2**63 - 1, (), generator=self._stream))",
        "0",
        "../methods/test_references.py::test_noise",
    ),
    "noise is the same for every seed": Mutation(
        "methods/noise.py",
        "take",
        "self._replicas.seed()",
        "0",
        "../methods/test_references.py::test_noise",
    ),
    "the adversary descends": Mutation(
        "methods/bi_lora.py",
        "_build",
        "AdamW(self._flat(), weight_decay=0.0, maximize=True)",
        "AdamW(self._flat(), weight_decay=0.0)",
        "../methods/test_bi_lora.py::test_ascends",
    ),
    "the adversary is not clipped": Mutation(
        "methods/bi_lora.py",
        "remember",
        "math.sqrt(self._rho / length)",
        "1.0",
        "../methods/test_bi_lora.py::test_equals_the_paper",
    ),
    "rho does not follow the rise": Mutation(
        "methods/chosen.py",
        "radius",
        "rho * self.rise.factor",
        "rho",
        "../methods/test_references.py::test_rise_finds_its_radius",
    ),
    "rho does not rise": Mutation(
        "sam/schedule.py",
        "scheduled_rho",
        "config.rho * min(1.0, (step - first + 1) / length) if length else config.rho",
        "config.rho",
        "test_schedule.py::test_warmup",
    ),
    "SAM begins at once": Mutation(
        "sam/schedule.py",
        "scheduled_rho",
        "math.ceil(config.start * steps)",
        "0",
        "test_schedule.py::test_start",
    ),
}


class Replace(ast.NodeTransformer):
    """Puts one expression in the place of another inside a function, and counts how often."""

    def __init__(self, mutation: Mutation) -> None:
        self.mutation, self.count, self.inside = mutation, 0, 0
        self.right = ast.dump(ast.parse(mutation.right, mode="eval").body)

    def visit(self, node: ast.AST) -> ast.AST:
        """Replaces a node that is the right expression."""
        named = isinstance(node, ast.FunctionDef) and node.name == self.mutation.function
        self.inside += named
        if self.inside and isinstance(node, ast.expr) and ast.dump(node) == self.right:
            self.count += 1
            return ast.parse(self.mutation.wrong, mode="eval").body
        changed: ast.AST = self.generic_visit(node)
        self.inside -= named
        return changed


def mutated(mutation: Mutation) -> str:
    """The source of a file with one expression replaced."""
    replace = Replace(mutation)
    tree = replace.visit(ast.parse((LOWLAND / mutation.file).read_text()))
    assert replace.count == 1, f"{mutation.right!r} is there {replace.count} times"
    return ast.unparse(ast.fix_missing_locations(tree))


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_caught(name: str, tmp_path: Path) -> None:
    """With one expression of the algorithm wrong, the test that is named for it fails."""
    mutation = MUTATIONS[name]
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "models"))
    (tmp_path / "src" / "lowland" / mutation.file).write_text(mutated(mutation))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "slow or not slow"]
    result = subprocess.run(
        [*command, f"tests/sam/{mutation.test}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 1, result.stdout  # 1: tests failed. 2 and more: they did not run
    assert "SyntaxError" not in result.stdout
