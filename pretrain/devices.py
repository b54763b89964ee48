"""The accelerators that plans and utilisation count with, from `configs/gpus.yaml` or a file of the user's."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from logfm.configs import load
from logfm.configs.schema.plan import DeviceConfig, DevicesConfig
from logfm.errors import UserError


def load_devices(source: str | Path = "gpus") -> DevicesConfig:
    """The table of accelerators; by default the one that ships.

    Raises:
        UserError: no such file, or a mistake in it.
    """
    return load(DevicesConfig, source)


def chosen(table: DevicesConfig, names: Sequence[str]) -> tuple[DeviceConfig, ...]:
    """The devices of the given names, in that order; upper and lower case are the same.

    Raises:
        UserError: no device has such a name.
    """
    known = {device.name.casefold(): device for device in table.devices}
    for name in names:
        if name.casefold() not in known:
            listed = ", ".join(device.name for device in table.devices)
            raise UserError("no such device", name, f"Known: {listed}; give others with --gpus.")
    return tuple(known[name.casefold()] for name in names)


def known_device(reported: str) -> DeviceConfig | None:
    """The entry of a GPU by the name that its driver (and `torch.cuda.get_device_name`) reports; None if unknown."""
    words = set(re.split(r"[\s-]+", reported.upper()))
    fitting = [device for device in _shipped().devices if device.words and words >= {w.upper() for w in device.words}]
    return fitting[0] if fitting else None


@cache
def _shipped() -> DevicesConfig:
    return load_devices()
