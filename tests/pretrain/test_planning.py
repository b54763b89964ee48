"""A plan's formulas are held to the model: weights exactly, FLOPs to counted products, bytes to what autograd keeps."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import DebertaV2ForMaskedLM

from logfm.cli import main
from logfm.configs import load, recipes
from logfm.configs.schema.plan import DevicesConfig
from logfm.configs.schema.pretrain import MaskingConfig, ModelConfig, PretrainConfig
from logfm.errors import UserError
from logfm.pretrain.attention.positions import distance_index
from logfm.pretrain.data import Masker
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.devices import chosen, known_device, load_devices
from logfm.pretrain.flops import reached_rows, train_flops
from logfm.pretrain.forward import hidden_states, prediction_loss, predictions
from logfm.pretrain.memory import (
    Grid,
    How,
    Shape,
    count,
    decoder_kept,
    encoder_kept,
    equal_lengths,
    head_kept,
    process_bytes,
    step_bytes,
)
from logfm.pretrain.model import build, hf_config
from logfm.pretrain.packing import pack
from logfm.pretrain.paper_arithmetic import by_our_formula, published_runs
from logfm.pretrain.planning import plan, sizes_of_folder
from logfm.pretrain.shipped import encoder_folder
from logfm.pretrain.zero_memory import zero_bytes
from logfm.tokenizer import LogTokenizer

VOCABULARY = 1003
SMALL = {"hidden_size": 256, "layers": 3, "heads": 4, "intermediate_size": 1024}
MIXED = [90, 80, 100, 20, 30, 40, 200, 210]
NANO = ["--set", "start.encoder=nano", "--set", "tokenizer=nano"]
SIZES = [name for name in recipes() if name.startswith("pretrain/")]


@pytest.mark.parametrize("recipe", SIZES)
@pytest.mark.parametrize("decoder_layers", [0, 2])
def test_the_number_of_weights_is_the_models(recipe, decoder_layers):
    model = load(PretrainConfig, recipe, [f"model.decoder_layers={decoder_layers}"]).model
    with torch.device("meta"):
        parts = [DebertaV2ForMaskedLM(hf_config(model, 29_952, 0)), build_decoder(model, 0)]
    actual = sum(weight.numel() for part in parts if part is not None for weight in part.parameters())
    assert count(model, 29_952).total == actual


@pytest.mark.parametrize(("buckets", "farthest"), [(64, 2048), (256, 4096), (8, 40)])
def test_reached_rows_are_those_of_the_table(buckets, farthest):
    model = ModelConfig(position_buckets=buckets, max_relative_positions=farthest)
    for length in (1, 2, 9, 33, 130, 511, 2048, 5000):
        rows = distance_index(length, buckets, farthest, torch.device("cpu")).unique()
        assert reached_rows(model, np.array([length])) == len(rows)


@pytest.mark.parametrize("decoder_layers", [0, 2])
def test_flops_are_the_products_that_torch_counts(decoder_layers):
    # So long that every row of the table is reached: the oracle multiplies with all of them.
    length, positions = 150, torch.arange(3, 63)
    model = ModelConfig(
        hidden_size=32, layers=2, heads=4, intermediate_size=48, position_buckets=8, max_relative_positions=40,
        decoder_layers=decoder_layers,
    )  # fmt: skip
    network, decoder = build(model, VOCABULARY, 0, 0), build_decoder(model, 0)
    packed = pack([np.arange(5, 5 + length)])
    # Torch counts no products inside of its fused attention for CPUs.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        states = hidden_states(network, packed, "eager")
        predictions(network, decoder, states, packed, positions).sum().backward()
    assert train_flops(model, VOCABULARY, np.array([length]), len(positions)) == counter.get_total_flops()


def test_flops_of_a_batch():
    model = ModelConfig()
    assert train_flops(model, VOCABULARY, np.array([], dtype=int), 0) == 0
    short, long = (train_flops(model, VOCABULARY, np.full(8192 // n, n), 2000) for n in (64, 512))
    assert long > short
    # Tables are projected once a batch; all else is additive.
    table = 3 * model.layers * 4 * 2 * model.position_buckets * model.hidden_size**2
    both = train_flops(model, VOCABULARY, np.array([64, 64]), 20)
    assert both == pytest.approx(2 * train_flops(model, VOCABULARY, np.array([64]), 10) - table)


def kept_for_backward(model, lengths, bf16, recompute):
    """Bytes that autograd keeps beside the weights and their bf16 copies, and the batch's shape."""
    network, decoder = build(model, VOCABULARY, 0, 0), build_decoder(model, 0)
    rng = np.random.default_rng(0)
    events = [rng.integers(5, VOCABULARY, size=length) for length in lengths]
    batch = Masker(np.ones(VOCABULARY, dtype=bool), 0, MaskingConfig(), 0).batch(events, 0, 0.3)
    weights = [weight for part in (network, decoder) if part is not None for weight in part.parameters()]
    own = {weight.untyped_storage().data_ptr() for weight in weights}
    # Of the word embeddings no copy is kept, but their gradient, which the loss makes.
    inner = [weight for weight in weights if weight.ndim == 2 and len(weight) != VOCABULARY]
    matrices = {tuple(one.shape) for weight in inner for one in (weight, weight.T)}
    kept = {}

    def keep(tensor):
        copy = tensor.dtype == torch.bfloat16 and tuple(tensor.shape) in matrices
        if tensor.untyped_storage().data_ptr() not in own and not copy:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        states = hidden_states(network, batch.packed, recompute=recompute)
        prediction_loss(network, decoder, states, batch.packed, batch.positions_M, batch.targets_M)
    groups = tuple(Grid(group.events, group.length, group.stop - group.start) for group in batch.packed.groups)
    shape = Shape(len(batch.packed.ids_T), len(batch.positions_M), groups)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()), shape


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("decoder_layers", [0, 2])
@pytest.mark.parametrize("lengths", [[100] * 9, MIXED])
def test_activations_are_what_autograd_keeps(lengths, decoder_layers, bf16, recompute):
    model = ModelConfig(**SMALL, decoder_layers=decoder_layers)
    measured, shape = kept_for_backward(model, lengths, bf16, recompute)
    how = How(bf16=bf16, checkpointing=recompute)
    estimate = encoder_kept(model, shape, how) + decoder_kept(model, shape, how)
    assert estimate + head_kept(model, VOCABULARY, shape, how) == pytest.approx(measured, rel=0.03)


