"""The backends of an encoder folder agree; what moves vectors has a hash of its own."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from logfm.artifacts import read_manifest
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.configs.schema.simulate import SimulateConfig
from logfm.corpus.simulate import simulate
from logfm.embeddings import Index, LogEncoder
from logfm.embeddings.embed import embed
from logfm.embeddings.folder import chosen_layers
from logfm.embeddings.index import add, build, search
from logfm.errors import UserError
from logfm.pretrain.export import Extras, export_checkpoint
from logfm.pretrain.onnx_files import write_onnx
from tests.embeddings.samples import log_lines, write_log

LINES = [*log_lines(60, seed=3), "", "a", " ", "x" * 900, "user=root " * 40, "\udcff \ud800"]


@pytest.fixture(scope="module")
def folder(encoder_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "encoder"
    shutil.copytree(encoder_folder, out)
    write_onnx(out, int8=True)
    return out


@pytest.fixture(scope="module", params=["torch", "onnx", "onnx-int8"])
def backend(request, folder):
    return LogEncoder.load(folder, backend=request.param)


def cosines(one, two):
    return (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def centred_cosines(one, two):
    """Random weights give vectors that all point one way; what is left without their mean tells texts apart."""
    return cosines(one - two.mean(0), two - two.mean(0))


@pytest.mark.parametrize(("name", "least"), [("onnx", 0.9999), ("onnx-int8", 0.98)])
@pytest.mark.parametrize("options", [{}, {"layers": "1", "pooling": "max"}, {"layers": "last:2", "pooling": "first"}])
def test_onnx_gives_what_torch_gives(folder, name, least, options):
    found = LogEncoder.load(folder, backend=name, **options).encode(LINES)
    expected = LogEncoder.load(folder, backend="torch", **options).encode(LINES)
    assert found.dtype == np.float32
    assert cosines(found, expected).min() >= least
    if name == "onnx":
        assert np.abs(found - expected).max() < 1e-4
        if options.get("pooling") != "first":  # [CLS] of random weights is nearly the same everywhere
            assert centred_cosines(found, expected).min() >= least


def mean_average_precision(vectors, labels):
    """Of each line as a query: the lines of its kind are right."""
    centred = vectors - vectors.mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    found = []
    for row, similar in enumerate(unit @ unit.T):
        order = np.delete(np.arange(len(unit)), row)[np.argsort(-np.delete(similar, row), kind="stable")]
        right = labels[order] == labels[row]
        found.append((np.cumsum(right) / (1 + np.arange(len(right))))[right].mean())
    return float(np.mean(found))


def test_search_with_every_backend_is_as_good(folder, tmp_path):
    """On lines of simulated machines, searched for lines of the same program."""
    simulate(SimulateConfig(events=2_000, attacks=0, seed=5), tmp_path / "all")
    lines = (tmp_path / "all" / "logs" / "linux" / "auth.log").read_text().splitlines()[:300]
    labels = np.array([re.sub(r"\d+", "0", " ".join(line.split()[4:7])) for line in lines])
    kept = np.isin(labels, [one for one, count in Counter(labels.tolist()).items() if count > 1])
    lines, labels = [line for line, keep in zip(lines, kept, strict=True) if keep], labels[kept]
    assert len(lines) > 250 and len(set(labels)) > 4
    found = {
        name: mean_average_precision(LogEncoder.load(folder, backend=name).encode(lines), labels)
        for name in ("torch", "onnx", "onnx-int8")
    }
    assert found["torch"] > 1.5 * mean_average_precision(np.random.default_rng(0).random((len(lines), 32)), labels)
    assert abs(found["onnx"] - found["torch"]) < 1e-3
    assert abs(found["onnx-int8"] - found["torch"]) <= 0.01


def test_vectors_do_not_depend_on_the_batch(folder):
    encoder = LogEncoder.load(folder, backend="onnx")
    together = encoder.encode(LINES)
    alone = np.concatenate([encoder.encode([line]) for line in LINES[:12]])
    assert np.abs(together[:12] - alone).max() < 1e-5


def test_threads_get_the_same_vectors(backend):
    parts = [LINES[start : start + 8] for start in range(0, 64, 8)]
    alone = [backend.encode(part) for part in parts]
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(lambda _: [backend.encode(part) for part in parts], range(8)):
            for one, other in zip(found, alone, strict=True):
                assert np.allclose(one, other, atol=1e-5)


def test_hashes_tell_vectors_apart(folder, ours):
    def identity(**options):
        return LogEncoder.load(folder, **{"backend": "torch"} | options).hash

    # float32 vectors of both backends are the same and may stand in one index
    assert identity() == identity(backend="onnx") == ours.hash
    assert identity(layers="2") == identity(layers="last:1") == ours.hash
    different = [
        {"backend": "onnx-int8"},
        {"layers": "1"},
        {"layers": "last:2"},
        {"pooling": "first"},
        {"pooling": "max"},
        {"pooling": "max", "layers": "1"},
    ]
    assert len({ours.hash, *(identity(**options) for options in different)}) == 7
    assert identity(backend="onnx", layers="1") == identity(layers="1")


def test_layers_and_pooling_are_what_transformers_computes(folder):
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder)
    encoder = LogEncoder.load(folder)
    ids = encoder.pretrained.tokenizer.encode_batch([LINES[0]])[0]
    whole = torch.tensor([[1, *ids, 2]])
    assert (encoder.pretrained.tokenizer.cls_id, encoder.pretrained.tokenizer.sep_id) == (1, 2)
    with torch.inference_mode():
        states = torch.stack(model(whole, output_hidden_states=True).hidden_states)[:, 0].numpy()
    expected = {
        ("last", "mean"): states[2].mean(0),
        ("0", "mean"): states[0].mean(0),
        ("1", "first"): states[1][0],
        ("last:2", "max"): states[1:].mean(0).max(0),
        ("last:3", "mean"): states.mean((0, 1)),
    }
    for (layers, pooling), vector in expected.items():
        loaded = LogEncoder.load(folder, backend="torch", layers=layers, pooling=pooling)
        found = loaded.encode([LINES[0], LINES[3]])[0]
        assert np.abs(found - vector).max() < 1e-5, (layers, pooling)


@pytest.mark.parametrize(
    ("layers", "count", "expected"),
    [("last", 4, (4,)), ("0", 4, (0,)), ("last:3", 4, (2, 3, 4)), ("last:5", 4, (0, 1, 2, 3, 4))],
)
def test_layers_by_name(layers, count, expected):
    assert chosen_layers(layers, count) == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": "3"}, "the encoder has 2 layers"),
        ({"layers": "last:4"}, "the encoder has 2 layers"),
        ({"layers": "-1"}, "layers"),
        ({"layers": "first"}, "layers"),
        ({"pooling": "median"}, "pooling"),
        ({"backend": "tensorrt"}, "backend"),
        ({"config": EncoderConfig(backend="onnx", bf16=True)}, "bf16 is for the backend torch"),
    ],
)
def test_options_that_do_not_exist(folder, options, words):
    with pytest.raises(UserError, match=words):
        LogEncoder.load(folder, **options)


def test_options_are_for_our_folders(minilm_folder):
    for options in ({"backend": "onnx"}, {"layers": "1"}, {"pooling": "first"}):
        with pytest.raises(UserError, match="is for encoder folders of logfm"):
            LogEncoder.load(f"st:{minilm_folder}", **options)
    with pytest.raises(UserError, match="the option bf16 is for encoder folders"):
        LogEncoder.load(f"hf:{minilm_folder}", EncoderConfig(bf16=True))


@pytest.mark.parametrize("uri", ["py:tests.embeddings.samples:Letters", "http://127.0.0.1:1/v1/embeddings#m", "tfidf"])
@pytest.mark.parametrize("options", [{"truncation": "error"}, {"max_tokens": 9}, {"bf16": True}])
def test_what_an_encoder_cannot_do_is_refused(uri, options):
    if uri == "tfidf" and "truncation" in options:
        assert LogEncoder.load(uri, EncoderConfig(**options)).tells_cuts  # nothing is cut, so each policy holds
        return
    with pytest.raises(UserError, match=f"the option {next(iter(options))}"):
        LogEncoder.load(uri, EncoderConfig(**options))


def test_bf16_and_the_device_are_chosen(folder, minilm_folder, monkeypatch, letters):
    import torch

    assert LogEncoder.load(folder, bf16=True).config.backend == "torch"
    assert LogEncoder.load(folder, bf16=True).backend.runner.pretrained.bf16
    monkeypatch.setattr("logfm.embeddings.backends.which", lambda _: "/usr/bin/nvidia-smi")
    assert LogEncoder.load(folder, device="cpu").config.backend == "onnx-int8"  # beside a GPU
    for uri in (folder, f"st:{minilm_folder}", f"hf:{minilm_folder}"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(UserError, match="torch finds no GPU here"):
            LogEncoder.load(uri, device="cuda")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        options = {"backend": "torch"} if uri == folder else {}
        assert LogEncoder.load(uri, device="cpu", **options).encode(["a"]).shape[0] == 1
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UserError, match="ONNX Runtime finds no GPU here"):
        LogEncoder.load(folder, backend="onnx", device="cuda")
    with pytest.raises(UserError, match="the option device is for encoder folders, st: and hf:"):
        LogEncoder.load("py:letters_module:encoder", device="cpu")


def test_an_index_does_not_remember_a_device(folder, tmp_path):
    log = write_log(tmp_path / "app.log", log_lines(5))
    assert build([log], LogEncoder.load(folder, device="cpu"), tmp_path / "i").config["reading"]["device"] == "auto"


def test_a_folder_without_a_graph_says_how_to_write_it(encoder_folder):
    with pytest.raises(UserError, match=r"no model\.onnx .*logfm export \S+ --out OTHER_FOLDER --onnx"):
        LogEncoder.load(encoder_folder, backend="onnx")


def test_graphs_of_other_weights_and_damaged_ones_are_refused(folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    other = tmp_path / "other"
    shutil.copytree(folder, other)
    weights = load_file(other / "model.safetensors")
    weights["deberta.encoder.LayerNorm.bias"] += 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="other weights"):
        LogEncoder.load(other, backend="onnx")
    (other / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot read the ONNX file"):
        LogEncoder.load(other, backend="onnx")


def test_long_texts_are_cut_and_counted(folder):
    for name in ("torch", "onnx"):
        encoder = LogEncoder.load(folder, backend=name, truncation="head_tail")
        encoder.encode(["a b c " * 400, "short"])
        assert encoder.counts.cut == 1
        with pytest.raises(UserError, match="the encoder reads 126"):
            LogEncoder.load(folder, backend=name, truncation="error").encode(["a b c " * 400])


def test_more_tokens_than_in_training_are_read_on_request(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("logfm.embeddings.backends.which", lambda _: None)
    out = tmp_path / "encoder"
    shutil.copytree(folder, out)  # positions for 128, read up to 64 by default
    (out / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": false}')
    words = "".join(f"w{number} " for number in range(70))
    for name in ("torch", "onnx", "onnx-int8", "auto"):
        limits = [
            LogEncoder.load(out, EncoderConfig(backend=name, max_tokens=asked)).backend.limit
            for asked in (None, 9, 100, 5_000)
        ]
        assert limits == [62, 9, 100, 126], name
    for name in ("torch", "onnx"):
        encoder = LogEncoder.load(out, EncoderConfig(backend=name, max_tokens=126))
        assert np.allclose(encoder.encode([words]), LogEncoder.load(folder, backend="torch").encode([words]), atol=1e-4)
    # A graph holds the scores of all pairs of tokens: beyond its limit `auto` is torch.
    asked = {4094: "onnx-int8", 4095: "torch"}
    for tokens, backend in asked.items():
        assert LogEncoder.load(out, EncoderConfig(max_tokens=tokens)).config.backend == backend


def test_a_large_model_has_its_weights_beside_the_graph(encoder_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("logfm.pretrain.onnx_files.INLINE_BYTES", 1000)
    out = tmp_path / "encoder"
    shutil.copytree(encoder_folder, out)
    write_onnx(out, int8=True)
    assert (out / "model.onnx.data").stat().st_size > 50_000
    for name in ("onnx", "onnx-int8"):
        found = LogEncoder.load(out, backend=name).encode(LINES)
        assert cosines(found, LogEncoder.load(out, backend="torch").encode(LINES)).min() > 0.98


def test_export_of_an_encoder_adds_graphs(tmp_path, encoder_folder):
    from logfm.artifacts import produce

    with produce(tmp_path / "one", stage="encoder", config={"trained_tokens": 128}, inputs={}) as work:
        shutil.copytree(encoder_folder, work.path, dirs_exist_ok=True)
        work.licences.add("MIT")
    manifest = export_checkpoint(tmp_path / "one", tmp_path / "two", Extras(int8=True))
    assert {"model_int8.onnx", "model.safetensors", "1_Pooling/config.json"} <= set(manifest.outputs)
    assert "model.onnx" not in manifest.outputs
    assert manifest.config["graphs"] == ["int8"]
    assert manifest.licences == ["MIT"]
    assert export_checkpoint(tmp_path / "one", tmp_path / "two", Extras(int8=True)) == manifest
    plain = export_checkpoint(tmp_path / "two", tmp_path / "three")
    assert "graphs" not in plain.config and "model_int8.onnx" not in plain.outputs
    # The folder that it is copied from was written without a card.
    assert {**plain.outputs, "README.md": None} == {**read_manifest(tmp_path / "one").outputs, "README.md": None}


def test_weights_in_16_bits_are_half_the_size_and_read_as_float32(tmp_path, encoder_folder):
    from transformers import AutoModel

    from logfm.artifacts import produce

    with produce(tmp_path / "one", stage="encoder", config={"trained_tokens": 128}, inputs={}) as work:
        shutil.copytree(encoder_folder, work.path, dirs_exist_ok=True)
    export_checkpoint(tmp_path / "one", tmp_path / "two", Extras(int8=True, half=True))
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("one", "two")]
    assert 0.45 < sizes[1] / sizes[0] < 0.6
    modes = {path.stat().st_mode for path in (tmp_path / "two").glob("*.*") if path.suffix in (".json", ".safetensors")}
    assert len(modes) == 1
    assert AutoModel.from_pretrained(tmp_path / "two").dtype.itemsize == 4
    whole = LogEncoder.load(tmp_path / "one").encode(LINES)
    for name in ("torch", "onnx-int8"):
        found = LogEncoder.load(tmp_path / "two", backend=name).encode(LINES)
        assert cosines(found, whole).min() > (0.9999 if name == "torch" else 0.98)


def test_auto_takes_integers_where_they_are_and_still_explains(tmp_path, encoder_folder, monkeypatch):
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    assert LogEncoder.load(folder).hash == LogEncoder.load(folder, backend="torch").hash
    write_onnx(folder, int8=True, float32=False)
    monkeypatch.setattr("logfm.embeddings.backends.which", lambda _: None)
    encoder = LogEncoder.load(folder)
    assert encoder.hash == LogEncoder.load(folder, backend="onnx-int8").hash
    assert encoder.explains and encoder.pretrained.folder == folder
    assert not LogEncoder.load(folder, backend="onnx-int8").explains
    monkeypatch.setattr("logfm.embeddings.backends.which", lambda _: "/usr/bin/nvidia-smi")
    assert LogEncoder.load(folder).hash == LogEncoder.load(folder, backend="torch").hash


@pytest.mark.parametrize("threads", ["2,1", "", " 1 ", "many"])
def test_a_number_of_threads_as_openmp_takes_it(folder, monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert LogEncoder.load(folder, backend="onnx").encode(["a"]).shape == (1, 32)


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8"])
def test_batches_side_by_side_give_what_one_after_the_other_does(folder, monkeypatch, backend):
    config = EncoderConfig(backend=backend, tokens_per_batch=64)
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        encoder = LogEncoder.load(folder, config)
        assert encoder.backend.runner.threads == int(threads)
        found.append(encoder.encode(log_lines(40)))
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


def test_onnx_loads_no_torch(folder):
    script = (
        "import sys; from logfm.embeddings import LogEncoder\n"
        f"print(LogEncoder.load({str(folder)!r}, backend='onnx').encode(['a', 'b']).shape)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2, 32)\n"


def test_the_graph_gathers_no_matrix_of_positions(folder):
    import onnx

    graph = onnx.load(folder / "model.onnx").graph
    assert not [node.op_type for node in graph.node if node.op_type == "GatherElements"]
    outputs = [one.name for one in graph.output]
    assert outputs == ["hidden_state_0", "hidden_state_1", "last_hidden_state"]
    config = json.loads((folder / "config.json").read_bytes())
    assert graph.output[0].type.tensor_type.shape.dim[2].dim_value == config["hidden_size"]
    assert EncoderConfig().backend == "auto"


def test_onednn_changes_the_time_and_nothing_else(folder):
    import torch

    from logfm.embeddings.backends.onednn import OneDnnLinear
    from logfm.pretrain import load_encoder

    ours, plain = LogEncoder.load(folder).pretrained, load_encoder(folder)
    changed = [module for module in ours.model.modules() if isinstance(module, OneDnnLinear)]
    assert len(changed) == 2 * 6
    assert list(ours.model.state_dict()) == list(plain.model.state_dict())
    ids = plain.tokenizer.encode_batch(LINES)
    assert np.abs(ours.pool(ids) - plain.pool(ids)).max() < 1e-5
    half = LogEncoder.load(folder, EncoderConfig(bf16=True)).encode(LINES)
    assert cosines(half, plain.pool(ids)).min() > 0.999
    x = torch.randn(3, 32, requires_grad=True)
    changed[0](x).sum().backward()  # with gradients it is the plain layer
    assert x.grad is not None


def test_a_missing_package_is_named_at_the_door(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for step in (lambda: LogEncoder.load(folder, backend="onnx"), lambda: write_onnx(folder)):
        with pytest.raises(UserError, match=r'pip install "logfm\[onnx\]"'):
            step()


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_folder_whose_tokenizer_is_not_the_models_own_is_refused(folder, tmp_path, backend):
    out = tmp_path / "encoder"
    shutil.copytree(folder, out)
    config = json.loads((out / "config.json").read_bytes())
    # As if another tokenizer of the same size had been copied in: the hash is of the one that it was trained with.
    assert config["logfm_tokenizer"] == LogEncoder.load(folder).pretrained.tokenizer.hash
    (out / "config.json").write_text(json.dumps(config | {"logfm_tokenizer": "0" * 64}))
    with pytest.raises(UserError, match="not the one that this encoder was trained with"):
        LogEncoder.load(out, backend=backend)


def test_an_index_opens_with_the_backend_it_was_built_with(tmp_path, folder, monkeypatch):
    log = write_log(tmp_path / "app.log", log_lines(20))
    for backend, other in (("onnx-int8", "/usr/bin/nvidia-smi"), ("torch", None)):
        index, there = tmp_path / backend, "/usr/bin/nvidia-smi" if other is None else None
        monkeypatch.setattr("logfm.embeddings.backends.which", lambda _, found=there: found)
        encoder = LogEncoder.load(folder)
        assert encoder.config.backend == backend
        assert build([log], encoder, index).config["reading"]["backend"] == backend
        # Another machine, on which `auto` stands for something else.
        monkeypatch.setattr("logfm.embeddings.backends.which", lambda _, found=other: found)
        assert LogEncoder.load(folder).config.backend != backend
        moved = tmp_path / f"moved-{backend}"
        shutil.copytree(folder, moved)
        for given in (None, moved, str(moved)):
            assert search(index, log_lines(20)[7], k=1, encoder=given, mode="vector")[0].score == pytest.approx(
                1, abs=1e-3
            )
        more = write_log(tmp_path / f"{backend}.log", log_lines(3, seed=8))
        assert add(index, [more], moved).metrics["events"] == 23
        with pytest.raises(UserError, match=rf"built with another encoder \(.*, backend {backend}, .*backend") as why:
            Index.open(index, LogEncoder.load(folder))
        assert str(why.value).endswith(f"Give that one with --backend {backend}, or build the index again.")


def test_vectors_of_another_backend_are_refused_by_its_name(tmp_path, folder):
    log = write_log(tmp_path / "app.log", log_lines(5))
    embed([log], LogEncoder.load(folder, backend="onnx-int8"), tmp_path / "vectors.parquet")
    with pytest.raises(UserError, match=r"backend onnx-int8, .*backend torch.*with --backend onnx-int8, or embed the"):
        build([tmp_path / "vectors.parquet"], LogEncoder.load(folder, backend="torch"), tmp_path / "index")


def test_workers_and_manifests_are_told_no_auto(folder, encoder_folder, monkeypatch, letters):
    monkeypatch.setattr("logfm.embeddings.backends.which", lambda _: None)
    assert LogEncoder.load(folder).config.backend == "onnx-int8"
    assert LogEncoder.load(folder).explains
    assert LogEncoder.load(encoder_folder).config.backend == "torch"
    assert letters.config.backend == "auto"


def test_eight_bit_products_do_not_overflow_where_the_processor_lacks_their_instructions(monkeypatch):
    """Without VNNI, ONNX Runtime adds pairs of products in 16 bits unless it is told not to."""
    from logfm.embeddings.backends import onnx_backend

    for machine, flags, expected in (
        ("x86_64", "avx2 avx512f", True), ("x86_64", "avx2 avx_vnni", False), ("x86_64", "avx512_vnni", False),
        ("aarch64", "", False),
    ):  # fmt: skip
        monkeypatch.setattr(onnx_backend.platform, "machine", lambda machine=machine: machine)
        monkeypatch.setattr(Path, "read_text", lambda self, flags=flags: flags)
        onnx_backend._may_saturate.cache_clear()
        assert onnx_backend._may_saturate() is expected
    onnx_backend._may_saturate.cache_clear()
