"""The table of accelerators that a plan counts with."""

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from logfm.configs.base import Config


class DeviceConfig(Config):
    """One accelerator."""

    name: str = Field(min_length=1)
    """How people name it."""
    kind: Literal["gpu", "cpu"] = "gpu"
    """Which memory estimate fits it."""
    words: tuple[str, ...] = ()
    """Words that are all in the name that its driver reports (`NVIDIA A100-SXM4-80GB`)."""
    memory: float = Field(gt=0)
    """Memory in GB (10^9 bytes)."""
    bf16_tflops: float = Field(gt=0)
    """Peak of dense bfloat16 matrix products in 10^12 FLOP/s, without sparsity."""
    dollars_per_hour: float = Field(ge=0)
    """Price of one device in US dollars an hour: an assumption."""


class DevicesConfig(Config):
    """Accelerators, and as of when their prices are assumed."""

    prices_as_of: date
    """Day to which the prices refer."""
    devices: tuple[DeviceConfig, ...] = Field(min_length=1)
    """The accelerators, in the order of the table."""

    @model_validator(mode="after")
    def _names(self) -> "DevicesConfig":
        names = [device.name for device in self.devices]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two devices are named {name}")
        return self
