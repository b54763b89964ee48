"""The figures of `simulate_shortcuts.py` as tables in Markdown, for RESULTS.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_VIEWS = ("all three", "system", "network", "browser")


def markdown(figures: Mapping[str, Any]) -> str:
    """The tables of the parts that were measured."""
    parts = {"features": _features, "all three": _tfidf, "oracle": _oracle, "statistics": _statistics}
    return "\n".join(line for name, part in parts.items() if name in figures for line in part(figures))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    cells = [list(head), ["---"] * len(head), *rows]
    return [f"| {' | '.join(str(cell) for cell in row)} |" for row in cells] + [""]


def _features(figures: Mapping[str, Any]) -> list[str]:
    seeds, sessions, chunks = figures["seeds"], figures["attack sessions"], figures["attack chunks"]
    head = (
        f"Fitted on seeds {', '.join(map(str, seeds[0]))} ({sessions[0]} sessions with an attack, {chunks[0]} attack "
    )
    head += f"chunks), judged on seed {seeds[1]} ({sessions[1]} and {chunks[1]})."
    placebo = figures.get("placebo", {})
    rows = [(name, *_area(area), *_area(placebo.get(name))) for name, area in figures["features"].items()]
    names = ("attack against benign by", "AUC", "95 % interval", "placebo", "95 % interval")
    turns = figures.get("each seed by the others", {})
    each = [(name, f"{sum(areas) / len(areas):.3f}", ", ".join(map(str, areas))) for name, areas in turns.items()]
    return [
        *(head, "", *_table(names, rows)),
        *_table(("each seed judged by the others", "mean AUC", " ".join(map(str, (*seeds[0], seeds[1])))), each),
    ]


def _area(area: Sequence[float] | None) -> tuple[object, str]:
    return (area[0], f"{area[1]} to {area[2]}") if area else ("", "")


def _tfidf(figures: Mapping[str, Any]) -> list[str]:
    scores = {view: figures[view] for view in _VIEWS if view in figures}
    if "otrf" in figures:
        scores["OTRF"] = figures["otrf"]
    rows = [
        (name, one["macro_f1"], "{} to {}".format(*one["interval"]), one["classes"]) for name, one in scores.items()
    ]
    best = sorted(figures["all three"]["techniques"].items(), key=lambda pair: -pair[1])
    words = figures["all three"]["strongest"]
    return [
        *_table(("TF-IDF and linear SVM", "macro F1", "95 % interval", "techniques"), rows),
        *_table(("sessions with an attack to fit on", "macro F1"), figures["learning curve"]),
        *_table(("technique", "F1", "strongest features"),
                [(name, score, " ".join(f"`{word}`" for word in words.get(name, ()))) for name, score in best]),
    ]  # fmt: skip


def _oracle(figures: Mapping[str, Any]) -> list[str]:
    names = [name for name in figures if name == "oracle" or name.startswith("oracle, ")]
    rows = [(name, figures[name]["macro_f1"], figures[name]["steps found"]) for name in names]
    across = figures["steps across sources only"]
    steps = ", ".join(f"`{name}`" for name in across)
    told = f"{len(across)} of {figures['steps']} steps show only across kinds of source"
    return [*_table(("oracle", "macro F1", "steps found"), rows), f"{told}{': ' if steps else ''}{steps}.", ""]


def _statistics(figures: Mapping[str, Any]) -> list[str]:
    rows = [
        (name, one["lines"], ", ".join(map(str, one["length"])), one["duplicates"], one.get("types", ""),
         one.get("fields", ""), ", ".join(f"{key} ({count})" for key, count in one.get("most frequent", {}).items()))
        for name, one in figures["statistics"].items()
    ]  # fmt: skip
    head = ("lines of", "number", "characters (10 %, median, 90 %)", "share that repeats but for digits", "types",
            "fields (median)", "most frequent")  # fmt: skip
    return _table(head, rows)
