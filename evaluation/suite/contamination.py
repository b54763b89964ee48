"""Which texts an encoder was trained on, by their value-masked templates.

An encoder's manifest names the hash of its training run, that one's the hash of its tokens, and those name the corpus,
which has the index. The folders are looked for beside the encoder's, where the quickstart leaves them; hashes prove
that they are the right ones. An index that lies in the encoder's own folder is taken as it is.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from logfm.artifacts import MANIFEST, Manifest, read_manifest
from logfm.corpus.contamination import INDEX, read_index
from logfm.corpus.contamination import seen as seen_by
from logfm.corpus.words import Words
from logfm.errors import UserError
from logfm.evaluation.suite.contestants import AnyContestant, Pretrained
from logfm.pretrain.shipped import encoder_folder

Flags = NDArray[np.bool_]
_LOOKED_AT = 500
_NOT_TEXT = ("tokenizer",)
"""Inputs of a run that no weights learnt lines from."""


def seen(contestant: AnyContestant, texts: Sequence[str]) -> Flags | None:
    """Which of the texts have a template that the encoder was trained on, bool (n,); None where nobody knows.

    TF-IDF and random vectors were not trained on anything.
    """
    if not isinstance(contestant, Pretrained):
        return np.zeros(len(texts), dtype=bool)
    folder = encoder_folder(contestant.uri)
    if not (folder / MANIFEST).is_file():
        return None
    templates = _templates(folder.resolve())
    return None if templates is None else seen_by(templates, [_valid(text) for text in texts])


@cache
def _templates(folder: Path) -> Words | None:
    """Templates of all corpora behind an encoder folder, uint64, ascending; None unless every one is found."""
    try:
        if (folder / INDEX).is_file():
            return np.unique(pq.read_table(folder / INDEX, columns=["template"])["template"].to_numpy())
        corpora = _corpora(read_manifest(folder), _manifests(folder.parent))
        return np.unique(np.concatenate([read_index(corpus) for corpus in corpora]))
    except (_Missing, UserError, OSError, pa.ArrowException, KeyError):
        return None


class _Missing(Exception):
    """An artifact of the chain is not there."""


def _manifests(place: Path) -> dict[str, tuple[Path, Manifest]]:
    """Artifacts in a folder and one level below, by the hash of their content."""
    found = {}
    for path in sorted([*place.glob(f"*/{MANIFEST}"), *place.glob(f"*/*/{MANIFEST}")])[:_LOOKED_AT]:
        try:
            manifest = read_manifest(path.parent)
        except UserError:
            continue
        found[manifest.hash] = (path.parent, manifest)
    return found


def _corpora(manifest: Manifest, known: dict[str, tuple[Path, Manifest]]) -> list[Path]:
    """The corpora behind an artifact, over its inputs and theirs."""
    sources = {name: value for name, value in manifest.inputs.items() if name not in _NOT_TEXT}
    if not sources:
        raise _Missing
    corpora = []
    for value in sources.values():
        if value not in known:
            raise _Missing
        folder, found = known[value]
        corpora += [folder] if found.stage == "corpus" else _corpora(found, known)
    return corpora


def _valid(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
