"""Raw events of many products with their normalised form and a sentence on each."""

from collections.abc import Iterator

from logfm.configs.schema.suite import DataSpec
from logfm.evaluation.data.rows import Place, Row, documents, only_drops


def normalised(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """Exact raw messages; the description is the query, the parsed form is seen by nobody."""
    only_drops(spec, ())
    for path in place.files:
        for one in documents(path):
            if isinstance(one, str):
                yield one
                continue
            message = one.get("message")
            if not isinstance(message, str) or not message.strip():
                yield "no message"
                continue
            description = one.get("description")
            yield Row(
                text=message,
                group=str(one.get("product", "")),
                source=str(one.get("product", "")),
                query=description.strip() if isinstance(description, str) else "",
            )
