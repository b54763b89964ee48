"""What a quickstart shows: figures and examples, gathered from its artifacts for the report."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import peak_memory, versions
from logfm.embeddings.detect import Finding, detect
from logfm.embeddings.explain import explain
from logfm.embeddings.search import Index
from logfm.errors import UserError
from logfm.evaluation import attack_part, compare, comparison_part, project, strip_label, template_labels
from logfm.evaluation.report_data import (
    Anomaly,
    AttackPart,
    ComparisonPart,
    CurvePoint,
    Hit,
    LanguageModelScores,
    MapPart,
    MapPoint,
    QuickstartReport,
    ScoredToken,
    SearchDemo,
    SourceRead,
    StageRun,
    Token,
    TokenizerPart,
    TrainingPart,
)
from logfm.pretrain.callbacks import read_history
from logfm.quickstart.stages import Products, Run

_TEXT = 2000


def report_of(run: Run, products: Products, seconds: Callable[[], float]) -> QuickstartReport:
    """Gather the report; `seconds` gives the length of the whole run so far."""
    table = pq.read_table(products.vectors)
    vectors = np.stack(table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, products.encoder.dim))
    attacks, attack_name = _truth(run, table["event_id"].to_pylist())
    comparison, note = run.stage(
        "evaluate", "comparing with TF-IDF", lambda: _comparison(run, products, table, vectors)
    )
    return QuickstartReport(
        created=datetime.now(UTC),
        command=run.command,
        seed=run.config.seed,
        simulated=run.simulated,
        sources=_sources(products),
        tokenizer=_tokenizer(products, table),
        training=_training(run, products),
        searches=_searches(run, products, table),
        anomalies=tuple(_anomaly(finding, products, attacks) for finding in products.detection.findings),
        map=_map(run, products, table, vectors, attacks),
        comparison=comparison,
        comparison_note=note,
        attack=_attack(run, vectors, table, attacks, attack_name),
        versions=versions(),
        licences=tuple(products.corpus.manifest.licences),
        stages=tuple(StageRun(**vars(stage)) for stage in run.stages),
        seconds=max(seconds(), sum(stage.seconds for stage in run.stages)),
        peak_memory_bytes=max(peak_memory(), *(stage.peak_memory_bytes for stage in run.stages)),
    )


def _truth(run: Run, ids: list[str]) -> tuple[set[str], str]:
    """Ids of the labelled attack events of simulated telemetry, and the scenarios' names."""
    if not run.simulated:
        return set(), ""
    rows = pq.read_table(run.out / "telemetry" / "truth.parquet").to_pylist()
    attack = {row["event_id"]: row["scenario"] for row in rows if row["label"] == "attack"}
    found = attack.keys() & set(ids)
    return set(found), ", ".join(sorted({attack[name] for name in found}))


def _sources(products: Products) -> tuple[SourceRead, ...]:
    metrics = products.corpus.manifest.metrics
    rejects: dict[str, Counter[str]] = defaultdict(Counter)
    for file in metrics["files"]:
        # Rejects belong to a file; a file's events nearly always have one source.
        owner = max(file["sources"], key=lambda name: file["sources"][name]["events"], default="not read")
        rejects[owner].update(file["rejects"])
    sources = [
        SourceRead(
            name=name,
            events=one["events"],
            bytes=one["bytes"],
            duplicates=one.get("duplicates", 0),
            rejects=dict(rejects.get(name, {})),
            first=one["first"],
            last=one["last"],
        )
        for name, one in metrics["sources"].items()
    ]
    orphans = Counter(metrics["rejects"])
    orphans.subtract(sum(rejects.values(), Counter()))
    left = +orphans + rejects.get("not read", Counter())
    if left:
        sources.append(SourceRead(name="not read", events=0, bytes=0, rejects=dict(left)))
    return tuple(sources)


def _tokenizer(products: Products, table: pa.Table) -> TokenizerPart:
    tokenizer = products.encoder.pretrained.tokenizer
    sample = table["text"].take(_spread(table.num_rows, 2000)).to_pylist()
    encoded = tokenizer.encode_batch(sample)
    tokens = sum(map(len, encoded))
    lines = []
    for row in _one_a_source(table)[:3]:
        text = table["text"][row].as_py()[:400]
        ids = tokenizer.encode_batch([text])[0]
        pieces = zip(tokenizer.tokens(ids), tokenizer.delimiter_mask[ids], strict=True)
        lines.append(tuple(Token(text=piece, delimiter=bool(is_delimiter)) for piece, is_delimiter in pieces))
    return TokenizerPart(
        vocabulary=tokenizer.vocab_size,
        bytes_per_token=sum(len(text.encode()) for text in sample) / max(1, tokens),
        lines=tuple(lines),
    )


