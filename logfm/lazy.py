"""Public names of a package that load when they are first used (PEP 562), so that importing a room stays light."""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, str], extra: str = "", needs: Iterable[str] = ()) -> Callable[[str], Any]:
    """The `__getattr__` of `package`: a name of `homes` is taken from the module of the package that it maps to.

    `needs` are modules that the optional dependency `extra` brings; they are asked for before the first name loads.
    The names are imported under `if TYPE_CHECKING:` too, for type checkers, and listed in `__all__`.

    Raises (when called):
        AttributeError: the package has no such public name.
        UserError: the optional dependency is not installed.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if extra:
            from logfm.extras import require

            for module in needs:
                require(module, extra)
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return load
