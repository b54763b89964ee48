"""The suite's embedding tasks for `mteb` (Muennighoff et al., 2023), so that any model of its can be measured on logs.

    import mteb
    from logfm.evaluation.suite.mteb_tasks import mteb_encoder, mteb_tasks

    mteb.evaluate(mteb_encoder("out/encoder"), mteb_tasks("data"))

An encoder folder of logfm is one of sentence-transformers, too: `SentenceTransformer("out/encoder")` does as well.
Lines, pairs, queries and references are those of the suite's tasks `similarity`, `search` and `meaning` at the same
seed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from logfm.configs.schema.evaluation import SimilarityConfig
from logfm.configs.schema.suite import DataSpec
from logfm.evaluation.search import halves
from logfm.evaluation.similarity import draw_pairs
from logfm.evaluation.suite.registry import Registry, pick, registry
from logfm.extras import require

_TITLES = {"similarity": "LogSimilarity", "search": "LogSearch", "meaning": "LogMeaning"}
_TYPES = {"similarity": "PairClassification", "search": "Retrieval", "meaning": "Retrieval"}
_SCORES = {"similarity": "cosine_ap", "search": "map_at_1000", "meaning": "map_at_1000"}
_SPLIT = "test"
Rows = Mapping[str, Sequence[Any]]


def mteb_tasks(
    data: str | Path | None = None, names: Iterable[str] = (), seed: int = 0, known: Registry | None = None
) -> list[Any]:
    """Tasks of `mteb` (`AbsTask`) over the data sets of `similarity`, `search` and `meaning`: all, or those named.

    `data` is the data folder. Data is read when `mteb` asks for it. The tasks are entered in mteb's registry, so that
    `mteb.get_task("LogSearch.loghub-linux")` finds them from then on.

    Raises:
        UserError: mteb is not installed, or there is no such data set.
    """
    require("mteb", "mteb")
    known = known or registry()
    chosen = [pick(known.data, name, "data set") for name in names] or list(known.data.values())
    folder = None if data is None else Path(data)
    kinds = [_task(kind, spec, known, folder, seed) for spec in chosen for kind in _TITLES if kind in spec.tasks]
    # mteb has no public way to add a task.
    import_module("mteb.get_tasks")._TASKS_REGISTRY.update({one.metadata.name: one for one in kinds})
    return [one(seed=seed) for one in kinds]


def mteb_encoder(uri: str | Path) -> Any:
    """An encoder of any URI as `mteb` wants one (`EncoderProtocol`); cosine similarity.

    Raises:
        UserError: mteb is not installed, or there is no such encoder.
    """
    from logfm.embeddings.encoder import LogEncoder
    from logfm.evaluation.suite.contestants import short_name

    models = require("mteb.models", "mteb")
    meta = require("mteb.models.model_meta", "mteb")
    encoder = LogEncoder.load(uri)

    def encode(self: Any, inputs: Iterable[Mapping[str, Any]], **settings: Any) -> np.ndarray:
        return encoder.encode([text for batch in inputs for text in batch["text"]])

    described = {"name": f"logfm/{short_name(str(uri))}", "revision": encoder.hash[:12], "embed_dim": encoder.dim}
    described["similarity_fn_name"] = meta.ScoringFunction.COSINE
    kind = type("LogfmEncoder", (models.abs_encoder.AbsEncoder,), {"encode": encode})
    wrapped = kind()
    wrapped.model, wrapped.mteb_model_meta = encoder, meta.ModelMeta.create_empty(described)
    return wrapped


def _task(kind: str, spec: DataSpec, known: Registry, folder: Path | None, seed: int) -> Any:
    """A class of `mteb` for one data set."""
    tasks = require("mteb.abstasks", "mteb")
    metadata = require("mteb.abstasks.task_metadata", "mteb").TaskMetadata(
        name=f"{_TITLES[kind]}.{spec.name}",
        description=f"{known.tasks[kind].META.title} {spec.title}",
        # Nothing is fetched from a hub; the path names the data in results.
        dataset={"path": f"logfm/{spec.name}", "revision": str(known.tasks[kind].META.version)},
        type=_TYPES[kind],
        category="t2t",
        eval_splits=[_SPLIT],
        eval_langs=["eng-Latn"],
        main_score=_SCORES[kind],
        domains=["Engineering"],
        annotations_creators="derived",
        sample_creation="found",
    )
    base = getattr(tasks, f"AbsTask{_TYPES[kind]}")
    build: Callable[..., dict[str, Any]] = {"similarity": _pairs, "search": _retrieval, "meaning": _meaning}[kind]
    read = partial(build, known, spec, folder, {**known.tasks[kind].META.caps}, seed)

    def load_data(self: Any, num_proc: int | None = None, **settings: Any) -> None:
        if not self.data_loaded:
            self.dataset = read()
            self.data_loaded = True

    body = {"metadata": metadata, "load_data": load_data, "__module__": __name__}
    return type(f"{_TITLES[kind]}_{spec.name}", (base,), body)


def _lines(
    known: Registry, spec: DataSpec, folder: Path | None, most: int | None, seed: int
) -> tuple[list[str], list[str]]:
    """Different lines and their templates, as the suite's own tasks draw them."""
    from logfm.evaluation.data.copies import firsts, sampled

    data = known.load(spec, folder, spec.most_rows)
    rows = sampled(firsts(data.texts), most, seed)
    templates = data.templates or [""] * len(data.texts)
    return [data.texts[row] for row in rows], [templates[row] for row in rows]


