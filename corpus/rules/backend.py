"""Sigma conditions as DuckDB SQL over a table of text columns, one lower-cased and one as it was for each field."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from sigma.backends.sqlite.sqlite import sqliteBackend
from sigma.conditions import ConditionFieldEqualsValueExpression, ConditionOR, ConditionValueExpression
from sigma.conversion.state import ConversionState
from sigma.exceptions import SigmaFeatureNotSupportedByBackendError
from sigma.types import SigmaRegularExpression, SigmaRegularExpressionFlag, SigmaString, SpecialChars

from logfm.corpus.rules.sources import KEYWORDS, SEPARATOR

_FLAGS = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}
_MANY = 8  # texts from which on one automaton is faster than a search for each
_MOST_CHARS = 4096  # of an automaton's texts: RE2 falls back to a slower method where its states don't fit


class DuckDBBackend(sqliteBackend):
    """The SQLite backend's logic (absent fields, grouping) in DuckDB's dialect.

    Text compares without case on lower-cased columns, `|cased` and `|re` on the columns as they were. DuckDB's regular
    expressions are RE2's: linear in the text, without look-around and back-references. `used` collects the columns of
    the rule at hand as (field, lower-cased?), `regexes` its patterns. Columns have numbers for names, so that nothing
    a rule says gets into the SQL but as a literal. With `lists`, a field may hold several values.
    """

    name: ClassVar[str] = "DuckDB"
    null_safe_expression: ClassVar[str] = "COALESCE({expr}, false)"
    bool_numeric_values: ClassVar[dict[bool, str]] = {True: "'1'", False: "'0'"}
    field_timestamp_part_expression: ClassVar[str | None] = (
        "CAST(strftime(TRY_CAST({field} AS TIMESTAMP), '{timestamp_part}') AS INTEGER)"
    )

    def __init__(self, processing_pipeline: Any = None, lists: bool = False) -> None:
        super().__init__(processing_pipeline)  # type: ignore[no-untyped-call]
        self.lists = lists
        self.numbers: dict[str, int] = {}
        self.used: set[tuple[str, bool]] = set()
        self.regexes: set[str] = set()

    def column(self, field: str, lower: bool = True) -> str:
        """The SQL name of a field's column."""
        self.used.add((field, lower))
        return column_name(self.numbers.setdefault(field, len(self.numbers)), lower)

    def finalize_query_default(self, rule: Any, query: str, index: int, state: ConversionState) -> str:
        """The condition alone, without a statement around it."""
        return query

    def escape_and_quote_field(self, field: str) -> str:
        """The lower-cased column of a field."""
        return self.column(field)

    def convert_condition_or(self, cond: Any, state: ConversionState) -> Any:
        """Alternatives; many texts that one field may contain are searched in one pass."""
        texts: dict[str, list[str]] = {}
        others = []
        for one in cond.args:
            text = _contained(one)
            if text is None:
                others.append(one)
            else:
                texts.setdefault(one.field if hasattr(one, "field") else KEYWORDS, []).append(text)
        few = {field for field, found in texts.items() if len(found) < _MANY}
        others += [one for one in cond.args if _contained(one) is not None and getattr(one, "field", KEYWORDS) in few]
        parts = [
            f"regexp_matches({self.column(field)}, {literal('|'.join(map(_quoted, some)))})"
            for field, found in texts.items()
            if field not in few
            for some in _shared(sorted(set(found)))
        ]
        if not parts:
            return super().convert_condition_or(cond, state)
        if others:
            parts.append(str(super().convert_condition_or(ConditionOR(others), state)))
        return "(" + f" {self.or_token} ".join(parts) + ")"

    def convert_condition_field_eq_val_str(self, cond: Any, state: ConversionState) -> str:
        """Text without regard to case."""
        return matching(self.column(cond.field), cond.value.s, lower=True, lists=self.lists)

    def convert_condition_field_eq_val_str_case_sensitive(self, cond: Any, state: ConversionState) -> str:
        """Text with regard to case."""
        return matching(self.column(cond.field, lower=False), cond.value.s, lower=False, lists=self.lists)

    def convert_condition_field_eq_val_num(self, cond: Any, state: ConversionState) -> str:
        """A number, as text."""
        return matching(self.column(cond.field), (str(cond.value),), lower=True, lists=self.lists)

    def convert_condition_field_compare_op_val(self, cond: Any, state: ConversionState) -> str:
        """A comparison, where the field holds a number."""
        operator = self.compare_operators[cond.value.op]
        return f"TRY_CAST({self.column(cond.field)} AS DOUBLE) {operator} {float(str(cond.value.number))!r}"

    def convert_condition_field_eq_val_re(self, cond: Any, state: ConversionState) -> str:
        """A regular expression anywhere in the text, with regard to case unless it says otherwise."""
        return self._regex(self.column(cond.field, lower=False), cond.value)

    def convert_condition_field_eq_val_cidr(self, cond: Any, state: ConversionState) -> str:
        """A network as the beginnings of its addresses, of which IPv6's can be written in more than one way."""
        beginnings = str(super().convert_condition_field_eq_val_cidr(cond, state))
        address = "^[0-9a-f:.]*:" if cond.value.network.version == 6 else "^[0-9.]+$"
        return f"(regexp_matches({self.column(cond.field)}, {literal(address)}) AND ({beginnings}))"

    def convert_condition_val_str(self, cond: Any, state: ConversionState) -> str:
        """A keyword anywhere in the event."""
        return matching(self.column(KEYWORDS), _anywhere(cond.value), lower=True)

    def convert_condition_val_num(self, cond: Any, state: ConversionState) -> str:
        """A number anywhere in the event."""
        return f"contains({self.column(KEYWORDS)}, {literal(str(cond.value))})"

    def convert_condition_val_re(self, cond: Any, state: ConversionState) -> str:
        """A regular expression anywhere in the event."""
        return self._regex(self.column(KEYWORDS, lower=False), cond.value)

    def _regex(self, column: str, value: SigmaRegularExpression) -> str:
        flags = "".join(sorted(_FLAGS[flag] for flag in value.flags))
        pattern = (f"(?{flags})" if flags else "") + str(value.regexp)
        self.regexes.add(pattern)
        return f"regexp_matches({column}, {literal(pattern)})"