def test_long_events_keep_no_probabilities():
    model = ModelConfig(hidden_size=32, layers=1, heads=2, intermediate_size=32, decoder_layers=0)
    how = How()
    kept = [encoder_kept(model, equal_lengths(length, length, 0.3), how) for length in (4096, 8192, 16_384)]
    assert kept[2] - kept[1] == pytest.approx(2 * (kept[1] - kept[0]), rel=0.01)


@pytest.mark.parametrize(("bf16", "float32", "expected"), [(4.0, 1.0, True), (1.0, 4.0, False), (1.1, 1.0, True)])
def test_a_clear_difference_between_precisions_is_seen_on_small_products(monkeypatch, bf16, float32, expected):
    from logfm.pretrain import peak

    tried = []

    def rate(dtype, size):
        tried.append(size)
        return bf16 if dtype == torch.bfloat16 else float32

    monkeypatch.setattr(peak, "_rate", rate)
    assert peak.faster_in_bf16.__wrapped__() is expected
    assert max(tried) == (512 if max(bf16, float32) > 2 else 1024)


def test_one_disturbed_round_does_not_choose_the_precision(monkeypatch):
    from logfm.pretrain import peak

    slowed = iter([True])
    monkeypatch.setattr(
        peak, "_rate", lambda dtype, size: 1.0 if dtype == torch.bfloat16 else 0.9 if next(slowed, False) else 1.9
    )
    assert not peak.faster_in_bf16.__wrapped__()


def test_checkpointing_and_the_kernel_take_less():
    model = load(PretrainConfig, "pretrain/base").model
    shape = equal_lengths(1024, 65_536, 0.3)
    plain, kernel, checkpointing = (
        step_bytes(model, 29_952, shape, how).total
        for how in (How(), How(kernel=True), How(kernel=True, checkpointing=True))
    )
    assert plain > 1.5 * kernel > 3 * checkpointing
    assert process_bytes(step_bytes(model, 29_952, shape, How()), shape) > plain


def test_where_weights_outweigh_the_batch_the_peak_is_the_optimizers_step():
    model = ModelConfig(**SMALL)
    step = step_bytes(model, VOCABULARY, equal_lengths(8, 8, 0.3), How())
    # The fused AdamW reads weights and gradients and writes two states of their size; it takes nothing beside them.
    assert step.total == 16 * count(model, VOCABULARY).total


