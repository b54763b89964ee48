"""A map behind the pooling: ours and sentence-transformers apply the same one."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from logfm.embeddings import LogEncoder
from logfm.errors import UserError
from logfm.pretrain import projection
from logfm.pretrain.export import write_projection
from tests.embeddings.samples import log_lines

LINES = log_lines(200)


@pytest.fixture
def whitened(encoder_folder, tmp_path):
    folder = tmp_path / "whitened"
    shutil.copytree(encoder_folder, folder)
    plain = LogEncoder.load(encoder_folder).encode(LINES)
    write_projection(projection.fit(plain, "whiten"), folder)
    return folder


def test_centring_moves_the_mean_and_nothing_else():
    vectors = np.random.default_rng(0).normal(3, 1, (500, 4)).astype(np.float32)
    mapped = projection.fit(vectors, "centre")(vectors)
    assert np.allclose(mapped.mean(0), 0, atol=1e-5)
    assert np.allclose(mapped, vectors - vectors.mean(0), atol=1e-5)


def test_whitening_evens_out_and_its_power_goes_from_none_to_all():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(0, 1, (5000, 3)) * [10, 1, 0.5] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]).astype("float32")
    spread = {power: np.linalg.eigvalsh(np.cov(projection.fit(vectors, "whiten", power)(vectors).T))
              for power in (0, 0.25, 0.5)}  # fmt: skip
    ratio = {power: found.max() / found.min() for power, found in spread.items()}
    assert ratio[0] == pytest.approx(np.linalg.cond(np.cov(vectors.T)), rel=0.01)
    assert ratio[0.5] < 1.3 < ratio[0.25] < ratio[0]
    flat = np.ones((50, 3), dtype=np.float32)
    assert np.isfinite(projection.fit(flat + vectors[:50] * [1, 0, 0], "whiten")(flat)).all()


def test_sentence_transformers_gives_the_same_vectors(whitened, encoder_folder):
    from sentence_transformers import SentenceTransformer

    ours = LogEncoder.load(whitened).encode(LINES[:20])
    assert np.allclose(SentenceTransformer(str(whitened)).encode(LINES[:20]), ours, atol=1e-4)
    assert not np.allclose(ours, LogEncoder.load(encoder_folder).encode(LINES[:20]), atol=1e-2)


def test_a_map_changes_the_hash_and_other_layers_go_without(whitened, encoder_folder):
    plain, mapped = LogEncoder.load(encoder_folder), LogEncoder.load(whitened)
    assert plain.hash != mapped.hash
    options = {"layers": 1}
    assert LogEncoder.load(whitened, **options).hash == LogEncoder.load(encoder_folder, **options).hash
    assert np.array_equal(LogEncoder.load(whitened, **options).encode(LINES[:5]),
                          LogEncoder.load(encoder_folder, **options).encode(LINES[:5]))  # fmt: skip


def test_a_damaged_map_is_refused(whitened):
    path = whitened / projection.FOLDER / "model.safetensors"
    save_file({"linear.weight": np.eye(3, dtype=np.float32), "linear.bias": np.zeros(3, np.float32)}, path)
    with pytest.raises(UserError, match="does not fit"):
        LogEncoder.load(whitened)
    path.write_bytes(b"{")
    with pytest.raises(UserError, match="cannot read the projection"):
        LogEncoder.load(whitened)
