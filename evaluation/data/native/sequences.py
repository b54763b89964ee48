"""Sequences of event numbers with the templates that the numbers stand for (Landauer et al.)."""

from collections.abc import Iterator

from logfm.configs.schema.suite import DataSpec
from logfm.errors import UserError
from logfm.evaluation.data.rows import Place, Row, lines, listed, only_drops, option


def event_sequences(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """One row an event: its template's text, `group` the sequence, in the sequence's order.

    The file's name says whether a sequence is abnormal. Sequences come in the order of their names, so that neither
    file nor place tells the label; one that is in several files is left out but for its first.
    """
    only_drops(spec, ())
    texts = [line.strip() for path in place.beside for line in lines(path)]
    found: dict[str, tuple[int, str, list[str]]] = {}
    again = 0
    for path in place.files:
        if path.name in listed(spec, "leave_out"):
            continue
        kind = path.name.split("abnormal", 1)[1].split(".")[0].strip("_") if "abnormal" in path.name else ""
        label = int("abnormal" in path.name)
        for line in lines(path):
            name, _, numbers = line.rpartition(",")
            if name in found:
                again += 1
                continue
            found[name] = (label, kind, numbers.split())
    if not texts:
        raise UserError("no templates beside the sequences", spec.path)
    yield from ("sequence that was there before" for _ in range(again))
    for name in sorted(found):
        label, kind, events = found[name]
        for number in events:
            if not number.isdigit() or not 0 < int(number) <= len(texts):
                yield "number without a template"
                continue
            yield Row(
                text=texts[int(number) - 1],
                template=f"E{number}",
                label=label,
                group=name,
                source=option(spec, "source", spec.name),
                kind=(kind or "abnormal") if label else "",
            )
