"""Train a tokenizer: draw a sample of the corpus, cut it by the policy, merge byte pairs (Sennrich et al.,
2016)."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from logfm.artifacts import Manifest, finished, produce, read_manifest, stage_key
from logfm.configs.schema.tokenizer import MIN_VOCAB_SIZE, VOCAB_MULTIPLE, PolicyConfig, TokenizerConfig
from logfm.corpus.store import Corpus
from logfm.errors import UserError
from logfm.tokenizer import files
from logfm.tokenizer.counting import count, spelled
from logfm.tokenizer.log_tokenizer import mask_of, pieces_of
from logfm.tokenizer.pieces import SPECIAL_TOKENS
from logfm.tokenizer.policy import pattern
from logfm.tokenizer.sampling import draw
from logfm.tokenizer.specification import finish, pre_tokenizer

STAGE = "tokenizer"
_SEPARATOR = "\U0010ffff"
"""Parts pieces on their way to the trainer; no character, so nothing is lost where a log holds one."""


def train(corpus: Corpus, out: Path, config: TokenizerConfig) -> Manifest:
    """Train a tokenizer on equal bytes of each source; a folder already finished with the same inputs is
    kept.

    Memory is bounded, however large the corpus is and however many of its words are unique.

    Raises:
        UserError: an empty corpus, one too small for the vocabulary asked, or `out` is taken.
    """
    inputs = {"corpus": corpus.manifest.hash}
    done = finished(out, stage_key(STAGE, config.dump(), config.seed, inputs))
    if done is not None:
        return done
    with produce(out, stage=STAGE, config=config.dump(), inputs=inputs, seed=config.seed) as work:
        sample = draw(corpus, config.sample_bytes, config.seed, config.max_repeats)
        specification = learn(sample.parts(), config, corpus.path)
        facts = describe(specification, config.policy, corpus.manifest.hash, dict(sample.drawn))
        files.write(work.path, specification, facts)
        work.licences.update(corpus.manifest.licences)
        work.metrics.update(
            vocab_size=len(specification["model"]["vocab"]),
            delimiter_tokens=len(facts.delimiter_ids),
            sampled_bytes=facts.sampled_bytes,
            view=sample.view,
        )
    return read_manifest(out, STAGE)


def learn(texts: Iterable[str], config: TokenizerConfig, where: object) -> dict[str, Any]:
    """Merge byte pairs of the texts; returns the contents of tokenizer.json.

    The result does not depend on the number of threads: pairs of equal count merge in the order of their ids.
    Pieces are counted here and not by `tokenizers`, whose memory grows with every number that occurs once.

    Raises:
        UserError: no text, or too little for the vocabulary asked (`where` names its origin).
    """
    target = config.vocab_size_limit if config.vocab_size == "auto" else config.vocab_size
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_SEPARATOR, behavior="removed"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    cut = re.compile(pattern(config.policy)).findall
    backend.train_from_iterator(
        spelled(count(map(cut, texts)), _SEPARATOR),
        trainers.BpeTrainer(
            vocab_size=target,
            min_frequency=config.min_frequency,
            show_progress=False,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    backend.pre_tokenizer = pre_tokenizer(config.policy)
    backend.decoder = decoders.ByteLevel()
    largest = backend.get_vocab_size() // VOCAB_MULTIPLE * VOCAB_MULTIPLE
    if largest < MIN_VOCAB_SIZE:
        raise UserError("the corpus holds too little text to train a tokenizer", where)
    if config.vocab_size != "auto" and largest < target:
        raise UserError(
            f"the corpus is too small for a vocabulary of {target}; the largest that works is {largest}",
            where,
            f"Use --vocab-size {largest}, or auto.",
        )
    return finish(orjson.loads(backend.to_str()), largest)


def describe(
    specification: dict[str, Any],
    policy: PolicyConfig,
    corpus_hash: str,
    sampled: dict[str, int],
    extends: str | None = None,
) -> files.Facts:
    """The facts that go beside tokenizer.json."""
    facts = files.Facts(
        policy_name=policy.name,
        policy=policy,
        delimiter_ids=[],
        corpus_hash=corpus_hash,
        sampled_bytes=dict(sorted(sampled.items())),
        extends=extends,
    )
    mask = mask_of(pieces_of(Tokenizer.from_str(orjson.dumps(specification).decode())), facts)
    return facts.model_copy(update={"delimiter_ids": mask.nonzero()[0].tolist()})
