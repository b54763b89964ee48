"""The stages of a quickstart, in order; each is reused where an earlier run finished it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import orjson

from logfm.artifacts import MANIFEST, digest, peak_memory, read_manifest, write_atomic
from logfm.configs.schema.contrast import ContrastConfig
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.configs.schema.pretrain import ModelConfig, PretrainConfig, StartConfig
from logfm.configs.schema.quickstart import QuickstartConfig
from logfm.console import say
from logfm.corpus import Corpus
from logfm.corpus import build as build_corpus
from logfm.corpus.simulate import simulate
from logfm.corpus.templates import template_hashes
from logfm.embeddings import LogEncoder
from logfm.embeddings.detect import Detection, find
from logfm.embeddings.embed import embed
from logfm.embeddings.index import build as build_index
from logfm.errors import UserError
from logfm.pretrain import Outcome, pretrain
from logfm.pretrain.shipped import encoder_folder
from logfm.tokenizer import train as train_tokenizer

MARK = "quickstart.json"
_TEMPLATES = 4
"""Kinds of events below which pairs of views tell hardly anything apart."""
T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """How one stage went: seconds, and the peak memory of its process when it ended (bytes)."""

    name: str
    seconds: float
    peak_memory_bytes: int
    reused: bool


@dataclass
class Run:
    """A quickstart in its folder: what the stages left, and how long they took."""

    out: Path
    config: QuickstartConfig
    command: str
    simulated: bool
    stages: list[Stage] = field(default_factory=list)

    def stage(self, name: str, title: str, work: Callable[[], T], made: Path | None = None) -> T:
        """Do one stage, tell people, and keep the time; `made` is the artifact whose presence means reuse."""
        reused = made is not None and made.exists()
        say(f"{title}{' (finished earlier)' if reused else ''} ...")
        start = time.monotonic()
        result = work()
        seconds, peak = round(time.monotonic() - start, 3), peak_memory()
        if reused and made is not None and (made / MANIFEST).exists():
            # What it took is what the run that finished it noted.
            earlier = read_manifest(made)
            seconds, peak = earlier.seconds, max(peak, earlier.peak_memory_bytes)
        self.stages.append(Stage(name, seconds, peak, reused))
        return result


@dataclass(frozen=True)
class Products:
    """Everything that the report is made from."""

    corpus: Corpus
    outcome: Outcome
    encoder: LogEncoder
    vectors: Path
    index: Path
    detection: Detection


def claim(out: Path, inputs: Sequence[str], config: QuickstartConfig) -> None:
    """Make `out` the folder of this quickstart: free, or left by the same one.

    Raises:
        UserError: the folder holds something else, or can't be written.
    """
    places = [given if given == "-" else str(Path(given).resolve()) for given in inputs]
    identity = {"inputs": places, "config": config.dump()}
    if config.start is not None:
        # Another version may ship another encoder of that name.
        identity["start"] = read_manifest(encoder_folder(config.start), "encoder").hash
    mark = out / MARK
    try:
        out.mkdir(parents=True, exist_ok=True)
        # A run that ended before its first artifact leaves only its mark, which binds nobody.
        if {path.name for path in out.iterdir()} - {MARK, f".{MARK}.tmp"}:
            if not mark.exists():
                raise UserError("the output folder is not empty", out, "Choose another --out.")
            if orjson.loads(mark.read_bytes()).get("key") != digest(identity):
                fix = "Choose another --out, or delete it."
                raise UserError("the output folder holds another quickstart", out, fix)
            return
        write_atomic(mark, orjson.dumps({"key": digest(identity), **identity}, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise UserError(f"cannot write here ({error.strerror})", out, "Choose another --out.") from error


def run_stages(run: Run, inputs: Sequence[str]) -> Products:
    """From logs to anomalies; the report is made from what this returns.

    Raises:
        UserError: inputs without events, too few for training, or a stage's own complaint.
    """
    out, config = run.out, run.config
    if run.simulated:
        telemetry = out / "telemetry"
        run.stage("simulate", "simulating telemetry", lambda: simulate(config.simulate, telemetry), telemetry)
        inputs = [str(telemetry / "logs")]
    folder = out / "corpus"
    run.stage("corpus", "reading logs", lambda: build_corpus(inputs, folder, config.corpus), folder)
    corpus = Corpus.open(folder)
    metrics = corpus.manifest.metrics
    say(f"  {metrics['events']:,} events, {metrics['duplicates']:,} duplicates, {metrics['rejected']:,} rejects")
    if config.start is None:
        made = out / "tokenizer"
        run.stage("tokenizer", "training the tokenizer", lambda: train_tokenizer(corpus, made, config.tokenizer), made)
    outcome = run.stage("pretrain", "pretraining the encoder", lambda: _pretrain(run), out / "run")
    encoder = LogEncoder.load(out / "encoder", _as_trained(config.encoder, out / "run"))
    vectors = out / "vectors.parquet"
    if not vectors.exists():
        run.stage("embed", "encoding every event", lambda: embed([str(folder)], encoder, vectors))
    else:
        run.stage("embed", "encoding every event", lambda: None, vectors)
    index = out / "index"
    run.stage("index", "building the index", lambda: build_index([vectors], encoder, index, config.index), index)
    detection = run.stage("detect", "finding anomalies", lambda: find([vectors], encoder, config.detect))
    return Products(corpus, outcome, encoder, vectors, index, detection)


def _as_trained(config: EncoderConfig, run: Path) -> EncoderConfig:
    """Products in the precision of the training, which is the one that this machine multiplies faster."""
    trained = orjson.loads((run / "config.json").read_bytes())["train"]["precision"]
    return config.model_copy(update={"bf16": config.bf16 or trained == "bf16-mixed"})


def _contrast(run: Run) -> ContrastConfig | None:
    """Pairs of views, where an encoder goes on learning from enough unlike events; else masked tokens alone."""
    contrast = run.config.contrast
    if run.config.start is None or contrast is None:
        return None
    texts, templates = 0, 0
    for batch in Corpus.open(run.out / "corpus").batches(["text"], view=run.config.data.view):
        texts += batch.num_rows
        templates = max(templates, len(np.unique(template_hashes(batch["text"]))))
        # Some events are held out, and some of what is left goes to make up whole batches.
        if texts >= 4 * contrast.events and templates >= _TEMPLATES:
            return contrast
    say(f"  too few unlike events for pairs of views ({texts}, of {templates} kinds): by masked tokens alone")
    return None


def _pretrain(run: Run) -> Outcome:
    config, start = run.config, run.config.start
    outcome = pretrain(
        PretrainConfig(
            corpus=run.out / "corpus",
            tokenizer=run.out / "tokenizer" if start is None else start,
            out=run.out,
            seed=config.seed,
            model=config.model if start is None else ModelConfig(),
            start=None if start is None else StartConfig(encoder=start),
            contrast=_contrast(run),
            masking=config.masking,
            data=config.data,
            train=config.train,
        )
    )
    if outcome is None:
        raise UserError("quickstart runs in one process", fix="For several, use logfm pretrain.")
    return outcome
