"""The memorisation audit: what is planted, and what hiding a canary costs."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks.memorisation import COUNTS, EACH, by_count, costs, measure, originals_in, plant
from logfm.corpus import Corpus, build
from logfm.errors import UserError
from logfm.pretrain import load_encoder, pretrain
from logfm.pretrain.forward import hidden_states, predictions
from logfm.pretrain.packing import pack


@pytest.fixture(scope="module")
def encoder(configure, tmp_path_factory):
    out = tmp_path_factory.mktemp("audited")
    pretrain(configure(out, train={"steps": 2, "validate_every": 2}))
    return load_encoder(out / "encoder")


def test_each_canary_stands_in_the_lines_as_often_as_it_says(tmp_path):
    plant(tmp_path, seed=3)
    text = (tmp_path / "canaries.log").read_text()
    canaries = json.loads((tmp_path / "canaries.json").read_bytes())
    assert len(canaries) == 2 * len(COUNTS) * EACH
    assert all(text.count(f"={one['text']} ") == one["count"] for one in canaries)
    assert max(Counter(text.splitlines()).values()) == 1


def test_the_cost_of_a_canary_by_hand(encoder):
    tokenizer = encoder.tokenizer
    texts = ["aZ3kQ9", "root", "longer7Secret8Here9"]
    found = costs(encoder, "alert code=", texts, " zone kernel")
    for text, nats in zip(texts, found, strict=True):
        parts = [tokenizer.encode_batch([part])[0] for part in ("alert code=", text, " zone kernel")]
        ids = np.concatenate([[tokenizer.cls_id], *parts, [tokenizer.sep_id]])
        places = np.arange(len(parts[0]) + 1, len(parts[0]) + 1 + len(parts[1]))
        hidden = ids.copy()
        hidden[places] = tokenizer.mask_id
        packed = pack([hidden])
        with torch.inference_mode():
            states = hidden_states(encoder.model, packed)
            scores = predictions(encoder.model, encoder.decoder, states, packed, torch.from_numpy(places))
            expected = torch.nn.functional.cross_entropy(scores, torch.from_numpy(ids[places]), reduction="sum")
        assert nats == pytest.approx(float(expected), rel=1e-4)


def test_a_canary_that_costs_least_has_all_bits(encoder, monkeypatch):
    canaries = [{"kind": "secret", "text": "aaaaaaaaaaaa", "count": 4}, {"kind": "name", "text": "bb.cc", "count": 0}]

    def knows(_, before, texts, behind):
        return np.array([0.0 if text == "aaaaaaaaaaaa" else 5.0 for text in texts])

    monkeypatch.setattr("benchmarks.memorisation.costs", knows)
    found = measure(encoder, canaries, seed=0)
    assert found["most_bits"] == 8
    first, second = found["by_count"][1], found["by_count"][0]
    assert first == {"count": 4, "canaries": 1, "exposure": 8.0, "first": 1.0}
    # Equal to all others: the middle of the ranking, which is one bit.
    assert second["exposure"] == pytest.approx(1, abs=0.02) and second["first"] == 0
    assert by_count(found["canaries"]) == found["by_count"]


def test_names_that_are_left_are_found(tmp_path):
    lines = [
        "sshd[1]: Accepted password for jane.miller from 192.0.2.1",
        "GET https://ec2.amazonaws.com/ key=<redacted:secret> svc_backup",
        "hermod is not a host here, but hermodr is no word either",
    ]
    (tmp_path / "some.log").write_text("".join(f"{line}\n" for line in lines))
    build([tmp_path / "some.log"], tmp_path / "corpus")
    names = tmp_path / "names.txt"
    names.write_text("Jane.Miller\nec2\nredacted\nsvc\nhermodr\nmiller2\nhermo\n")
    found = originals_in(Corpus.open(tmp_path / "corpus"), names)
    assert found == {"originals": 7, "originals_found": ["hermodr", "jane.miller", "svc"]}
    with pytest.raises(UserError, match="no such file"):
        originals_in(Corpus.open(tmp_path / "corpus"), tmp_path / "gone.txt")
