"""Counting of pieces: exact while they fit, bounded beyond, and the same merges as from the texts themselves."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers

from logfm.configs.schema.tokenizer import PolicyConfig, TokenizerConfig
from logfm.tokenizer.counting import count, spelled
from logfm.tokenizer.pieces import SPECIAL_TOKENS
from logfm.tokenizer.policy import pattern
from logfm.tokenizer.specification import pre_tokenizer
from logfm.tokenizer.training import learn
from tests.tokenizer.samples import json_lines, linux_lines
from tests.tokenizer.test_policy import POLICIES


def test_exact_while_they_fit() -> None:
    lines = [line.split() for line in linux_lines(300)]
    assert count(lines) == Counter(word for line in lines for word in line)


def test_unique_numbers_go_and_words_stay() -> None:
    draw = random.Random(0)
    lines = [["Failed", "password", "jörg", f"{draw.getrandbits(60)}"] for _ in range(5000)]
    counts = count(lines, largest=2000)
    assert sum(len(piece.encode()) for piece in counts) <= 2000
    assert {piece: counts[piece] for piece in lines[0][:3]} == dict.fromkeys(lines[0][:3], 5000)
    assert lines[0][3] not in counts


def test_nothing_fits() -> None:
    assert count([["four", "four"], ["five!"]], largest=3) == {}


def test_spelled_as_often_as_counted() -> None:
    counts = {"a": 10_000, " :": 3, "x|y": 5}
    texts = list(spelled(counts, "|"))
    assert Counter(piece for text in texts for piece in text.split("|")[:-1]) == {"a": 10_000, " :": 3}
    assert max(map(len, texts)) < 10_000


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@given(text=st.text(st.sampled_from("aZfF019_é😀 \t\n\0.:=-{\x7f\u2028\U0010ffff")))
@settings(max_examples=150, deadline=None)
def test_training_cuts_as_encoding_does(policy: PolicyConfig, text: str) -> None:
    spans = [span for _, span in pre_tokenizer(policy).pre_tokenize_str(text)]
    assert re.findall(pattern(policy), text) == [text[start:end] for start, end in spans]


def test_same_merges_as_from_the_texts() -> None:
    texts = [*linux_lines(400), *json_lines(400), "0123-4567", "deadbeef0123 face" * 9]
    config = TokenizerConfig(vocab_size=640, min_frequency=2)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizer(config.policy)
    alphabet = sorted(learn(texts, TokenizerConfig(vocab_size=320, min_frequency=2), "here")["model"]["vocab"])
    trainer = trainers.BpeTrainer(
        vocab_size=640,
        min_frequency=2,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=[character for character in alphabet if len(character) == 1],
    )
    backend.train_from_iterator(texts, trainer)
    assert learn(texts, config, "here")["model"]["vocab"] == backend.get_vocab()
