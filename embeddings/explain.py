"""What an encoder did not expect in a line: the surprise at each token while it is masked, for people and programs."""

import html
from dataclasses import dataclass

import numpy as np
from rich.style import Style
from rich.text import Text

from logfm.console import printable
from logfm.corpus.headers import message_start
from logfm.embeddings.encoder import LogEncoder

# The surprise, in nats, that gets the full colour: a probability of about 1 in 3,000.
_FULL = 8.0


@dataclass(frozen=True)
class TokenSurprise:
    """One token. `start` and `end` are its characters in the line; parts of one character share its span."""

    token: str
    start: int
    end: int
    nats: float | None
    """Negative log-likelihood of the token while it is masked; None for delimiters, which are never masked."""


@dataclass(frozen=True)
class Explanation:
    """A line with the surprise at each token."""

    text: str
    tokens: list[TokenSurprise]
    mean_nats: float | None
    """Over the content tokens; None where there are none."""
    cut: bool
    """Whether the line is longer than the encoder reads; only its beginning is judged then."""


def explain(encoder: LogEncoder, text: str) -> Explanation:
    """The surprise at each token that the encoder reads of a line, in nats, under its own masked language model.

    Raises:
        UserError: the encoder was not trained by logfm.
    """
    model = encoder.pretrained
    read = encoder.read([text])[0]
    first = 0 if read == text else message_start(text)
    ids = model.tokenizer.encode_batch([read])[0]
    spans = model.tokenizer.spans(read)
    kept = ids[: encoder.limit]
    nats = model.masked_nll(kept) if len(kept) else np.empty(0, dtype=np.float32)
    tokens = [
        TokenSurprise(token, first + start, first + end, None if np.isnan(value) else round(float(value), 4))
        for token, (start, end), value in zip(model.tokenizer.tokens(kept), spans, nats, strict=False)
    ]
    judged = nats[~np.isnan(nats)]
    mean = round(float(judged.mean()), 4) if len(judged) else None
    return Explanation(text, tokens, mean, len(ids) > len(kept))


def as_text(explanation: Explanation) -> Text:
    """The line for a terminal: the redder a token, the more surprising; control characters are replaced."""
    shown = Text()
    for piece, nats in _pieces(explanation):
        shown.append(printable(piece), _style(nats))
    return shown


def as_html(explanation: Explanation) -> str:
    """The line as an HTML fragment (one `<code>` element); everything from the log is escaped."""
    parts = []
    for piece, nats in _pieces(explanation):
        content = html.escape(printable(piece), quote=True)
        if nats is None:
            parts.append(content)
        else:
            colour = f"rgba(220,38,38,{_strength(nats):.2f})"
            parts.append(f'<span style="background:{colour}" title="{nats:.2f} nats">{content}</span>')
    return f'<code style="white-space:pre-wrap;overflow-wrap:anywhere">{"".join(parts)}</code>'


def as_page(explanation: Explanation) -> str:
    """The fragment of `as_html` as a document of its own, which runs no script and loads nothing."""
    mean = "no content tokens" if explanation.mean_nats is None else f"mean {explanation.mean_nats:.2f} nats a token"
    note = " (only the beginning is judged)" if explanation.cut else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        "<title>Surprise</title></head>"
        f"<body><p>{as_html(explanation)}</p><p>{mean}{note}</p></body></html>\n"
    )


def _pieces(explanation: Explanation) -> list[tuple[str, float | None]]:
    """The whole line in pieces, in order; a character of several tokens takes the most surprising one."""
    pieces: list[tuple[str, float | None]] = []
    done = 0
    previous = (-1, -1)
    for token in explanation.tokens:
        span = (token.start, token.end)
        if span == previous and token.nats is not None:
            text, before = pieces[-1]
            pieces[-1] = (text, max(token.nats, before or 0.0))
            continue
        start = max(token.start, done)
        if start > done:
            pieces.append((explanation.text[done:start], None))
        pieces.append((explanation.text[start : max(token.end, start)], token.nats))
        done, previous = max(token.end, done), span
    if done < len(explanation.text):
        pieces.append((explanation.text[done:], None))
    return pieces


def _strength(nats: float) -> float:
    return min(max(nats, 0.0) / _FULL, 1.0)


def _style(nats: float | None) -> Style | None:
    if nats is None:
        return None
    rest = int(255 * (1 - _strength(nats)))
    return Style(color=f"rgb(255,{rest},{rest})", bold=_strength(nats) >= 0.5)