def _training(run: Run, products: Products) -> TrainingPart:
    history = read_history(run.out / "run")
    metrics = products.outcome.run.metrics
    splits = products.outcome.tokens.metrics["split"]
    return TrainingPart(
        parameters=metrics["parameters"]["total"],
        steps=metrics["step"],
        tokens=metrics["tokens"],
        train_curve=tuple(
            CurvePoint(step=row["step"], loss=row["train_loss"]) for row in history if "train_loss" in row
        ),
        validation_curve=tuple(
            CurvePoint(step=row["step"], loss=row["validation_loss"]) for row in history if "validation_loss" in row
        ),
        validation=LanguageModelScores(
            loss=metrics["validation_loss"],
            perplexity=metrics["validation_perplexity"],
            masked_accuracy=metrics["validation_accuracy"],
            bits_per_byte=metrics["validation_bits_per_byte"],
        ),
        split="; ".join(f"{name}: the last events by {rule}" for name, rule in splits.items()),
    )


def _searches(run: Run, products: Products, table: pa.Table) -> tuple[SearchDemo, ...]:
    """One search a source, with an event of it as the query; the same text again is no find."""
    index = Index.open(products.index, products.encoder)
    demos = []
    for row in _one_a_source(table, offset=0.6)[: run.config.report.searches]:
        query = table["text"][row].as_py()
        seen = {query}
        hits: list[Hit] = []
        for hit in index.search(query, k=min(table.num_rows, 50 * run.config.report.hits), mode="vector"):
            if hit.text not in seen and len(hits) < run.config.report.hits:
                seen.add(hit.text)
                hits.append(
                    Hit(score=hit.score, text=hit.text[:_TEXT], source=hit.source, file=hit.file, offset=hit.offset)
                )
        demos.append(SearchDemo(query=query[:_TEXT], hits=tuple(hits)))
    return tuple(demos)


def _anomaly(finding: Finding, products: Products, attacks: set[str]) -> Anomaly:
    explanation = explain(products.encoder, finding.text[:_TEXT])
    return Anomaly(
        score=finding.score,
        tokens=tuple(ScoredToken(text=token.token, nats=token.nats) for token in explanation.tokens),
        source=finding.source,
        file=finding.file,
        offset=finding.offset,
        timestamp=finding.timestamp,
        attack=finding.event_id in attacks,
    )


def _map(run: Run, products: Products, table: pa.Table, vectors: np.ndarray, attacks: set[str]) -> MapPart | None:
    if not run.config.report.map_points or len(vectors) < 3:
        return None
    abnormal = {finding.event_id for finding in products.detection.findings}
    ids = table["event_id"].to_pylist()
    special = [row for row, name in enumerate(ids) if name in abnormal or name in attacks]
    rows = np.unique(np.concatenate([_spread(len(ids), run.config.report.map_points), special[:500]]).astype(np.int64))
    places, explained = project(vectors[rows])
    events = table.select(["event_id", "source", "text"]).take(pa.array(rows)).to_pylist()
    points = [
        MapPoint(
            x=float(x),
            y=float(y),
            source=event["source"],
            text=event["text"][:200],
            anomaly=event["event_id"] in abnormal,
            attack=event["event_id"] in attacks,
        )
        for (x, y), event in zip(places, events, strict=True)
    ]
    return MapPart(points=tuple(points), explained=explained)


def _comparison(
    run: Run, products: Products, table: pa.Table, vectors: np.ndarray
) -> tuple[ComparisonPart | None, str]:
    """Log similarity and search beside TF-IDF; the encoder sees raw lines, templates only label them."""
    rows = _spread(table.num_rows, 5 * run.config.comparison.max_lines)
    sample = table["text"].take(pa.array(rows)).to_pylist()
    known = dict(zip(sample, vectors[rows], strict=True))
    # Some public sets carry the answer as a line's first word.
    lines = list(dict.fromkeys(strip_label(text) for text in sample))

    def encode(texts: Sequence[str]) -> np.ndarray:
        new = [text for text in texts if text not in known]
        known.update(zip(new, products.encoder.encode(new), strict=True))
        return np.stack([known[text] for text in texts])

    try:
        found = compare(lines, template_labels(lines, run.config.templates), {"logfm": encode}, run.config.comparison)
    except UserError as error:
        return None, str(error)
    note = f"{len(lines)} different lines, evenly from the full stream; pretraining saw most of them, unlabelled."
    return comparison_part(found, note), ""


def _attack(run: Run, vectors: np.ndarray, table: pa.Table, attacks: set[str], name: str) -> AttackPart | None:
    if not attacks:
        return None
    scores = detect(vectors, run.config.detect).scores
    return attack_part(name, scores.tolist(), [one in attacks for one in table["event_id"].to_pylist()])


def _one_a_source(table: pa.Table, offset: float = 0.0) -> list[int]:
    """A row of each source, the commonest source first; `offset` (0 to 1) says where among its events."""
    names = np.array(table["source"].to_pylist())
    rows = [np.flatnonzero(names == name) for name, _ in Counter(names.tolist()).most_common()]
    chosen = [int(found[int(offset * (len(found) - 1))]) for found in rows]
    # With fewer sources than examples wanted, the commonest gives more.
    return chosen + [int(rows[0][int(share * (len(rows[0]) - 1))]) for share in (0.3, 0.9)]


def _spread(count: int, wanted: int) -> Any:
    """Row numbers (int64), evenly spaced, at most `wanted`."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted), dtype=np.int64))
