import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score

from logfm.configs.schema.evaluation import ComparisonConfig, SimilarityConfig
from logfm.evaluation import display
from logfm.evaluation.baselines import random_vectors
from logfm.evaluation.comparison import compare
from logfm.evaluation.projection import project
from logfm.evaluation.report import render
from logfm.evaluation.report_data import (
    Anomaly,
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
    attack_part,
    comparison_part,
)
from logfm.evaluation.svg import Dot, Series, bar, line_chart, rank_strip, scatter

HOSTILE = [
    "<script>alert(1)</script>",
    "</style><script>alert(2)</script>",
    "</title></svg></table><img src=x onerror=alert(3)>",
    "\" onmouseover=\"alert(4)\" ' onfocus='alert(5)'",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "\x00\x07\x1b[31m\x7f\u202e\u200b\ud800",
    "&lt;b&gt; &amp; ]]> <!-- -->",
]
NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def _comparison(name: str = "logfm") -> Any:
    lines = [f"event {i} {'start' if i % 2 else 'stop'} at {i * 7919 % 1000}" for i in range(80)]
    names = ["start" if i % 2 else "stop" for i in range(80)]
    config = ComparisonConfig(similarity=SimilarityConfig(pairs=50))
    return comparison_part(compare(lines, names, {name: random_vectors(16, 3)}, config), "The last tenth by time.")


def _report(text: str = "Failed password for root", **changes: Any) -> QuickstartReport:
    scores = LanguageModelScores(loss=2.0, perplexity=7.389, masked_accuracy=0.6123, bits_per_byte=0.8768)
    return QuickstartReport(
        **{
            "created": NOON,
            "command": f"logfm quickstart {text}",
            "seed": 41,
            "seconds": 301.5,
            "peak_memory_bytes": 3 * 2**30,
            "sources": (
                SourceRead(name=text, events=1234, bytes=2048, duplicates=7, rejects={text: 3}, first=NOON, last=NOON),
                SourceRead(name="empty", events=0, bytes=0),
            ),
            "stages": (StageRun(name="pretrain", seconds=125.0, peak_memory_bytes=2**30),),
            "tokenizer": TokenizerPart(
                vocabulary=8192, bytes_per_token=3.21, lines=((Token(text=text), Token(text=" ", delimiter=True)),)
            ),
            "training": TrainingPart(
                parameters=5_500_000,
                steps=100,
                tokens=2_000_000,
                train_curve=(CurvePoint(step=1, loss=9.0), CurvePoint(step=100, loss=2.0)),
                validation_curve=(CurvePoint(step=100, loss=float("nan")),),
                train=scores,
                validation=scores,
                split=text,
            ),
            "searches": (
                SearchDemo(query=text, hits=(Hit(score=0.91, text=text, source=text, file=text, offset=77),)),
                SearchDemo(query="nothing", hits=()),
            ),
            "anomalies": (
                Anomaly(
                    score=0.77,
                    tokens=(ScoredToken(text=text, nats=9.5), ScoredToken(text=text)),
                    source=text,
                    file=text,
                    offset=88,
                    timestamp=NOON,
                    attack=True,
                ),
            ),
            "map": MapPart(
                points=(
                    MapPoint(x=0.0, y=1.0, source=text, text=text, anomaly=True),
                    MapPoint(x=1.0, y=0.0, source="other", text="x", attack=True),
                ),
                explained=(0.5, 0.25),
            ),
            "comparison": _comparison(),
            "attack": attack_part(text, [0.9, 0.1, 0.5], [True, False, False]),
            "versions": {"logfm": text},
            "licences": (text,),
        }
        | changes
    )


