"""Surprise as a score."""

import dataclasses
import shutil

import numpy as np
import pytest

from logfm.configs.schema.embeddings import DetectConfig, EncoderConfig
from logfm.embeddings import LogEncoder
from logfm.embeddings.detect import find
from logfm.embeddings.heads import lanobert
from logfm.embeddings.heads.lanobert import surprise
from logfm.errors import UserError
from tests.embeddings.heads.conftest import PLANTED
from tests.embeddings.samples import log_lines


def test_many_events_at_once_are_as_one_at_a_time(ours):
    model = dataclasses.replace(ours.pretrained, tokens_per_batch=200)
    events = model.tokenizer.encode_batch([*log_lines(6), "a", "--", ""])
    together = model.masked_nlls(events)
    for ids, found in zip(events, together, strict=True):
        assert found.shape == ids.shape
        assert np.array_equal(np.isnan(found), model.tokenizer.delimiter_mask[ids])
        assert np.allclose(found, ours.pretrained.masked_nll(ids), atol=1e-4, equal_nan=True)


def test_the_score_is_the_mean_of_the_largest(ours, monkeypatch):
    monkeypatch.setattr(lanobert, "_CHUNK", 3)
    lines = [*log_lines(5), log_lines(1)[0], "--", ""]
    found = surprise(lines, ours, top=4)
    for line, score in zip(lines[:6], found, strict=False):
        nats = ours.pretrained.masked_nll(ours.pretrained.tokenizer.encode_batch([line])[0])
        assert score == pytest.approx(np.sort(nats[~np.isnan(nats)])[-4:].mean(), abs=1e-4)
    assert found[0] == found[5]
    assert found[6:].tolist() == [0.0, 0.0]


def test_long_texts_follow_the_truncation_policy(encoder_folder):
    line = " ".join(log_lines(12))

    def score(policy):
        encoder = LogEncoder.load(encoder_folder, EncoderConfig(truncation=policy))
        return surprise([line], encoder, top=5)[0]

    assert score("chunk") > score("head")  # the largest of all chunks, not of the first alone
    with pytest.raises(UserError, match="the encoder reads"):
        score("error")


def test_more_is_judged_where_more_is_asked_for(encoder_folder, tmp_path):
    shutil.copytree(encoder_folder, tmp_path / "short")
    (tmp_path / "short" / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    line = " ".join(log_lines(12))
    whole, asked, short = (
        surprise([line], LogEncoder.load(folder, EncoderConfig(max_tokens=tokens)), top=5)[0]
        for folder, tokens in ((encoder_folder, None), (tmp_path / "short", 126), (tmp_path / "short", None))
    )
    assert asked == whole != short


def test_a_planted_line_of_simulated_telemetry_surprises(halves, trained):
    found = find([halves[1]], trained, DetectConfig(method="lanobert", top=5), baseline=[halves[0]])
    planted = next(one for one in found.findings if one.text == PLANTED)
    assert planted.above_threshold
    # The five most surprising tokens are what is reported, and their mean is the score.
    assert planted.score == pytest.approx(np.mean([token.nats for token in planted.surprising]), abs=1e-3)


def test_another_encoder_is_refused_before_anything_is_read(letters):
    with pytest.raises(UserError, match="trained by logfm"):
        find(["nowhere"], letters, DetectConfig(method="lanobert"))
