"""Events as sequences of log keys: what a head reads that judges order."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logfm.corpus.templates import template_hashes

PAD, START, MASK, UNKNOWN = range(4)
FIRST_KEY = 4
# A session ends with a pause of so many microseconds (LogAtlas: five minutes).
_PAUSE = 300 * 1_000_000
_NAMES = ("user", "host")
# A shorter name could be part of any word.
_SHORTEST = 3
_OWNERS = ("file", "host", "process", "user")


@dataclass(frozen=True)
class Windows:
    """Consecutive events of one session each, padded."""

    keys: np.ndarray
    """int64 (windows, length), PAD behind the end."""
    rows: np.ndarray
    """int64 (windows, length): the event of each place, -1 behind the end."""


def vocabulary(events: pa.Table, most: int) -> np.ndarray:
    """The most frequent log keys of events (columns `embed.KEYS`), uint64, sorted.

    A key is the text with its values masked (`corpus.templates`), the event's own user and host among them.
    """
    keys, counts = np.unique(_hashes(events), return_counts=True)
    return np.sort(keys[np.argsort(-counts, kind="stable")[:most]])


def windows(events: pa.Table, known: np.ndarray, length: int) -> Windows:
    """The events (columns `embed.KEYS`) as sequences; every event is in exactly one.

    A session is a session_id, or else what one host, process and user log into a file without a pause of five
    minutes; events without a time follow each other as they lie there. Sessions longer than `length` are cut.
    """
    session, times = _sessions(events)
    order = np.lexsort((np.arange(len(session)), times, session))
    paused = np.diff(times[order]) >= _PAUSE
    given = events["session_id"].is_valid().to_numpy()[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(session[order]) != 0) | (paused & ~given[1:])
    starts = np.flatnonzero(new)
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    window = np.cumsum(place % length == 0) - 1
    rows = np.full((window[-1] + 1, length), -1, dtype=np.int64)
    rows[window, place % length] = order
    hashes = _hashes(events)
    found = np.searchsorted(known, hashes).clip(max=len(known) - 1)
    numbers = np.where(known[found] == hashes, found + FIRST_KEY, UNKNOWN)
    return Windows(np.where(rows < 0, PAD, numbers[rows]), rows)


def _hashes(events: pa.Table) -> np.ndarray:
    columns = (events[name].to_pylist() for name in ("text", *_NAMES))
    return template_hashes(
        pa.array([_unnamed(text, *names) for text, *names in zip(*columns, strict=True)], pa.string())
    )


def _unnamed(text: str, *names: str | None) -> str:
    """The text with a value, as templates see it, in place of each name."""
    for name in names:
        if name and len(name) >= _SHORTEST:
            text = text.replace(name, "0")
    return text


def _sessions(events: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """A number for the session of each event, pauses not looked at, and its time in microseconds (0 for none)."""
    given = pc.binary_join_element_wise("1", events["source"], events["session_id"], "\x1f", null_handling="emit_null")
    owners = [pc.fill_null(events[name], "") for name in _OWNERS]
    own = pc.binary_join_element_wise("0", *owners, "\x1f")
    coded = pc.coalesce(given, own).combine_chunks().dictionary_encode()
    coded = coded if isinstance(coded, pa.DictionaryArray) else coded.combine_chunks()
    times = pc.fill_null(events["timestamp"].cast(pa.int64()), 0).to_numpy()
    return coded.indices.to_numpy().astype(np.int64), times
