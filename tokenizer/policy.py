"""Where text is cut before byte pairs merge, and which bytes are delimiters.

Pieces are cut so that content and delimiters never share one; merges stay inside a piece, so every token is
wholly one or the other, and its class follows from its bytes alone. Only ASCII characters are delimiters: a
byte of 0x80 or more is always content, even where a token holds a part of a character.
"""

from logfm.configs.schema.tokenizer import PolicyConfig

LONGEST = 64
"""Characters in a piece at most, so that hostile input cannot make merging slow; no useful token is
longer."""

_SPACES = r"\x00-\x20\x7F"
_HEX = "[0-9A-Fa-f]"
_DIGITS = {"runs": rf"[0-9]{{1,{LONGEST}}}", "quads": "[0-9]{1,4}", "triplets": "[0-9]{1,3}", "single": "[0-9]"}
_ALNUM = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def delimiter_bytes(policy: PolicyConfig) -> frozenset[int]:
    """The ASCII bytes that are delimiters: punctuation, white space and control characters."""
    content = _ALNUM | set(b"_") if policy.underscore == "content" else _ALNUM
    return frozenset(range(128)) - content


def is_delimiter(token: bytes, policy: PolicyConfig) -> bool:
    """Whether a token is a delimiter; its one leading space, which belongs to what follows, does not count.

    Raises:
        ValueError: the token mixes content and delimiters, so it cannot come from this policy.
    """
    delimiters = delimiter_bytes(policy)
    body = token[1:] if len(token) > 1 and token[0] == 0x20 else token
    found = {byte in delimiters for byte in body}
    if len(found) != 1:
        raise ValueError(f"token {token!r} mixes content and delimiters")
    return found.pop()


def pattern(policy: PolicyConfig) -> str:
    """The regular expression (Oniguruma) whose matches, in order, are all the pieces of a text.

    Each alternative looks ahead a bounded distance, so the time is linear in the length of the text.
    """
    underscore = r"_" if policy.underscore == "content" else ""
    punctuation = r"!-/:-@\[-^`{-~" if underscore else r"!-/:-@\[-`{-~"
    content = rf"[^{_SPACES}{punctuation}]"
    letter = rf"[^{_SPACES}{punctuation}0-9]"
    runs = [*_guid(policy, content), *_hexadecimal(policy, content), *_base64(policy)]
    runs += _words(policy, content, letter, underscore)
    return "|".join([*(f" ?{run}" for run in runs), rf" ?[{punctuation}]{{1,{LONGEST}}}", *_white_space(policy)])


def _words(policy: PolicyConfig, content: str, letter: str, underscore: str) -> list[str]:
    """Runs of content, parted by the policies for digits and case."""
    digits = [] if policy.digits == "whole" else [_DIGITS[policy.digits]]
    body = content if policy.digits == "whole" else letter
    if policy.case == "kept":
        return [*digits, rf"{body}{{1,{LONGEST}}}"]
    small = body.replace("[^", "[^A-Z")
    number = "0-9" if policy.digits == "whole" else ""
    return [
        *digits,
        rf"[A-Z][A-Z{number}]{{0,{LONGEST - 1}}}(?![a-z])",
        rf"[A-Z]?{small}{{1,{LONGEST}}}",
        rf"{body}{{1,{LONGEST}}}",
    ]


def _guid(policy: PolicyConfig, content: str) -> list[str]:
    if policy.guid == "plain":
        return []
    quad, end = f"{_HEX}{{4}}", f"(?!{content})"
    return [
        f"{quad}(?={quad}(?:-{quad}){{3}}-{_HEX}{{12}}{end})",
        f"(?<={quad}-){quad}(?={_HEX}{{8}}{end})",
        f"(?<={quad}-{quad}){quad}(?={quad}{end})",
    ]


def _hexadecimal(policy: PolicyConfig, content: str) -> list[str]:
    if policy.hex == "plain":
        return []
    width = {"quads": 4, "pairs": 2}[policy.hex]
    rest = rf"(?={_HEX}{{{width},128}}(?!{content}))"
    start = rf"(?<!{content})(?=[0-9]{{0,127}}[A-Fa-f])(?={_HEX}{{8,128}}(?!{content})){_HEX}{{{width}}}"
    return [start, rf"(?<={_HEX}{{{width}}}){_HEX}{{{width}}}{rest}"]


def _base64(policy: PolicyConfig) -> list[str]:
    return [] if policy.base64 == "plain" else ["[0-9A-Za-z]{8}(?=[0-9A-Za-z]{24})"]


def _white_space(policy: PolicyConfig) -> list[str]:
    """White space and control characters; a run gives its last space to the content or punctuation behind
    it."""
    if policy.whitespace == "single":
        return [rf"[{_SPACES}]"]
    return [
        rf"[{_SPACES}]{{0,{LONGEST - 1}}}[\x00-\x1F\x7F]",
        rf" {{1,{LONGEST}}}(?![^{_SPACES}])",
        " ",
    ]
