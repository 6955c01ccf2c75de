"""The model families, with one interface: ``fit``, ``sample``, and ``log_prob`` or a bound where a family has one.

The package imports every module in it, so importing it registers every family with Keras, and a file written by
``model.save`` can be loaded in a new process. It exports the names in ``__all__`` of each of its modules. A new family
therefore needs no entry here: its module is found automatically.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


__all__: list[str] = []

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    _loaded = importlib.import_module(_module.name)
    for _name in getattr(_loaded, "__all__", ()):
        globals()[_name] = getattr(_loaded, _name)
        __all__ += [_name]
