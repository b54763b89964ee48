"""What continued pretraining gained on the new data and lost on the old: one page that opens offline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from logfm.artifacts import write_atomic
from logfm.console import printable
from logfm.errors import UserError
from logfm.pretrain.callbacks import read_history

SIDES = {"validation_": "new data", "old_validation_": "old data"}
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 280, 48, 12, 12, 40
_COLOURS = 6


@dataclass(frozen=True)
class Change:
    """One measure on the held-out events of one side, before the first step and after the last."""

    before: float
    after: float

    @property
    def relative(self) -> float:
        """The change as a share of what it was."""
        return self.after / self.before - 1 if self.before else 0.0


def changes(folder: Path) -> dict[str, Change]:
    """The measures of a continued run (`validation_bits_per_byte`, `old_validation_accuracy`, ...).

    Raises:
        UserError: the run's history does not begin with a measurement of its start.
    """
    measured = [row for row in read_history(folder) if "validation_loss" in row]
    if not measured or measured[0]["step"] != 0:
        raise UserError("not a continued pretraining run", folder)
    first, last = measured[0], measured[-1]
    return {name: Change(first[name], last[name]) for name in first if name.startswith(tuple(SIDES))}


def write(runs: Mapping[str, Path], path: Path) -> str:
    """Write the page for one run folder or more, by name, to compare them; returns a summary, one line a run.

    Raises:
        UserError: one of them is no continued run.
    """
    found = {name: changes(folder) for name, folder in runs.items()}
    lines = [f"{name}: {summary(one)}" for name, one in found.items()]
    page = _PAGE.format(
        summary="".join(f"<p>{escape(printable(line))}</p>" for line in lines),
        table=_table(found),
        charts="".join(_chart(prefix, runs) for prefix in SIDES if any(f"{prefix}loss" in c for c in found.values())),
    )
    write_atomic(path, page.encode())
    return "\n".join(lines)


def summary(found: Mapping[str, Change]) -> str:
    """What was gained and lost, in a line."""
    parts = []
    for prefix, side in SIDES.items():
        if f"{prefix}loss" in found:
            bits, right = found[f"{prefix}bits_per_byte"], found[f"{prefix}accuracy"]
            parts.append(
                f"{side} {bits.before:.3f} to {bits.after:.3f} bits/byte ({_percent(bits.relative)}), "
                f"masked accuracy {right.before:.3f} to {right.after:.3f}"
            )
    return "; ".join(parts)


def _table(found: Mapping[str, Mapping[str, Change]]) -> str:
    head = "".join(f'<th colspan="5">{escape(side)}</th>' for side in SIDES.values())
    names = "<th>bits/byte before</th><th>after</th><th>change</th><th>accuracy before</th><th>after</th>" * len(SIDES)
    body = "".join(
        f"<tr><th>{escape(printable(name))}</th>{''.join(_cells(prefix, one) for prefix in SIDES)}</tr>"
        for name, one in found.items()
    )
    return f'<table><thead><tr><th rowspan="2">run</th>{head}</tr><tr>{names}</tr></thead><tbody>{body}</tbody></table>'


def _cells(prefix: str, found: Mapping[str, Change]) -> str:
    if f"{prefix}loss" not in found:
        return "<td>–</td>" * 5
    bits, right = found[f"{prefix}bits_per_byte"], found[f"{prefix}accuracy"]
    verdict = "good" if bits.relative < 0 else "bad"
    return (
        f'<td>{bits.before:.3f}</td><td>{bits.after:.3f}</td><td class="{verdict}">{_percent(bits.relative)}</td>'
        f"<td>{right.before:.3f}</td><td>{right.after:.3f}</td>"
    )


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %".replace("-", "\N{MINUS SIGN}")


def _chart(prefix: str, runs: Mapping[str, Path]) -> str:
    """Bits per byte over training tokens, a line a run."""
    measure = f"{prefix}bits_per_byte"
    lines = {name: _points(measure, read_history(folder)) for name, folder in runs.items()}
    points = [point for line in lines.values() for point in line]
    most, top = max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
    drawn = "".join(_line(line, number % _COLOURS, most, top) for number, line in enumerate(lines.values()) if line)
    legend = "".join(
        f'<span class="c{number % _COLOURS}">{escape(printable(name))}</span>' for number, name in enumerate(lines)
    )
    ticks = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * part / 4:.2f}</text>'
        for part, y in ((part, _y(top * part / 4, top)) for part in range(5))
    )
    title = f"Bits per byte on the held-out events of the {SIDES[prefix]}"
    return (
        f'<h2>{title}</h2><p class="legend">{legend}</p><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{title}">{ticks}{drawn}<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 10}" text-anchor="end">'
        f"training tokens, up to {most / 1e6:.2f}M</text></svg>"
    )


def _points(measure: str, history: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [(float(row["tokens"]), float(row[measure])) for row in history if measure in row]


def _line(points: Sequence[tuple[float, float]], colour: int, most: float, top: float) -> str:
    places = [(_LEFT + (_WIDTH - _LEFT - _RIGHT) * x / most, _y(y, top)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marks = "".join(
        f'<circle class="c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{value:.3f}</title></circle>'
        for (x, y), (_, value) in zip(places, points, strict=True)
    )
    return f'<polyline class="c{colour}" points="{path}"/>{marks}'


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Continued pretraining</title><style>
:root {{ color-scheme: light dark; --ink: #18212e; --soft: #5a6676; --rule: #d5dbe4; --good: #1b7f52; --bad: #b5372f;
  --page: #fff; --c0: #2f6bdb; --c1: #d9761c; --c2: #259269; --c3: #8857c9; --c4: #c04a86; --c5: #1f94ad; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e3e9f1; --soft: #98a5b5; --rule: #2a3442; --good: #58c894;
  --bad: #ff8a80; --page: #0e131a; --c0: #6d9dff; --c1: #f39a4b; --c2: #4cc795; --c3: #b48cf0; --c4: #ec7fb4;
  --c5: #4fc3dc; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 68rem; padding: 0 1.25rem; }}
h1 {{ font-size: 1.7rem; letter-spacing: -.02em; margin: 0 0 .75rem; }}
h2 {{ font-size: 1.05rem; margin: 2.25rem 0 .25rem; }}
p {{ max-width: 48rem; margin: .3rem 0; overflow-wrap: anywhere; }}
.note {{ color: var(--soft); font-size: .875rem; }}
.wide {{ overflow-x: auto; margin: 1.25rem 0; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .875rem; }}
td, th {{ padding: .4rem .6rem; text-align: right; border-bottom: 1px solid var(--rule); }}
td {{ white-space: nowrap; }}
th {{ font-weight: 600; }}
thead th {{ color: var(--soft); font-size: .8rem; }}
thead tr:first-child th {{ text-align: center; }}
tbody th, thead th:first-child[rowspan] {{ text-align: left; }}
.good {{ color: var(--good); }}
.bad {{ color: var(--bad); }}
.legend span {{ display: inline-block; margin-right: 1.25rem; font-size: .875rem; font-weight: 600; }}
svg {{ width: 100%; max-width: 45rem; height: auto; }}
svg text {{ font-size: 12px; fill: var(--soft); }}
svg line {{ stroke: var(--rule); }}
polyline {{ fill: none; stroke: currentColor; stroke-width: 2; }}
circle {{ fill: currentColor; }}
.c0 {{ color: var(--c0); }} .c1 {{ color: var(--c1); }} .c2 {{ color: var(--c2); }}
.c3 {{ color: var(--c3); }} .c4 {{ color: var(--c4); }} .c5 {{ color: var(--c5); }}
</style></head><body>
<h1>Continued pretraining</h1>
{summary}
<div class="wide">{table}</div>
<p class="note">Held-out events only, the latest of each source: before the first step and after the last. Bits per byte
of the masked content tokens: lower is better, a negative change is a gain. Accuracy: masked tokens guessed right. Runs
with different vocabularies mask other stretches of text, longer ones where tokens are longer; compare them with care.
</p>
{charts}
</body></html>
"""
