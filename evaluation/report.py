"""The quickstart's report: one HTML file that opens offline, runs no script and loads nothing."""

import base64
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from logfm.artifacts import write_atomic
from logfm.evaluation import display
from logfm.evaluation.comparison import COMPARED, RANDOM, TFIDF, TFIDF_LETTERS
from logfm.evaluation.report_data import (
    AttackPart,
    ComparisonPart,
    EncoderRow,
    MapPart,
    QuickstartReport,
    StageRun,
    VerdictRow,
)
from logfm.evaluation.svg import Dot, Series, bar, line_chart, rank_strip, scatter

_TEMPLATES = Path(__file__).parent / "templates_html"
_COLOURS = 8
_SURPRISE = (1.0, 2.0, 4.0, 6.0, 8.0)
"""Nats from which a token is shaded one step darker."""
_METRICS = {
    "pair_auc": ("Pair AUC", "Similarity: the chance that two lines of one template lie closer than two others"),
    "diff": ("Diff", "PMean less NMean; a matter of an encoder's scale, so it does not rank encoders"),
    "pmean": ("PMean", "Mean cosine of lines of one template"),
    "nmean": ("NMean", "Mean cosine of lines of different templates"),
    "mrr": ("MRR", "Search: one over the rank of the first line of the query's template"),
    "map": ("MAP", "Search: average precision over the full ranking"),
    "macro_map": ("Macro MAP", "MAP where every template counts the same"),
    "recall@10": ("Recall@10", "Share of a template's lines among the first ten hits"),
}  # fmt: skip


def render(report: QuickstartReport, path: Path) -> None:
    """Write the report; the file appears whole or not at all.

    Log text is hostile: it is shortened, its control characters are made visible, and everything is escaped. The
    content policy allows the page's own style sheet and nothing else.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(display, name)
        for name in ("visible", "number", "compact", "size", "duration", "score", "signed", "percent", "when")
    }
    page = environment.get_template("quickstart.html.j2").render(_view(report))
    write_atomic(path, page.encode())


def _view(report: QuickstartReport) -> dict[str, Any]:
    css = (_TEMPLATES / "quickstart.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    longest = max((stage.seconds for stage in report.stages), default=0.0)
    return {
        "report": report,
        "css": Markup(css),
        "css_hash": f"sha256-{digest}",
        "stages": [(stage, bar(stage.seconds / longest if longest else 0.0)) for stage in report.stages],
        "total": _total(report),
        "loss_chart": _loss_chart(report),
        "anomalies": [(anomaly, display.excerpt(anomaly.tokens)) for anomaly in report.anomalies],
        "surprise": _surprise_level,
        "surprise_steps": _SURPRISE,
        "map_chart": None if report.map is None else _map_chart(report.map),
        "comparison": None if report.comparison is None else _comparison(report.comparison),
        "attack": None if report.attack is None else _attack(report.attack),
        "training_seconds": _training_seconds(report.stages),
    }


def _total(report: QuickstartReport) -> dict[str, int]:
    return {
        "events": sum(source.events for source in report.sources),
        "bytes": sum(source.bytes for source in report.sources),
        "duplicates": sum(source.duplicates for source in report.sources),
        "rejects": sum(sum(source.rejects.values()) for source in report.sources),
    }


def _training_seconds(stages: tuple[StageRun, ...]) -> float | None:
    return next((stage.seconds for stage in stages if stage.name == "pretrain"), None)


def _loss_chart(report: QuickstartReport) -> Markup:
    training = report.training
    curves = [Series("train", [(point.step, point.loss) for point in training.train_curve], "c0")]
    if training.validation_curve:
        points = [(point.step, point.loss) for point in training.validation_curve]
        curves.append(Series("validation", points, "c1", marks=True))
    return line_chart(curves, "optimizer step", "masked loss (nats)")


def _surprise_level(nats: float | None) -> int:
    return sum(nats is not None and nats >= step for step in _SURPRISE)


def _map_chart(part: MapPart) -> dict[str, Any]:
    """The map and its legend: the commonest sources have a colour each, the others share the last."""
    counts = Counter(point.source for point in part.points)
    common = [source for source, _ in counts.most_common()]
    own = common if len(common) <= _COLOURS else common[: _COLOURS - 1]
    colour = {source: index for index, source in enumerate(own)}
    dots, rings = [], []
    for point in part.points:
        group = colour.get(point.source, _COLOURS - 1)
        title = f"{display.visible(point.source, 60)}: {display.visible(point.text, 160)}"
        dots.append(Dot(point.x, point.y, f"dot g{group} c{group}" + (" attack" if point.attack else ""), title))
        if point.anomaly:
            rings.append(Dot(point.x, point.y, f"ring g{group}", f"Anomaly. {title}"))
    legend = [(index, source, counts[source]) for source, index in colour.items()]
    if len(own) < len(common):
        rest = common[_COLOURS - 1 :]
        legend.append((_COLOURS - 1, f"{len(rest)} others", sum(counts[source] for source in rest)))
    label = "Embeddings of events on two principal components"
    return {"svg": scatter([*dots, *rings], label), "legend": legend, "attack": any(p.attack for p in part.points)}


def _comparison(part: ComparisonPart) -> dict[str, Any]:
    baselines = {TFIDF, TFIDF_LETTERS, RANDOM}
    metrics = {name: words for name, words in _METRICS.items() if all(name in row.metrics for row in part.rows)}
    best = {
        name: max(row.metrics[name].value for row in part.rows)
        for name in metrics
        if name in COMPARED or name.startswith("recall")
    }
    return {
        "part": part,
        "metrics": metrics,
        "rows": [(row, row.name in baselines, _leads(row, best)) for row in part.rows],
        "summaries": _summaries(part.verdicts),
        "names": {name: words[0] for name, words in _METRICS.items()},
    }


def _leads(row: EncoderRow, best: dict[str, float]) -> set[str]:
    return {name for name, value in best.items() if round(row.metrics[name].value, 3) == round(value, 3)}


def _summaries(verdicts: tuple[VerdictRow, ...]) -> list[dict[str, Any]]:
    """For each encoder and rival, on which metrics who is better: the plain words of the report."""
    pairs = dict.fromkeys((verdict.encoder, verdict.rival) for verdict in verdicts)
    summaries = []
    for encoder, rival in pairs:
        rows = [verdict for verdict in verdicts if (verdict.encoder, verdict.rival) == (encoder, rival)]
        summaries.append(
            {
                "encoder": encoder,
                "rival": rival,
                "rows": rows,
                "lost": [_in_prose(row.metric) for row in rows if row.winner == rival],
                "won": [_in_prose(row.metric) for row in rows if row.winner == encoder],
                "tied": [_in_prose(row.metric) for row in rows if row.winner is None],
            }
        )
    return summaries


def _in_prose(metric: str) -> str:
    label = _METRICS[metric][0]
    return label if label.isupper() else label[0].lower() + label[1:]


def _attack(part: AttackPart) -> dict[str, Any]:
    labelled = len(part.ranks)
    tops = [top for top in (10, 100, 1000) if top < part.events]
    return {
        "part": part,
        "svg": rank_strip(part.ranks, part.events),
        "chance": labelled / part.events,
        "tops": [(top, sum(rank <= top for rank in part.ranks), top * labelled / part.events) for top in tops],
        "first": min(part.ranks),
        "median": sorted(part.ranks)[labelled // 2],
    }
