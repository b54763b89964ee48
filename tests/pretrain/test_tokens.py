"""Token shards: what is trained on, what is held out."""

from collections import Counter

import pyarrow.parquet as pq
import pytest

from logfm.configs.schema.pretrain import DataConfig
from logfm.pretrain.tokens import build_tokens, split_by_time
from logfm.tokenizer import LogTokenizer
from tests.pretrain.conftest import log_lines, write_corpus


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """900 events of one source, 60 of another."""
    sources = ["large"] * 900 + ["small"] * 60
    return write_corpus(tmp_path_factory.mktemp("uneven") / "corpus", log_lines(960), sources)


def test_a_large_source_gives_no_more_training_events_than_asked_for(uneven, tokenizer_folder, tmp_path):
    tokenizer = LogTokenizer.load(tokenizer_folder)
    whole, part = DataConfig(max_tokens=128), DataConfig(max_tokens=128, source_events=100)
    everything = build_tokens(uneven, tokenizer, tmp_path / "whole", whole)
    some = build_tokens(uneven, tokenizer, tmp_path / "part", part)
    assert some.key != everything.key
    counts = Counter(pq.read_table(tmp_path / "part" / "train.parquet")["source"].to_pylist())
    assert counts == {"large": 100, "small": 57}
    assert everything.metrics["train"]["events"] == 855 + 57
    # What is held out does not depend on it.
    held_out = [pq.read_table(tmp_path / name / "validation.parquet") for name in ("whole", "part")]
    assert held_out[0].equals(held_out[1])
    assert held_out[0].num_rows == 45 + 3


def test_what_is_left_is_spread_over_the_source(uneven):
    split = split_by_time(uneven, DataConfig(source_events=10))
    rows = split.train[:900].nonzero()[0]
    assert rows[0] == 0 and rows[-1] == 854
    assert not (split.train & split.validation).any()
