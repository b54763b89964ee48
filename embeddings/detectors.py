"""What `--method` names: PyOD's detectors by their module, and the heads of this package."""

import inspect
import pkgutil
from importlib import import_module
from typing import Any

from logfm.configs.schema.embeddings import DetectConfig
from logfm.errors import UserError
from logfm.extras import require

# They want graphs, series, audio, labels, a list of other detectors, or are no detectors.
_OTHERS = ("_", "pyg_", "ts_")
_OTHER = {"audio_ae", "base", "base_dl", "cd", "combination", "devnet", "embedding", "gaal_base", "lscp",
          "sklearn_base", "so_gaal_new", "suod", "thresholds", "xgbod"}  # fmt: skip

NEAREST, CONAD, LANOBERT, LOGBERT = "nearest", "conad", "lanobert", "logbert"
OF_EVENTS = (LANOBERT, LOGBERT)
"""Heads that read texts, not vectors."""


def known_method(name: str) -> None:
    """Refuse a name that is no head and no detector.

    Raises:
        UserError: there is none of that name.
    """
    heads = [NEAREST, CONAD, LANOBERT, LOGBERT]
    if name not in heads and name not in (known := detector_names()):
        raise UserError("no such detector", name, f"Take one of: {', '.join(heads + known)}.")


def detector_names() -> list[str]:
    """The detectors of the installed PyOD that take one matrix of vectors."""
    models = require("pyod.models", "embed")
    names = (module.name for module in pkgutil.iter_modules(models.__path__))
    return sorted(name for name in names if name not in _OTHER and not name.startswith(_OTHERS))


def make_detector(name: str, dim: int, config: DetectConfig) -> Any:
    """An unfitted detector with a fixed random state.

    Raises:
        UserError: no such detector, or a package that it needs is missing.
    """
    known_method(name)
    if name in OF_EVENTS:
        raise UserError(f"{name} reads events, not vectors", fix="Use find.")
    from pyod.models.base import BaseDetector

    try:
        module = import_module(f"pyod.models.{name}")
    except ImportError as error:
        raise UserError(f"the detector {name} needs the package {error.name}") from error
    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, BaseDetector)
        and member.__module__ == module.__name__
        and not inspect.isabstract(member)
    ]
    accepted = inspect.signature(found[0]).parameters
    given = {"contamination": config.contamination, "random_state": config.seed, "n_features": dim}
    return found[0](**{option: value for option, value in given.items() if option in accepted})
