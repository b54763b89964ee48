"""Optional packages, checked once at the door of the feature that needs them."""

from importlib import import_module
from types import ModuleType

from logfm.errors import UserError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of logfm brings it.

    Raises:
        UserError: the module is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there and one of its own imports failed: that is another problem
        raise UserError(
            f"this needs the package {module.split('.')[0]}", fix=f'Run: pip install "logfm[{extra}]"'
        ) from error
