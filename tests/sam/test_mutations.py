"""Breaks each line of the algorithm in turn, and sees that the test named for it fails.

The table of docs/algorithm.md is this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAM = ROOT / "src" / "lowland" / "sam"


@dataclass(frozen=True)
class Mutation:
    """One wrong line: where, what is right, what is wrong, and the test that must notice."""

    file: str
    right: str
    wrong: str
    test: str


MUTATIONS = {
    "rho is scaled by 1.01": Mutation(
        "perturb.py",
        "scale = rho / norm if",
        "scale = 1.01 * rho / norm if",
        "test_radius.py::test_radius_is_rho",
    ),
    "the ascent is on the whole batch": Mutation(
        "gradient.py",
        "yield cut(pieces, 0, group), list(pieces), 1.0",
        "yield list(pieces), list(pieces), 1.0",
        "test_micro_batches.py::test_ascent_sees_the_first_examples",
    ),
    "the ascent is on the last a examples": Mutation(
        "gradient.py",
        "yield cut(pieces, 0, group), list(pieces), 1.0",
        "yield cut(pieces, size - group, size), list(pieces), 1.0",
        "test_micro_batches.py::test_ascent_sees_the_first_examples",
    ),
    "the descent is on the ascent examples": Mutation(
        "gradient.py",
        "yield cut(pieces, 0, group), list(pieces), 1.0",
        "yield cut(pieces, 0, group), cut(pieces, 0, group), 1.0",
        "test_reference.py::test_mlp",
    ),
    "the ascent drops out all the same": Mutation(
        "gradient.py",
        "part.training = False",
        "pass",
        "test_ascent_dropout.py::test_climbs_without_and_descends_with_dropout",
    ),
    "the descent goes without dropout, too": Mutation(
        "gradient.py",
        "part.training = True",
        "pass",
        "test_ascent_dropout.py::test_climbs_without_and_descends_with_dropout",
    ),
    "the ascent is in fp32 all the same": Mutation(
        "gradient.py",
        "if not self.ascent_bf16:",
        "if True:",
        "test_ascent_bf16.py::test_climbs_in_bf16_and_descends_in_fp32",
    ),
    "LookSAM leans along the ascent, too": Mutation(
        "look.py",
        "torch._foreach_mul_(here, -along)",
        "torch._foreach_mul_(here, 0.0)",
        "test_look.py::test_follows_the_reference",
    ),
    "LookSAM leans by the length of old gradients": Mutation(
        "look.py",
        "torch._foreach_mul_(here, 1 / length)",
        "pass",
        "test_look.py::test_follows_the_reference",
    ),
    "the norm is each tensor's own": Mutation(
        "perturb.py",
        "weights.move(directions, scale)",
        "weights.move([d / d.norm() for d in directions], scale * global_norm(gradients))",
        "test_radius.py::test_norm_is_global_and_not_squared",
    ),
    "the norm is squared": Mutation(
        "perturb.py",
        "scale = rho / norm if",
        "scale = rho / norm**2 if",
        "test_radius.py::test_norm_is_global_and_not_squared",
    ),
    "the norm of fp16 is summed in fp16": Mutation(
        "perturb.py",
        "torch.float64 if group[0].dtype == torch.float64 else torch.float32",
        "group[0].dtype",
        "test_radius.py::test_norm_is_summed_in_fp32",
    ),
    "w_adv is on the other side": Mutation(
        "perturb.py",
        "weights.move(directions, scale)",
        "weights.move(directions, -scale)",
        "test_reference.py::test_mlp",
    ),
    "the weights are not restored": Mutation(
        "weights.py",
        "            torch._foreach_copy_(_of(here, self.now), _of(here, self.saved))\n",
        "            pass\n",
        "test_restore.py::test_success",
    ),
    "the weights are restored by subtraction": Mutation(
        "weights.py",
        "            torch._foreach_copy_(_of(here, self.now), _of(here, self.saved))\n",
        "            for w, s in zip(self.now, self.saved):\n                w.sub_(1.001 * (w - s))\n",
        "test_restore.py::test_success",
    ),
    "the weights at w_adv are left in the place of w": Mutation(
        "weights.py",
        "        self._put_beside(self.saved)\n",
        "        pass\n",
        "test_swap.py::test_the_same_step",
    ),
    "the place of w is not taken": Mutation(
        "weights.py",
        "            self._put_beside(self.now)\n",
        "            pass\n",
        "test_swap.py::test_the_same_step",
    ),
    "the weights are not restored after an error": Mutation(
        "gradient.py",
        "            finally:\n                perturbation.close()",
        "            else:\n                perturbation.close()",
        "test_restore.py::test_exception",
    ),
    "a Ctrl-C may strike before the weights are restored": Mutation(
        "gradient.py",
        "            finally:\n                perturbation.close()",
        "            finally:\n                (lambda: perturbation.close())()",
        "test_restore.py::test_ctrl_c_at_every_moment",
    ),
    "a zero gradient is divided by its norm": Mutation(
        "perturb.py",
        "if norm > 0 else 0.0",
        "",
        "test_radius.py::test_zero_ascent_gradient",
    ),
    "a point that is not finite is taken": Mutation(
        "perturb.py",
        "taken = math.isfinite(radius)",
        "taken = True",
        "test_radius.py::test_weights_that_cannot_hold_the_point",
    ),
    "the gradients of both passes are summed": Mutation(
        "gradient.py",
        "                parameter.grad = gradient\n",
        "                pass\n",
        "test_reference.py::test_mlp",
    ),
    "found gradients are dropped": Mutation(
        "gradient.py",
        "                parameter.grad = gradient\n",
        "                parameter.grad = None\n",
        "test_rho_zero.py::test_found_gradients_are_added_to",
    ),
    "the random streams are not restored": Mutation(
        "gradient.py",
        "preserve.random_streams({parameter.device for parameter in touched})",
        "preserve.buffers(None)",
        "test_rho_zero.py::test_equals_loss_backward",
    ),
    "the buffers are not restored": Mutation(
        "gradient.py",
        "preserve.buffers(self.module)",
        "preserve.random_streams([])",
        "test_rho_zero.py::test_equals_loss_backward",
    ),
    "a cast of w is used at w_adv": Mutation(
        "weights.py",
        "w must not be used at w_adv.\n        torch.clear_autocast_cache()\n",
        "w must not be used at w_adv.\n",
        "test_mixed_precision.py::test_autocast_outside",
    ),
    "a cast of w_adv is used at w": Mutation(
        "weights.py",
        "        self._put_beside(self.saved)\n        torch.clear_autocast_cache()\n",
        "        self._put_beside(self.saved)\n",
        "test_mixed_precision.py::test_autocast_outside",
    ),
    "rows of a table stay at w_adv": Mutation(
        "weights.py",
        "        self._put_beside(self.saved)\n",
        "        pass\n",
        "test_rows.py::test_the_same_gradient",
    ),
    "rows of a table stay at w": Mutation(
        "weights.py",
        "            self._put_beside(self.now)\n",
        "            pass\n",
        "test_rows.py::test_the_same_gradient",
    ),
    "micro-batches weigh the same": Mutation(
        "standard.py",
        "weights = [count / total if total else 1 / len(pieces) for count in counts]",
        "weights = [1 / len(pieces) for count in counts]",
        "test_micro_batches.py::test_examples",
    ),
    "tokens are not counted": Mutation(
        "batch.py",
        "return (labels != -100).sum()",
        "return torch.tensor(labels.numel())",
        "test_micro_batches.py::test_target_tokens",
    ),
    "the gradients of m points are summed": Mutation(
        "gradient.py",
        "list(pieces), 1.0 / self.m",
        "list(pieces), 1.0",
        "test_micro_batches.py::test_full_averages_the_points",
    ),
    "an overflow of the ascent is not passed on": Mutation(
        "gradient.py",
        "            self._done(done)\n",
        "",
        "test_mixed_precision.py::test_overflow",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_right_line_is_there(name: str) -> None:
    """Each mutation finds its line in the code exactly once, so that the table speaks of what is there."""
    mutation = MUTATIONS[name]
    assert (SAM / mutation.file).read_text().count(mutation.right) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_caught(name: str, tmp_path: Path) -> None:
    """With one line of the algorithm wrong, the test that is named for it fails."""
    mutation = MUTATIONS[name]
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "models"))
    file = tmp_path / "src" / "lowland" / "sam" / mutation.file
    file.write_text(file.read_text().replace(mutation.right, mutation.wrong))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/sam/{mutation.test}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert result.returncode == 1, result.stdout  # 1: tests failed. 2 and more: they did not run
    assert "SyntaxError" not in result.stdout


@pytest.mark.parametrize("name", MUTATIONS)
def test_row_of_the_table(name: str) -> None:
    """Each mutation is a row of the table in docs/algorithm.md."""
    mutation = MUTATIONS[name]
    row = f"| {name} | `{mutation.file}` | `{mutation.test}` |"
    assert row in (ROOT / "docs" / "algorithm.md").read_text()
