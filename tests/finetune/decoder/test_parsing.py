import pytest
from hypothesis import given
from hypothesis import strategies as st

from logfm.finetune.decoder.answers import Grammar, Slot
from logfm.finetune.decoder.parsing import is_technique_set, parse

CHUNK = Grammar((Slot("label", "one", ("normal", "suspicious")),))
NAMED = Grammar((Slot("techniques", "set", ("T1003.001", "T1059", "T1059.001")), Slot("reason", "text")))
TRIAGE = Grammar(
    (
        Slot("threat", "one", ("malware", "credential theft", "benign")),
        Slot("technique", "one", ("T1003", "T1059", "none")),
        Slot("severity", "one", ("low", "high")),
    )
)


@pytest.mark.parametrize(
    "answer",
    [
        {"techniques": ("T1059", "T1059.001"), "reason": ("PowerShell: a download",)},
        {"techniques": (), "reason": ()},
    ],
)
def test_what_the_grammar_writes_both_readers_read(answer):
    for mode in ("strict", "tolerant"):
        read = parse(NAMED.write(answer) + "\n", NAMED, mode).answer
        expected = dict(answer)
        if mode == "tolerant" and answer["techniques"]:
            expected["techniques"] = ("T1059.001",)
        assert read == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "no label"),
        ("label: Suspicious", "unknown label"),
        ("Label: suspicious", "other text"),
        ("label: suspicious, normal", "several labels"),
        ("label: suspicious\nlabel: suspicious", "other text"),
        ("The label: suspicious", "other text"),
        ("label: ", "other text"),
    ],
)
def test_strict_refuses(raw, reason):
    parsed = parse(raw, CHUNK, "strict")
    assert parsed.answer is None
    assert parsed.reason == reason


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        ("Label: Suspicious", "suspicious"),
        ("**Label** = SUSPICIOUS.", "suspicious"),
        ("I think that this chunk is normal", "normal"),
        ("label - normal activity of a user", "normal"),
        ("This is not suspicious but normal", "normal"),
        ("some words\nlabel: suspicious\nmore normal words", "suspicious"),
    ],
)
def test_tolerant_reads(raw, label):
    assert parse(raw, CHUNK, "tolerant").answer == {"label": (label,)}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("label: normal or suspicious", "several labels"),
        ("It is abnormal", "no label"),
        ("not suspicious", "no label"),
        ("", "no label"),
        ("\x00\x1b[31m", "no label"),
    ],
)
def test_tolerant_does_not_guess(raw, reason):
    parsed = parse(raw, CHUNK, "tolerant")
    assert parsed.answer is None
    assert parsed.reason == reason


def test_sets_are_in_the_grammars_order_and_strict_wants_no_label_twice():
    assert parse("techniques: T1059.001, T1003.001\nreason: x", NAMED, "strict").answer["techniques"] == (
        "T1003.001",
        "T1059.001",
    )
    assert parse("techniques: T1059, T1059\nreason: x", NAMED, "strict").reason == "several labels"


def test_unknown_techniques_are_told():
    strict = parse("techniques: T1059, T9999\nreason: x", NAMED, "strict")
    assert (strict.answer, strict.reason) == (None, "unknown label")
    tolerant = parse("techniques: t1059, T9999.001\nreason: x", NAMED, "tolerant")
    assert tolerant.answer == {"techniques": ("T1059",), "reason": ("x",)}
    assert tolerant.unknown == {"techniques": ("T9999.001",)}
    assert parse("techniques: T9999\nreason: x", NAMED, "tolerant").reason == "unknown label"
    assert parse("techniques: none\nreason: x", NAMED, "tolerant").answer["techniques"] == ()
    # Ids inside longer runs of characters are none.
    assert parse("techniques: AT1059 T10590\nreason: x", NAMED, "tolerant").reason == "no label"


def test_several_slots_on_one_line():
    answer = {"threat": ("credential theft",), "technique": ("T1003",), "severity": ("high",)}
    raw = "Threat: Credential theft; Technique: T1003 (OS Credential Dumping); Severity: HIGH"
    assert parse(raw, TRIAGE, "tolerant").answer == answer
    assert parse(raw, TRIAGE, "strict").answer is None
    # A line that names no slot gives to each what only it can be.
    assert parse("high severity credential theft, T1003", TRIAGE, "tolerant").answer == answer


@pytest.mark.parametrize("word", ["none", "N/A", "no technique"])
def test_no_technique_is_an_answer_where_it_is_a_label(word):
    answer = {"threat": ("benign",), "technique": ("none",), "severity": ("low",)}
    assert parse(f"threat: benign\ntechnique: {word}\nseverity: low", TRIAGE, "tolerant").answer == answer
    mixed = parse(f"threat: benign\ntechnique: {word}, T9999\nseverity: low", TRIAGE, "tolerant")
    assert mixed.reason == "unknown label"


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(raw):
    for grammar in (CHUNK, NAMED, TRIAGE):
        for mode in ("strict", "tolerant"):
            parsed = parse(raw, grammar, mode)
            assert (parsed.answer is None) == bool(parsed.reason)
            for slot in grammar.slots if parsed.answer else ():
                assert slot.kind == "text" or set(parsed.answer[slot.name]) <= set(slot.labels)
                assert slot.kind != "one" or len(parsed.answer[slot.name]) == 1


def test_what_is_a_technique():
    assert is_technique_set(("T1003", "T1059.001", "none"))
    assert not is_technique_set(("normal", "T1003"))
    assert not is_technique_set(("none",))
