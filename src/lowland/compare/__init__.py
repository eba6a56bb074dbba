"""Comparisons: arms and seeds, grids of them, and runs side by side.

`lowland.compare(...)` is `lowland.compare.api.compare`: the package can be called.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowland.compare.api import Comparison


class _Callable(ModuleType):
    def __call__(self, *tasks: str, **options: Any) -> "Comparison":
        from lowland.compare.api import compare

        return compare(*tasks, **options)


sys.modules[__name__].__class__ = _Callable