def _pairs(known: Registry, spec: DataSpec, folder: Path | None, caps: Mapping[str, int], seed: int) -> dict[str, Any]:
    datasets = require("datasets", "mteb")
    texts, templates = _lines(known, spec, folder, caps.get("lines"), seed)
    half, _ = halves(len(texts), seed)
    config = SimilarityConfig(pairs=caps.get("pairs", SimilarityConfig().pairs))
    pairs = draw_pairs([templates[row] for row in half], config, seed)
    both = half[np.concatenate([pairs.positive, pairs.negative])]
    rows: Rows = {
        "sentence1": [texts[row] for row in both[:, 0]],
        "sentence2": [texts[row] for row in both[:, 1]],
        "labels": [1] * len(pairs.positive) + [0] * len(pairs.negative),
    }
    return {_SPLIT: datasets.Dataset.from_dict(rows)}


def _retrieval(
    known: Registry, spec: DataSpec, folder: Path | None, caps: Mapping[str, int], seed: int
) -> dict[str, Any]:
    texts, templates = _lines(known, spec, folder, caps.get("lines"), seed)
    asked, references = halves(len(texts), seed)
    relevant: dict[str, dict[str, int]] = {}
    of_template: dict[str, list[str]] = {}
    for row in references.tolist():
        of_template.setdefault(templates[row], []).append(str(row))
    queries = [row for row in asked[: caps.get("queries")].tolist() if templates[row] in of_template]
    for row in queries:
        relevant[str(row)] = dict.fromkeys(of_template[templates[row]], 1)
    searched = {str(row): texts[row] for row in references.tolist()}
    return _split(searched, {str(row): texts[row] for row in queries}, relevant)


def _meaning(
    known: Registry, spec: DataSpec, folder: Path | None, caps: Mapping[str, int], seed: int
) -> dict[str, Any]:
    from logfm.evaluation.tasks.meaning import questions

    found = questions(known.load(spec, folder, spec.most_rows), caps.get("queries"), seed)
    events = {str(row): text for row, text in enumerate(found.texts)}
    relevant = {f"q{row}": {str(one): 1 for one in np.flatnonzero(ours)} for row, ours in enumerate(found.relevant)}
    return _split(events, {f"q{row}": sentence for row, sentence in enumerate(found.sentences)}, relevant)


def _split(
    corpus: Mapping[str, str], queries: Mapping[str, str], relevant: dict[str, dict[str, int]]
) -> dict[str, Any]:
    """What `mteb` retrieves from."""
    datasets = require("datasets", "mteb")
    found = [datasets.Dataset.from_dict({"id": list(one), "text": list(one.values())}) for one in (corpus, queries)]
    split = {"corpus": found[0], "queries": found[1], "relevant_docs": relevant, "top_ranked": None}
    return {"default": {_SPLIT: split}}
