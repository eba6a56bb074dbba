"""Which parameters are trained, and which of them are perturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from torch import Tensor, nn

from lowland.parameters.parallel import unwrapped

Parameters: TypeAlias = nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


class Selection:
    """The parameters that SAM was given, asked anew at every step.

    What is frozen is left alone from then on, and what is added to a module or to an optimizer's
    `param_groups` takes part from then on.
    """

    def __init__(
        self, parameters: Parameters, perturb: Callable[[str, Tensor], bool] | Sequence[str] | None = None
    ) -> None:
        self.source: Any = [parameters] if isinstance(parameters, Tensor) else parameters
        if not isinstance(self.source, (nn.Module, Iterable)):
            raise ValueError(
                f"SAM was given a {type(parameters).__name__}. Give the model, its parameters, or "
                "optimizer.param_groups."
            )
        if not isinstance(self.source, nn.Module):
            # An optimizer's own list of groups is kept, not copied: groups may be added to it.
            kept = isinstance(self.source, list) and all(_is_group(entry) for entry in self.source)
            self.source = self.source if kept else [_fixed(entry) for entry in self.source]
        self._perturb = (perturb,) if isinstance(perturb, str) else perturb
        if not self.trainable():
            raise ValueError("There is no parameter that requires a gradient among those given to SAM.")
        self._refuse_shared_storage()
        self.perturbed()

    def named(self) -> list[tuple[str, Tensor]]:
        """Lists the parameters that require a gradient, each once, with names (or positions)."""
        named: list[tuple[str, Tensor]] = []
        seen: set[int] = set()
        for name, parameter in self._entries():
            if not isinstance(parameter, Tensor):
                raise ValueError(f"SAM was given a {type(parameter).__name__} where a parameter belongs.")
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                named.append((name, parameter))
        return named

    def _entries(self) -> Iterable[tuple[str, Any]]:
        if isinstance(self.source, nn.Module):
            for name, parameter in unwrapped(self.source).named_parameters():
                yield name.replace("_orig_mod.", ""), parameter  # of a part that was compiled by itself
            return
        position = 0
        for entry in self.source:
            if isinstance(entry, Mapping):
                members = list(entry["params"])
                names = entry.get("param_names") or range(position, position + len(members))
                yield from zip(map(str, names), members, strict=True)
                position += len(members)
            elif isinstance(entry, tuple):
                yield entry
            else:
                yield str(position), entry
                position += 1

    def trainable(self) -> list[Tensor]:
        """Lists the parameters that require a gradient now."""
        return [parameter for _, parameter in self.named()]

    def perturbed(self) -> list[Tensor]:
        """Lists the parameters that the perturbation moves."""
        perturb = self._perturb
        if perturb is None:
            return self.trainable()
        chosen = [
            parameter
            for name, parameter in self.named()
            if (perturb(name, parameter) if callable(perturb) else any(fnmatchcase(name, p) for p in perturb))
        ]
        if not chosen:
            known = ", ".join(name for name, _ in self.named()[:3])
            raise ValueError(
                f"Invalid perturb={perturb!r}: no trainable parameter matches. Names: {known}, ..."
            )
        return chosen

    def refuse_hooks(self) -> None:
        """Refuses hooks that act as soon as a gradient is there: they would run in the ascent, at w."""
        for name, parameter in self.named():
            if getattr(parameter, "_post_accumulate_grad_hooks", None):
                raise ValueError(
                    f"Parameter {name!r} has a post-accumulate-grad hook (an optimizer inside the backward "
                    "pass?), which would run in the ascent. Remove it and step after the gradient."
                )

    def _refuse_shared_storage(self) -> None:
        owners: dict[int, str] = {}
        for name, parameter in self.named():
            with suppress(RuntimeError, NotImplementedError):  # a tensor without storage of its own
                address = parameter.data_ptr() if parameter.numel() else 0
                owner = owners.setdefault(address or id(parameter), name)
                if owner != name:
                    raise ValueError(
                        f"Parameters {owner!r} and {name!r} are two objects over one storage, which would be "
                        "perturbed twice. Tie weights by using one nn.Parameter in both places."
                    )


def _is_group(entry: Any) -> bool:
    """Tells an optimizer's own group of parameters, which is a dictionary with a list."""
    return isinstance(entry, Mapping) and isinstance(entry.get("params"), list)


def _fixed(entry: Any) -> Any:
    """Makes a group that can be read more than once of one that an optimizer would take."""
    if not isinstance(entry, Mapping):
        return entry
    params = entry["params"]
    return {**entry, "params": [params] if isinstance(params, Tensor) else list(params)}