class _Page(HTMLParser):
    """Collects the elements, attributes and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str, str | None]] = set()
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, name, value) for name, value in attrs}

    def handle_data(self, data: str) -> None:
        self.words += data


def _page(tmp_path: Path, report: QuickstartReport) -> tuple[str, _Page]:
    path = tmp_path / "report.html"
    render(report, path)
    html = path.read_text(encoding="utf-8")
    return html, _Page(html)


def test_the_figures_are_in_the_page(tmp_path: Path) -> None:
    html, page = _page(tmp_path, _report())
    words = " ".join(page.words.split())
    for shown in ("1,234", "2.0 KiB", "5.5M", "0.877", "7.39", "61.2 %", "0.910", "2 min 05 s", "3.0 GiB", "seed 41",
                  "2024-05-01 12:00:00", "3.21 bytes", "rank 1", "50.0 % and 25.0 %", "TF-IDF, letters only",
                  "The last tenth by time.", ":77", ":88", "labelled attack"):  # fmt: skip
        assert shown in words, shown
    assert 'class="s5" title="9.5 nats"' in html


@pytest.mark.parametrize("text", HOSTILE)
def test_log_text_adds_no_element_and_no_attribute(text: str, tmp_path: Path) -> None:
    _, plain = _page(tmp_path, _report("plain"))
    html, page = _page(tmp_path, _report(text))
    assert page.tags == plain.tags
    assert {(tag, name) for tag, name, _ in page.attributes} == {(tag, name) for tag, name, _ in plain.attributes}
    assert not any(ord(char) < 32 and char != "\n" for char in html)
    assert not any(char in html for char in "\x7f\u202e\u200b\ud800")
    if text.isprintable():
        assert page.words.count(text) >= 8


def test_nothing_runs_and_nothing_is_loaded(tmp_path: Path) -> None:
    html, page = _page(tmp_path, _report(HOSTILE[0]))
    assert not page.tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    assert not any(name.startswith("on") or name in {"src", "style", "srcdoc"} for _, name, _ in page.attributes)
    assert {value[0] for _, name, value in page.attributes if name == "href" and value} == {"#"}
    assert "url(" not in html and "@import" not in html
    (css,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    (policy,) = [value for tag, name, value in page.attributes if name == "content" and "default-src" in str(value)]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_a_megabyte_of_text_is_shortened_everywhere(tmp_path: Path) -> None:
    html, _ = _page(tmp_path, _report("A" * 2**20))
    assert len(html) < 150_000
    assert "… (+" in html


def test_an_anomaly_of_many_tokens_is_cut_around_its_surprises(tmp_path: Path) -> None:
    tokens = [ScoredToken(text=f"w{i} ", nats=0.1) for i in range(20_000)]
    tokens[15_000] = ScoredToken(text="evil.exe ", nats=12.0)
    anomaly = Anomaly(score=1.0, tokens=tuple(tokens), source="s", file="f", offset=0)
    html, page = _page(tmp_path, _report(anomalies=(anomaly,)))
    assert "evil.exe" in page.words and "w0 " in page.words and "w9999 " not in page.words
    assert len(html) < 150_000


def test_a_lean_report_leaves_sections_out_and_says_why(tmp_path: Path) -> None:
    lean = _report(searches=(), anomalies=(), map=None, attack=None, comparison=None, comparison_note="Too few lines.")
    html, page = _page(tmp_path, lean)
    assert "Too few lines." in page.words
    for name in ("search", "anomalies", "attack", "map"):
        assert f'id="{name}"' not in html and f'href="#{name}"' not in html


def test_the_report_says_where_tfidf_is_better(tmp_path: Path) -> None:
    ends = [("opened x" if i % 2 else "closed y") + str(i % 7) for i in range(300)]
    lines = [f"session {i * 7919 % 10007} {end}" for i, end in enumerate(ends)]
    names = [end.split()[0] + str(i % 7) for i, end in enumerate(ends)]
    part = comparison_part(compare(lines, names, {"ours": random_vectors(8, 1)}, ComparisonConfig()))
    _, page = _page(tmp_path, _report(comparison=part))
    words = " ".join(page.words.split())
    assert "TF-IDF is better than ours on pair AUC, MRR, MAP and macro MAP." in words
    assert part.verdicts[0].winner == "TF-IDF"


def test_sources_beyond_the_colours_share_one(tmp_path: Path) -> None:
    points = tuple(MapPoint(x=i, y=i % 3, source=f"source{i % 12}", text="t") for i in range(60))
    _, page = _page(tmp_path, _report(map=MapPart(points=points, explained=(0.4, 0.3))))
    assert "5 others (25)" in page.words
    assert {value for tag, name, value in page.attributes if tag == "input" and name == "id"} == {
        f"m{i}" for i in range(8)
    }


def test_an_existing_report_stays_whole_if_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    monkeypatch.setattr("logfm.evaluation.report._attack", lambda part: {"part": part})
    with pytest.raises(Exception, match="Undefined"):
        render(_report(), path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        SourceRead(name="a", events=1, bytes=1, colour="red")  # type: ignore[call-arg]


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40))
def test_attack_ranks_count_ties_against_the_detector(rows: list[tuple[int, bool]]) -> None:
    scores, labels = [float(score) for score, _ in rows], [label for _, label in rows]
    part = attack_part("a", scores, labels)
    if not any(labels):
        assert part is None
        return
    assert part is not None
    expected = sorted(sum(other >= score for other in scores) for score, label in rows if label)
    assert list(part.ranks) == expected
    assert part.average_precision == pytest.approx(average_precision_score(labels, scores))


def test_projection_equals_scikit_learns_pca() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(80, 10)) * np.linspace(4, 1, 10)
    points, shares = project(vectors)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pca = PCA(2).fit(units)
    assert shares == pytest.approx(tuple(pca.explained_variance_ratio_), rel=1e-4)
    assert np.abs(points) == pytest.approx(np.abs(pca.transform(units)), abs=1e-4)
    assert (project(vectors)[0] == points).all()


@pytest.mark.parametrize(
    "vectors", [np.ones((5, 3)), np.ones((1, 4)), np.zeros((3, 2)), np.ones((4, 1)), np.zeros((0, 3))]
)
def test_projection_of_degenerate_vectors_is_finite(vectors: np.ndarray) -> None:
    points, shares = project(vectors)
    assert points.shape == (len(vectors), 2)
    assert np.isfinite(points).all() and np.isfinite(shares).all()


@given(st.text(st.characters()), st.integers(1, 50))
def test_visible_text_prints_and_says_what_it_cut(text: str, limit: int) -> None:
    shown = display.visible(text, limit)
    assert all(char.isprintable() for char in shown)
    if len(text) > limit:
        assert shown.endswith(f"… (+{len(text) - limit:,} characters)")
    else:
        assert len(shown) == len(text)


def test_values_as_people_read_them() -> None:
    assert [display.compact(v) for v in (999, 1234, 5_512_192, 123_456_789)] == ["999", "1.23k", "5.51M", "123M"]
    assert [display.size(v) for v in (12, 1536, 3 * 2**30)] == ["12 B", "1.5 KiB", "3.0 GiB"]
    assert [display.duration(v) for v in (0.25, 75, 3720)] == ["0.2 s", "1 min 15 s", "1 h 02 min"]
    assert display.duration(59.97) == "1 min 00 s"
    assert [display.score(v) for v in (None, float("nan"), 0.5)] == ["–", "–", "0.500"]
    assert [display.signed(v) for v in (0.25, -0.25)] == ["+0.250", "\N{MINUS SIGN}0.250"]
    assert display.when(datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == "2024-01-01 00:00:00"


@given(st.lists(st.tuples(st.text(max_size=12), st.none() | st.floats(0, 20)), max_size=120), st.integers(1, 200))
def test_an_excerpt_fits_and_accounts_for_every_token(rows: list[tuple[str, float | None]], budget: int) -> None:
    tokens = [ScoredToken(text=text, nats=nats) for text, nats in rows]
    shown = display.excerpt(tokens, budget)
    kept = [item for item in shown if not isinstance(item, int)]
    assert sum(len(token.text) for token in kept) <= budget
    assert len(kept) + sum(item for item in shown if isinstance(item, int)) == len(tokens)


def test_charts_are_well_formed_and_skip_what_is_not_finite() -> None:
    nan = float("nan")
    chart = fromstring(line_chart([Series("<a>", [(1, 2.0), (2, nan), (3, 1.0)], "c0", marks=True)], "<x>", "y&"))
    (line,) = [node for node in chart.iter() if node.tag.endswith("polyline")]
    assert len(line.attrib["points"].split()) == 2
    ups = [float(point.split(",")[1]) for point in line.attrib["points"].split()]
    assert ups[0] < ups[1], "a larger loss is drawn higher"
    assert "nothing to draw" in line_chart([Series("a", [(1, nan)], "c0")], "x", "y")
    flat = fromstring(line_chart([Series("a", [(1, 2.0)], "c0")], "x", "y"))
    assert all("nan" not in value for node in flat.iter() for value in node.attrib.values())
    dots = fromstring(scatter([Dot(0, 0, "dot", "a<b"), Dot(1, 1, "ring", "r"), Dot(nan, 1, "dot", "n")], "m"))
    assert [node.text for node in dots.iter() if node.tag.endswith("title")] == ["a<b", "r"]
    ranks = fromstring(rank_strip([1, 100], 100))
    ticks = [node for node in ranks if node.attrib.get("class") == "tick"]
    assert [float(tick.attrib["x1"]) for tick in ticks] == [16.0, 944.0]
    fills = [fromstring(bar(share))[1].attrib["width"] for share in (0.25, 7.0, nan)]
    assert fills == ["25.0", "100.0", "0.5"]
