"""The encoder that ships with logfm, found by its name."""

from pathlib import Path

from logfm.errors import UserError

NANO = "nano"
SHIPPED = Path(__file__).resolve().parent / NANO


def encoder_folder(name: str | Path) -> Path:
    """The folder of an encoder: the shipped one's for `nano`, else the path itself.

    Raises:
        UserError: this installation lacks the shipped encoder.
    """
    if str(name) != NANO:
        return Path(name)
    if not SHIPPED.is_dir():
        raise UserError("this installation has no nano", SHIPPED, "Install logfm from a wheel, or give a folder.")
    return SHIPPED