def column_name(number: int, lower: bool) -> str:
    """The name of a field's column, by the field's number."""
    return f"{'l' if lower else 'r'}{number}"


def literal(text: str) -> str:
    """A text as an SQL literal.

    Raises:
        SigmaFeatureNotSupportedByBackendError: the text has a NUL character.
    """
    if "\0" in text:
        raise SigmaFeatureNotSupportedByBackendError("a NUL character in a value")
    return "'" + text.replace("'", "''") + "'"


def matching(column: str, value: tuple[Any, ...], lower: bool, lists: bool = False) -> str:
    """SQL for the parts of a text with wildcards, in the cheapest form that says it; one of a list's values is enough.

    Raises:
        SigmaFeatureNotSupportedByBackendError: a placeholder among the parts, or a NUL character.
    """
    parts = [part.lower() if lower and isinstance(part, str) else part for part in value]
    if any(not isinstance(part, str | SpecialChars) for part in parts):
        raise SigmaFeatureNotSupportedByBackendError("placeholders without values")
    texts = [part for part in parts if isinstance(part, str)]
    wild = [part for part in parts if isinstance(part, SpecialChars)]
    if not texts and SpecialChars.WILDCARD_SINGLE not in wild:
        return f"{column} IS NOT NULL" if wild else f"{column} = ''"
    if len(texts) == 1 and len(parts) <= 3 and SpecialChars.WILDCARD_SINGLE not in wild:
        text = literal(texts[0])
        match (parts[0] is not texts[0], parts[-1] is not texts[0]):
            case (True, True):
                return f"contains({column}, {text})"
            case (True, False):
                whole, among = f"ends_with({column}, {text})", texts[0] + SEPARATOR
            case (False, True):
                whole, among = f"starts_with({column}, {text})", SEPARATOR + texts[0]
            case _:
                whole, among = f"{column} = {text}", SEPARATOR + texts[0] + SEPARATOR
        return f"({whole} OR contains({column}, {literal(among)}))" if lists else whole
    # No LIKE: its search for several wildcards backtracks, and the text is an attacker's.
    first, last, some = (f"(?:^|{SEPARATOR})", f"(?:{SEPARATOR}|$)", f"[^{SEPARATOR}]*") if lists else ("^", "$", ".*")
    ends = [
        "" if parts[0] == SpecialChars.WILDCARD_MULTI else first,
        "" if parts[-1] == SpecialChars.WILDCARD_MULTI else last,
    ]
    pattern = "".join(_pattern(part, some) for part in parts).removeprefix(some).removesuffix(some)
    return f"regexp_matches({column}, {literal(f'(?s){ends[0]}{pattern}{ends[1]}')})"


def _pattern(part: str | SpecialChars, some: str) -> str:
    if isinstance(part, str):
        return _quoted(part)
    return some if part == SpecialChars.WILDCARD_MULTI else "."


def _anywhere(value: SigmaString) -> tuple[Any, ...]:
    parts = list(value.s)
    while parts and parts[0] == SpecialChars.WILDCARD_MULTI:
        parts.pop(0)
    while parts and parts[-1] == SpecialChars.WILDCARD_MULTI:
        parts.pop()
    return (SpecialChars.WILDCARD_MULTI, *parts, SpecialChars.WILDCARD_MULTI)


def _contained(cond: Any) -> str | None:
    """The text, lower-cased, if a condition says that a field or the event contains it."""
    value = cond.value if isinstance(cond, ConditionFieldEqualsValueExpression | ConditionValueExpression) else None
    if type(value) is not SigmaString:
        return None
    parts = value.s if isinstance(cond, ConditionFieldEqualsValueExpression) else _anywhere(value)
    if len(parts) != 3 or not isinstance(parts[1], str) or parts[0] != parts[2]:
        return None
    return parts[1].lower() if parts[0] == SpecialChars.WILDCARD_MULTI else None


def _quoted(text: str) -> str:
    return re.sub(r"[!-/:-@\[-^`{-~]", r"\\\g<0>", text)


def _shared(texts: Sequence[str]) -> Iterator[list[str]]:
    """Lists of texts, each for one automaton."""
    held: list[str] = []
    size = 0
    for text in texts:
        if held and size + len(text) > _MOST_CHARS:
            yield held
            held, size = [], 0
        held.append(text)
        size += len(text)
    yield held
