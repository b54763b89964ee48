from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus import Event, Reject, read_events

Read = Callable[..., tuple[list[Event], list[Reject]]]


@pytest.fixture
def read() -> Read:
    """Read inputs into a list of events and a list of rejects."""

    def run(*inputs: str | Path, **settings: object) -> tuple[list[Event], list[Reject]]:
        records = list(read_events([str(one) for one in inputs], CorpusConfig(**settings)))
        return (
            [record for record in records if isinstance(record, Event)],
            [record for record in records if isinstance(record, Reject)],
        )

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file under tmp_path/logs from bytes or lines of text."""

    def run(name: str, content: bytes | str | Sequence[str]) -> Path:
        path = tmp_path / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else "".join(f"{line}\n" for line in content))
        return path

    return run
