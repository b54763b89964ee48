"""Add vocabulary to a trained tokenizer for new telemetry; existing ids, and what they mean, stay."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from logfm.artifacts import Manifest, finished, produce, read_manifest, stage_key
from logfm.configs.schema.tokenizer import VOCAB_MULTIPLE, ExtensionConfig
from logfm.corpus.store import Corpus
from logfm.errors import UserError
from logfm.tokenizer import files
from logfm.tokenizer.counting import count, spelled
from logfm.tokenizer.log_tokenizer import LogTokenizer
from logfm.tokenizer.sampling import draw
from logfm.tokenizer.training import STAGE, describe

_BASE = 0x10000
"""An id is written as the character with this many added to it: past the surrogates, with room for a million
ids."""
_BATCH = 256


def extend(base: LogTokenizer, corpus: Corpus, out: Path, config: ExtensionConfig) -> Manifest:
    """Train `config.add` more merges on top of a tokenizer, on a corpus of new telemetry.

    The merges of `base` come first, so a text is cut as `base` cuts it and then merged further: ids below
    `base.vocab_size` keep their pieces and their classes. A model needs `config.add` more embedding rows.

    Raises:
        UserError: an empty corpus, one that bears fewer new tokens than asked, or `out` is taken.
    """
    inputs = {"corpus": corpus.manifest.hash, "tokenizer": base.hash}
    done = finished(out, stage_key(STAGE, config.dump(), config.seed, inputs))
    if done is not None:
        return done
    with produce(out, stage=STAGE, config=config.dump(), inputs=inputs, seed=config.seed) as work:
        sample = draw(corpus, config.sample_bytes, config.seed)
        specification = orjson.loads((base.folder / files.TOKENIZER).read_bytes())
        backend = Tokenizer.from_str(orjson.dumps(specification).decode())
        merges = _learn(_as_characters(backend, sample.parts()), base.vocab_size, config)
        _append(specification["model"], merges, config.add, corpus.path)
        drawn = dict(sample.drawn)
        facts = describe(specification, base.facts.policy, corpus.manifest.hash, drawn, base.hash)
        files.write(work.path, specification, facts)
        work.licences.update(corpus.manifest.licences)
        work.metrics.update(
            vocab_size=base.vocab_size + config.add,
            added_tokens=config.add,
            sampled_bytes=facts.sampled_bytes,
            view=sample.view,
        )
    return read_manifest(out, STAGE)


def _as_characters(backend: Tokenizer, texts: Iterable[str]) -> Iterator[str]:
    """Each text as its tokens, one character a token, with a line break between pieces that may not merge."""
    remaining = iter(texts)
    while batch := list(islice(remaining, _BATCH)):
        for encoding in backend.encode_batch(batch, add_special_tokens=False):
            codes = np.array(encoding.ids, dtype="<u4") + _BASE
            starts = np.flatnonzero(np.diff(np.array(encoding.word_ids, dtype=np.int64))) + 1
            yield np.insert(codes, starts, ord("\n")).tobytes().decode("utf-32-le")


def _learn(texts: Iterable[str], size: int, config: ExtensionConfig) -> list[tuple[list[int], list[int]]]:
    """Pairs to merge, most frequent first; each side is the ids of the tokens of the base that it consists
    of."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Split("\n", behavior="removed")
    trainer = trainers.BpeTrainer(
        # A pair may spell a token that exists; twice the number asked leaves room for those.
        vocab_size=size + 2 * config.add,
        min_frequency=config.min_frequency,
        show_progress=False,
        initial_alphabet=[chr(_BASE + index) for index in range(size)],
    )
    pieces = (text.split("\n") for text in texts)
    backend.train_from_iterator(spelled(count(pieces), "\n"), trainer)
    merges = orjson.loads(backend.to_str())["model"]["merges"]
    return [([ord(c) - _BASE for c in left], [ord(c) - _BASE for c in right]) for left, right in merges]


def _append(model: dict[str, Any], merges: list[tuple[list[int], list[int]]], add: int, where: object) -> None:
    """Append merges to a BPE model until it has `add` more tokens."""
    vocabulary: dict[str, int] = model["vocab"]
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    known = {(left, right) for left, right in model["merges"]}
    target = len(names) + add
    for pair in merges:
        left, right = ("".join(names[index] for index in side) for side in pair)
        if (left, right) not in known:
            known.add((left, right))
            model["merges"].append([left, right])
            vocabulary.setdefault(left + right, len(vocabulary))
        if len(vocabulary) == target:
            return
    borne = len(vocabulary) - len(names)
    fix = f"Use --add {borne // VOCAB_MULTIPLE * VOCAB_MULTIPLE}." if borne >= VOCAB_MULTIPLE else None
    raise UserError(f"the corpus bears {borne} new tokens, fewer than the {add} asked", where, fix)
