"""The encoder that ships with logfm, found by its name."""

from pathlib import Path

from logfm.errors import UserError

NANO = "nano"
SHIPPED = Path(__file__).resolve().parent / NANO


def encoder_folder(name: str | Path) -> Path:
    """The folder of an encoder: the shipped one's for `nano`, else the path itself.

    Raises:
        UserError: it does not ship yet.
    """
    if str(name) != NANO:
        return Path(name)
    if not SHIPPED.is_dir():
        raise UserError("the encoder nano does not ship yet", fix="Give an encoder folder, or st:NAME, hf:NAME, tfidf.")
    return SHIPPED
