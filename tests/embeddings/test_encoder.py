"""LogEncoder: URIs, input checks, equal texts, order, truncation, threads."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings import Encoder, LogEncoder
from logfm.embeddings.encoder import Counts
from logfm.embeddings.index import build, search
from logfm.embeddings.truncation import batches, pieces, pool
from logfm.errors import LogfmError, UserError
from tests.embeddings.samples import log_lines, write_log


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("/no/such/folder", "no such encoder"),
        ("stt:model", "no such encoder"),
        ("st:/no/such/folder", "no such model"),
        ("hf:nobody/nothing", "no such model"),
        ("py:json", "expected py:MODULE:OBJECT"),
        ("py:no_such_module_here:thing", "no module no_such_module_here"),
        ("py:json:nothing", "has no nothing"),
        ("py:json:decoder", "no encode"),
        ("http://127.0.0.1:1/v1/embeddings", "expected http://HOST"),
    ],
)
def test_a_wrong_uri_is_the_users_mistake_in_one_line(uri, words):
    with pytest.raises(UserError) as found:
        LogEncoder.load(uri)
    assert words in str(found.value)
    assert "\n" not in str(found.value)


def test_the_shipped_encoder_goes_by_its_name(encoder_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("logfm.pretrain.shipped.SHIPPED", encoder_folder)
    monkeypatch.chdir(tmp_path)
    # A folder of that name is another encoder, and needs a path.
    (tmp_path / "nano").mkdir()
    encoder = LogEncoder.load("nano")
    assert encoder.name == "nano" and encoder.hash == LogEncoder.load(encoder_folder).hash
    monkeypatch.setattr("logfm.pretrain.shipped.SHIPPED", tmp_path / "gone")
    with pytest.raises(UserError, match="this installation has no nano"):
        LogEncoder.load("nano")


def test_an_empty_folder_is_no_encoder(tmp_path):
    with pytest.raises(UserError, match="not an encoder folder"):
        LogEncoder.load(tmp_path)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ("one line", "found one str"),
        (b"bytes", "found one bytes"),
        ([None], "number 0 is NoneType"),
        (["a", b"b"], "number 1 is bytes"),
        (["a", 3.0], "number 1 is float"),
        (["a", None, b"c"], "number 1 is NoneType"),
        ([["a"]], "number 0 is list"),
        (None, "found one NoneType"),
        (7, "found one int"),
        (bytearray(b"a"), "found one bytearray"),
        ({"a": "b"}, "found one dict"),
    ],
)
def test_input_that_is_no_list_of_strings_is_refused(letters, texts, words):
    with pytest.raises(UserError, match=words):
        letters.encode(texts)
    assert letters.backend.target.calls == []


def test_nothing_gives_an_empty_matrix(letters, minilm):
    assert letters.encode([]).shape == (0, 36)
    assert minilm.encode([]).shape == (0, 384)
    assert minilm.encode([]).dtype == np.float32


def test_empty_strings_have_a_vector(minilm, ours):
    for encoder in (minilm, ours):
        found = encoder.encode(["", "a", "", " "])
        assert np.isfinite(found).all()
        assert np.array_equal(found[0], found[2])
        assert not np.allclose(found[0], found[1])
        assert np.allclose(encoder.encode([""])[0], found[0], atol=1e-5)


def test_any_sequence_of_strings_will_do(letters):
    expected = letters.encode(["ab", "c"])
    for texts in (("ab", "c"), np.array(["ab", "c"]), {"ab": 1, "c": 2}.keys(), iter(["ab", "c"])):
        assert np.array_equal(letters.encode(texts), expected)


def test_equal_texts_are_encoded_once_and_the_order_is_kept(letters):
    found = letters.encode(["bb", "a", "bb", "c", "a"])
    assert letters.backend.target.calls == [["bb", "a", "c"]]
    expected = letters.backend.target.encode(["bb", "a", "bb", "c", "a"])
    assert np.array_equal(found, expected)
    assert (letters.counts.texts, letters.counts.encoded) == (5, 3)


def test_what_stands_before_the_message_may_be_left_out(letters):
    lines = [
        "Jun 14 15:16:01 combo sshd[19939]: session opened for user root",
        "Jun 15 02:04:59 other sshd[8]: session opened for user root",
        "Jun 15 02:04:59 other sshd[8]: session closed for user root",
        '{"EventID": 4624, "Channel": "Security", "Time": "1"}',
        '{"EventID": 4624, "Channel": "Security", "Time": "2"}',
        "no header here",
        "Jun 15 02:04:59 other sshd[8]: ",
    ]
    whole = letters.encode(lines)
    reader = replace(letters, config=letters.config.model_copy(update={"reads": "message"}), counts=Counts())
    assert reader.read(lines) == [
        "session opened for user root",
        "session opened for user root",
        "session closed for user root",
        *lines[3:],
    ]
    vectors = reader.encode(lines)
    assert reader.counts.texts == 7 and reader.counts.encoded == 6
    assert np.array_equal(vectors, letters.encode(reader.read(lines)))
    assert np.array_equal(vectors[0], vectors[1]) and not np.array_equal(whole[0], whole[1])


def test_every_kind_of_encoder_keeps_the_protocol(letters, minilm, minilm_folder, ours, server):
    tfidf = LogEncoder.load("tfidf")
    tfidf.fit(log_lines(20))
    others = [LogEncoder.load(f"hf:{minilm_folder}"), LogEncoder.load(f"{server.url}#m"), tfidf]
    hashes = set()
    for encoder in (letters, minilm, ours, *others):
        assert isinstance(encoder, Encoder)
        lines = log_lines(4)
        found = encoder.encode([*lines, lines[0]])
        assert found.shape == (5, encoder.dim) and found.dtype == np.float32
        assert np.array_equal(found[0], found[4])
        assert str(encoder.name) == encoder.name
        hashes.add(encoder.hash)
    assert len(hashes) == 6
    assert not isinstance(letters.backend.target, Encoder)


def test_a_class_is_made_into_an_object(letters):
    assert LogEncoder.load("py:letters_module:Letters").encode(["aab"])[0, :2].tolist() == [2, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(letters, bad):
    letters.backend.target.encode = lambda texts: np.full((len(texts), 36), bad)
    with pytest.raises(LogfmError, match="NaN or infinity"):
        letters.encode(["a"])


def test_vectors_of_another_shape_are_refused(letters):
    letters.backend.target.encode = lambda texts: np.zeros((len(texts), 35))
    with pytest.raises(LogfmError, match="shape"):
        letters.encode(["a"])
    letters.backend.target.encode = lambda texts: np.zeros(36)
    with pytest.raises(LogfmError, match="1 dimensions"):
        letters.encode(["a"])


def test_st_gives_what_sentence_transformers_gives(minilm, minilm_folder):
    from sentence_transformers import SentenceTransformer

    lines = [*log_lines(20), "", "short", "x" * 50, "word " * 900]
    theirs = SentenceTransformer(str(minilm_folder), device="cpu").encode(lines, show_progress_bar=False)
    found = minilm.encode(lines)
    assert found.dtype == np.float32
    assert np.abs(found - theirs).max() < 1e-5


def test_hf_is_the_mean_over_tokens(minilm_folder, minilm, tmp_path):
    encoder = LogEncoder.load(f"hf:{minilm_folder}")
    lines = [*log_lines(12), "", "a"]
    found = encoder.encode(lines)
    # This model's own pooling is the same mean, then scaled to length 1.
    assert np.abs(found / np.linalg.norm(found, axis=1, keepdims=True) - minilm.encode(lines)).max() < 1e-5
    assert not np.allclose(np.linalg.norm(found, axis=1), 1, atol=0.01)
    # So the vectors of the two ways differ, and the one is refused where the other was used.
    assert encoder.hash != minilm.hash and encoder.dim == minilm.dim
    assert encoder.hash == LogEncoder.load(f"hf:{minilm_folder}").hash
    log = write_log(tmp_path / "app.log", lines[:12])
    build([log], minilm, tmp_path / "index")
    with pytest.raises(UserError, match="built with another encoder"):
        search(tmp_path / "index", lines[0], encoder=f"hf:{minilm_folder}")


def test_a_model_with_other_weights_in_its_file_opens_in_silence(encoder_folder, tmp_path, capfd):
    from safetensors.numpy import load_file, save_file
    from transformers.utils import logging

    folder = tmp_path / "model"
    shutil.copytree(encoder_folder, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"head.bias": np.ones(3)}, folder / "model.safetensors", {"format": "pt"})
    logging.set_verbosity_warning()
    LogEncoder.load(f"hf:{folder}")
    assert capfd.readouterr().err == ""


def test_lone_surrogates_do_not_crash(minilm, ours):
    for encoder in (minilm, ours):
        found = encoder.encode(["user \udcff\ud800 logged in", "plain"])
        assert np.isfinite(found).all()


def test_long_text_is_cut_by_the_policy_and_counted(minilm):
    long = "alpha " * 300 + "omega " * 300

    def vector(text, **options):
        config = EncoderConfig(**options)
        encoder = LogEncoder("minilm", replace(minilm.backend, config=config), config)
        return encoder.encode([text, "short"])[0], encoder.counts.cut

    head, cut = vector(long, truncation="head")
    assert cut == 1
    assert np.allclose(head, vector("alpha " * 254)[0], atol=1e-5)
    tail, _ = vector(long, truncation="head_tail")
    assert np.allclose(tail, vector("alpha " * 127 + "omega " * 127)[0], atol=1e-5)
    chunk, _ = vector(long, truncation="chunk", max_tokens=300)
    parts = [vector("alpha " * 254)[0], vector("alpha " * 46 + "omega " * 208)[0], vector("omega " * 92)[0]]
    expected = sum(part * weight for part, weight in zip(parts, (256, 256, 94), strict=True)) / 606
    assert np.allclose(chunk, expected, atol=1e-5)
    with pytest.raises(UserError, match="600 tokens, the encoder reads 254"):
        vector(long, truncation="error")
    assert vector("short", truncation="error")[1] == 0


def test_a_line_of_five_megabytes(ours):
    before = ours.counts.cut
    found = ours.encode(["GET /" + "a" * 5_000_000, "b"])
    assert np.isfinite(found).all()
    assert ours.counts.cut == before + 1
    with pytest.raises(UserError, match=r"a text has .* tokens, the encoder reads 126"):
        LogEncoder.load(ours.name, truncation="error").encode(["GET /" + "a" * 5_000_000])


def test_truncation_of_our_folder(encoder_folder):
    """Each policy is what encoding the kept tokens as texts of their own gives."""
    words = [f"w{number} " for number in range(60)]
    encoders = {
        policy: LogEncoder.load(encoder_folder, EncoderConfig(truncation=policy, max_tokens=100))
        for policy in ("head", "head_tail", "chunk")
    }
    runner = encoders["head"].backend.runner
    ids = runner.tokenizer.encode_batch(["".join(words)])[0]
    assert len(ids) > 100
    pieces = [ids[start : start + 100] for start in range(0, len(ids), 100)]
    vectors = runner.pool([pieces[0], np.concatenate([ids[:50], ids[-50:]]), *pieces], [2], "mean")
    sizes = np.array([len(piece) + 2 for piece in pieces])
    expected = {"head": vectors[0], "head_tail": vectors[1], "chunk": (sizes @ vectors[2:]) / sizes.sum()}
    for policy, encoder in encoders.items():
        assert np.allclose(encoder.encode(["".join(words), "short"])[0], expected[policy], atol=1e-5), policy
        assert (encoder.counts.encoded, encoder.counts.cut) == (2, 1)


@pytest.mark.parametrize("policy", ["head", "head_tail", "chunk", "error"])
def test_pieces_cover_what_the_policy_says(policy):
    assert pieces(10, 10, policy) == [[(0, 10)]]
    assert pieces(0, 10, policy) == [[(0, 0)]]
    if policy == "error":
        with pytest.raises(UserError):
            pieces(11, 10, policy)
        return
    found = pieces(25, 9, policy)
    expected = {
        "head": [[(0, 9)]],
        "head_tail": [[(0, 5), (21, 25)]],
        "chunk": [[(0, 9)], [(9, 18)], [(18, 25)]],
    }
    assert found == expected[policy]


def test_pool_weighs_the_pieces():
    vectors = np.array([[1, 0], [0, 1], [5, 5]], dtype=np.float32)
    found = pool(vectors, np.array([0, 0, 1]), np.array([3.0, 1.0, 7.0]), 2)
    assert np.allclose(found, [[0.75, 0.25], [5, 5]])


def test_batches_hold_every_row_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(1, 300, 500).tolist()
    found = list(batches(lengths, 1000))
    assert sorted(np.concatenate(found).tolist()) == list(range(500))
    assert all(len(rows) * max(lengths[row] for row in rows) <= 1000 for rows in found)
    assert [rows.tolist() for rows in batches([5000, 2], 1000)] == [[1], [0]]


def test_threads_get_their_own_answers(minilm, ours):
    lines = log_lines(48)
    for encoder in (minilm, ours):
        alone = encoder.encode(lines)
        parts = [lines[start : start + 6] for start in range(0, 48, 6)]
        with ThreadPoolExecutor(8) as pool_of_threads:
            together = np.concatenate(list(pool_of_threads.map(encoder.encode, parts)))
        assert np.abs(alone - together).max() < 1e-4


def test_our_folder_gives_what_sentence_transformers_gives(ours, encoder_folder):
    from sentence_transformers import SentenceTransformer

    lines = log_lines(30, seed=5)
    theirs = SentenceTransformer(str(encoder_folder), device="cpu").encode(lines, show_progress_bar=False)
    assert np.abs(ours.encode(lines) - theirs).max() < 1e-4
    assert ours.pretrained.dim == ours.dim == 32


def test_only_ours_has_a_pretrained_model(minilm, ours):
    assert ours.explains
    assert not minilm.explains
    with pytest.raises(UserError, match="trained by logfm"):
        _ = minilm.pretrained