def test_zero_divides_what_its_stages_say():
    model = load(PretrainConfig, "pretrain/large").model
    shape, how = equal_lengths(512, 4096, 0.3), How()
    weights = count(model, 29_952).total
    one, two, three = (zero_bytes(model, 29_952, shape, how, stage, 8) for stage in (1, 2, 3))
    assert (one.weights, one.gradients, one.optimizer) == (2 * weights, 2 * weights, 12 * -(-weights // 8))
    assert two.gradients == 2 * -(-weights // 8)
    assert three.weights == two.gradients + 2 * weights  # the gathered ones stay: fewer than a billion
    offloaded = zero_bytes(model, 29_952, shape, how, 3, 8, "parameters")
    assert offloaded.total < three.total
    assert offloaded.host == 16 * -(-weights // 8)
    alone, many = (zero_bytes(model, 29_952, shape, how, 0, devices) for devices in (1, 8))
    assert many.total - alone.total == 4 * weights  # DDP's buckets


def test_the_papers_arithmetic():
    runs = {row["run"]: row for row in published_runs()}
    aman = runs["AMAN (Qwen2.5-3B, LoRA r=16)"]
    assert round(aman["tokens_per_trainable_parameter"], 1) == 51.6
    assert round(aman["tokens_per_parameter"], 1) == 0.5
    largest = runs["SecEncoder xxlarge, 64 A100, 4 weeks"]
    assert largest["tokens_per_parameter"] == pytest.approx(70)
    assert largest["gpu_hours"] == 64 * 4 * 7 * 24
    assert largest["utilisation"] == pytest.approx(6 * 1.1e9 * 77e9 / (64 * 28 * 86_400 * 312e12))
    short, middle, long = (row["utilisation"] for row in by_our_formula())
    assert largest["utilisation"] < short < middle < long < 1


def test_tokens_come_from_the_nearest_known_limit(configure, tmp_path):
    devices = load_devices().devices
    stepwise = plan(configure(tmp_path, train={"steps": 30, "accumulate": 2, "devices": 2}), devices, length=64)
    assert stepwise["tokens"]["planned"] == 30 * 2 * 2 * 1024
    without = configure(tmp_path, train={"steps": None, "epochs": 3})
    assert plan(without, devices)["tokens"]["per_parameter"] == 20
    assert plan(without, devices, tokens=7e9)["tokens"]["planned"] == 7e9


def test_hours_and_cost_by_hand(configure, tmp_path):
    table = load_devices()
    document = plan(
        configure(tmp_path, train={"devices": 4, "accelerator": "gpu"}), chosen(table, ["h200"]), tokens=1e12,
        utilisation=0.5,
    )  # fmt: skip
    (row,) = document["devices"]
    hours = document["flops"]["total"] / (0.5 * 4 * 989e12) / 3600
    assert row["hours"] == pytest.approx(hours)
    assert row["dollars"] == pytest.approx(hours * 4 * row["dollars_per_hour"])
    assert row["fits"] == {"stage": 0, "offload": "none"}


def test_hours_end_with_the_runs_minutes_unless_tokens_are_given(configure, tmp_path, capsys):
    device = chosen(load_devices(), ["2 CPU cores"])
    config = configure(tmp_path, train={"steps": 10**6})
    whole = plan(config, device)
    (row,) = whole["devices"]
    assert row["tokens"] == whole["tokens"]["planned"] == 1024e6 and whole["tokens"]["minutes"] is None
    ended = config.model_copy(update={"train": config.train.model_copy(update={"minutes": 6})})
    (short,) = plan(ended, device)["devices"]
    assert short["hours"] == 0.1 and short["tokens"] == pytest.approx(row["tokens"] * 0.1 / row["hours"])
    assert plan(ended, device, tokens=1024e6)["devices"] == whole["devices"]
    assert main(["plan", "pretrain/nano", "--set", "train.minutes=6", "--on", "2 CPU cores"]) == 0
    assert "ends after 6 minutes" in capsys.readouterr().out


def test_the_encoder_that_ships_is_planned_by_its_name(configure, tmp_path):
    config = configure(tmp_path, tokenizer="nano", start={"encoder": "nano"})
    found = plan(config, ())["parameters"]
    shipped = encoder_folder("nano")
    assert found["vocabulary"] == LogTokenizer.load(shipped).vocab_size
    assert found["all"] == count(sizes_of_folder(shipped), found["vocabulary"]).total


def test_a_device_too_small_needs_a_higher_stage_or_does_not_fit():
    changes = ["data.tokens_per_batch=4096", "train.activation_checkpointing=false"]
    config = load(PretrainConfig, "pretrain/xxlarge", changes)
    names = ("A10", "A100 40GB", "H200")
    fits = {row["name"]: row["fits"] for row in plan(config, load_devices().devices)["devices"]}
    assert fits["H200"] == {"stage": 0, "offload": "none"}
    assert fits["A10"]["stage"] > 0
    changes = ["data.tokens_per_batch=131072", "train.activation_checkpointing=false"]
    whole = load(PretrainConfig, "pretrain/xxlarge", changes)
    assert [row["fits"] for row in plan(whole, chosen(load_devices(), names))["devices"]] == [None] * 3


@pytest.mark.parametrize(
    "recipe", [name for name in SIZES if (train := load(PretrainConfig, name).train).accelerator == "gpu"]
)
def test_every_recipe_for_gpus_fits_an_a100_at_its_own_stage(recipe):
    config = load(PretrainConfig, recipe)
    table = chosen(load_devices(), ["A100 80GB"])
    stage = config.train.zero_stage if config.train.strategy == "deepspeed" else 0
    rows = plan(config, table, vocab_size=29_952)["memory"]
    (needed,) = [row["total"] for row in rows if (row["stage"], row["offload"]) == (stage, "none")]
    # With room for what the allocator and the driver take.
    assert config.train.devices > 1 and needed < 0.8 * table[0].memory * 1e9


def test_the_plan_for_a_cpu_is_near_what_was_measured_there():
    for recipe, measured in (("nano", 6561), ("small", 1272)):
        config = load(PretrainConfig, f"pretrain/{recipe}")
        planned = plan(config, chosen(load_devices(), ["2 CPU cores"]), 29_952, 1e9, 342)
        assert 1e9 / (3600 * planned["devices"][0]["hours"]) == pytest.approx(measured, rel=0.1)


def test_what_is_trained_is_told_apart_from_what_is_there(configure, tmp_path):
    contrast = {"start": {"encoder": tmp_path}, "contrast": {"masked_weight": 0}}
    model = ModelConfig(hidden_size=64, layers=2, heads=2, intermediate_size=96)
    hf_config(model, 512, 0).save_pretrained(tmp_path)
    build_decoder(model, 0).save(tmp_path)
    whole = plan(configure(tmp_path), (), vocab_size=512)["parameters"]
    assert whole["trainable"] == whole["all"] == whole["exported"] + whole["decoder"]
    found = plan(configure(tmp_path, **contrast), (), vocab_size=512, tokens=1e6)
    assert found["parameters"]["trainable"] == found["parameters"]["words"] + sum(
        found["parameters"][part] for part in ("positions", "layers")
    )
    per = found["tokens"]
    assert per["per_trainable_parameter"] > per["per_parameter"]


def test_a_continued_run_has_the_encoders_sizes(tmp_path):
    model = ModelConfig(hidden_size=64, layers=2, heads=2, intermediate_size=96, decoder_layers=2)
    hf_config(model, 512, 0).save_pretrained(tmp_path)
    build_decoder(model, 0).save(tmp_path)
    assert sizes_of_folder(tmp_path) == model
    (tmp_path / "mask_decoder.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(UserError, match="cannot read the encoder's sizes"):
        sizes_of_folder(tmp_path)
    with pytest.raises(UserError, match="not an encoder folder"):
        sizes_of_folder(tmp_path / "missing")


@pytest.mark.parametrize(
    ("reported", "name"),
    [("NVIDIA A100-SXM4-80GB", "A100 80GB"), ("NVIDIA H100 80GB HBM3", "H100 SXM"), ("NVIDIA H100 PCIe", "H100 PCIe"),
     ("NVIDIA H200", "H200"), ("NVIDIA L4", "L4"), ("NVIDIA L40S", "L40S"), ("Tesla T4", None)],
)  # fmt: skip
def test_gpus_are_known_by_what_their_driver_says(reported, name):
    device = known_device(reported)
    assert (device and device.name) == name


def test_two_devices_of_one_name_are_a_mistake(tmp_path):
    entry = "{name: X, memory: 1, bf16_tflops: 1, dollars_per_hour: 1}"
    (tmp_path / "gpus.yaml").write_text(f"prices_as_of: 2026-01-01\ndevices: [{entry}, {entry}]\n")
    with pytest.raises(UserError, match="two devices are named X"):
        load_devices(tmp_path / "gpus.yaml")
    assert isinstance(load_devices(), DevicesConfig)


def test_the_command_gives_one_json_document(capsys):
    assert main(["plan", "pretrain/nano", "--on", "L4", "--tokens", "1e9", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tokens"]["planned"] == 1e9
    assert [row["name"] for row in document["devices"]] == ["L4"]
    assert main(["plan", "--papers", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["published"]) == 5


def test_the_tables_show_the_plan(capsys):
    assert main(["plan", "pretrain/base"]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("116.76M", "734.32M", "A100 80GB", "2026-05-01", "assumptions"))
    assert main(["plan", "--papers"]) == 0
    assert "51.6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no configuration is given"),
        (["pretrain/bas"], "Did you mean pretrain/base"),
        (["pretrain/base", "--set", "model.heads=7"], "not divisible by heads 7"),
        (["pretrain/base", "--length", "99999"], "Give 3 to 48000"),
        (["pretrain/base", "--on", "H300"], "no such device: H300"),
        (["pretrain/base", "--gpus", "pretrain/base"], "prices_as_of: Field required"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, capsys):
    assert main(["plan", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["pretrain/base"], ["pretrain/continue", *NANO]])
def test_a_plan_needs_no_torch(arguments):
    code = (
        f"import sys; from logfm.cli import main; code = main(['plan', '--json', *{arguments}]);"
        "sys.exit(code or int('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
