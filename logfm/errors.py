"""The two ways a command ends early: the user's mistake (exit 2) and a failure (exit 1), one line each."""


class LogfmError(Exception):
    """A failure that is explained in one line; the command line exits with 1."""


class UserError(LogfmError):
    """The user's mistake: what was wrong, where, and what to do; the command line exits with 2."""

    def __init__(self, what: str, where: object = None, fix: str | None = None) -> None:
        message = what if where is None else f"{what}: {where}"
        super().__init__(_one_line(message if fix is None else f"{message}. {fix}"))


def _one_line(text: str) -> str:
    """Log content can end up in a message: keep it on one line and free of terminal control characters."""
    return "".join(char if char.isprintable() else " " for char in text).strip()
