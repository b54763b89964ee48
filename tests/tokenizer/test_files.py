"""The folder: what reads it, and what is said when it is broken."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from tokenizers import Tokenizer

from logfm.errors import UserError
from logfm.tokenizer import LogTokenizer

TEXT = "[MASK] [CLS]x[SEP] sudo: jörg 😀\0  \n[PAD]"


@pytest.fixture
def copy(tokenizer: LogTokenizer, tmp_path: Path) -> Path:
    tokenizer.save(tmp_path / "copy")
    return tmp_path / "copy"


def test_save_keeps_the_identity(tokenizer: LogTokenizer, copy: Path) -> None:
    assert LogTokenizer.load(copy).hash == tokenizer.hash
    assert len(tokenizer.hash) == 64


def _change(name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_bytes(orjson.dumps(document))

    return apply


def _last_token_mixed(document: dict) -> None:
    vocabulary = document["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    document["model"]["merges"] = [pair for pair in document["model"]["merges"] if "".join(pair) != last]
    vocabulary["x:"] = vocabulary.pop(last)


def _without_a_byte(document: dict) -> None:
    vocabulary, merges = document["model"]["vocab"], document["model"]["merges"]
    document["model"]["merges"] = [pair for pair in merges if "~" not in "".join(pair)]
    vocabulary["zzzzzzzz"] = vocabulary.pop("~")


_TRUNCATION = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}


def _other_policy(document: dict) -> None:
    policy = document["policy"]
    policy["underscore"] = {"content": "delimiter", "delimiter": "content"}[policy["underscore"]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "not a logfm tokenizer"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda folder: (folder / "logfm_tokenizer.json").unlink(), "no logfm_tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"model": 1'), "damaged tokenizer"),
        (lambda folder: (folder / "tokenizer.json").write_bytes(b"\xff\xfe"), "damaged tokenizer"),
        (lambda folder: (folder / "logfm_tokenizer.json").write_text("{}"), "damaged tokenizer"),
        (_change("logfm_tokenizer.json", lambda d: d["delimiter_ids"].pop()), "mask does not fit"),
        (_change("logfm_tokenizer.json", lambda d: d["delimiter_ids"].append(10**9)), "mask does not fit"),
        (_change("logfm_tokenizer.json", lambda d: d["delimiter_ids"].append(-1)), "mask does not fit"),
        (
            _change("logfm_tokenizer.json", _other_policy),
            "mask does not fit",
        ),
        (_change("logfm_tokenizer.json", lambda d: d.update(format=2)), "damaged tokenizer"),
        (_change("tokenizer.json", _last_token_mixed), "mask does not fit"),
        (_change("tokenizer.json", lambda d: d["model"]["vocab"].pop("[PAD]")), "damaged tokenizer"),
        (_change("tokenizer.json", lambda d: d["model"]["vocab"].update({"日": 10**6})), "damaged tokenizer"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), r"no tokenizer_config\.json"),
        (lambda folder: (folder / "tokenizer_config.json").write_text(""), "damaged tokenizer"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("[]"), "damaged tokenizer"),
        (_change("tokenizer_config.json", lambda d: d.update(split_special_tokens=False)), "split_special_tokens"),
        (_change("tokenizer_config.json", lambda d: d.pop("mask_token")), r"changed \(mask_token\)"),
        (_change("tokenizer.json", _without_a_byte), "damaged tokenizer"),
        (_change("tokenizer.json", lambda d: d.update(normalizer={"type": "Lowercase"})), r"changed \(normalizer\)"),
        (_change("tokenizer.json", lambda d: d.update(pre_tokenizer=None)), r"changed \(pre_tokenizer\)"),
        (_change("tokenizer.json", lambda d: d.update(post_processor=None)), r"changed \(post_processor\)"),
        (_change("tokenizer.json", lambda d: d.update(truncation=_TRUNCATION)), r"changed \(truncation\)"),
        (_change("tokenizer.json", lambda d: d["model"].update(dropout=0.5)), r"changed \(model\.dropout\)"),
    ],
)
def test_broken_folders_are_one_line_errors(copy: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copy)
    with pytest.raises(UserError, match=message) as caught:
        LogTokenizer.load(copy)
    assert "\n" not in str(caught.value)


def test_what_transformers_saved_is_refused_for_text_would_become_special(copy: Path) -> None:
    transformers = pytest.importorskip("transformers")
    settings = (copy / "tokenizer_config.json").read_bytes()
    transformers.AutoTokenizer.from_pretrained(copy).save_pretrained(copy)
    with pytest.raises(UserError, match="was changed") as caught:
        LogTokenizer.load(copy)
    assert "\n" not in str(caught.value)
    (copy / "tokenizer_config.json").write_bytes(settings)
    with pytest.raises(UserError, match=r"changed \(added_tokens\)"):
        LogTokenizer.load(copy)


def test_further_settings_of_transformers_may_stand_there(copy: Path, tokenizer: LogTokenizer) -> None:
    _change("tokenizer_config.json", lambda d: d.update(model_max_length=512))(copy)
    assert LogTokenizer.load(copy).hash == tokenizer.hash


def test_another_models_tokenizer_is_refused(copy: Path) -> None:
    (copy / "tokenizer.json").write_text(Tokenizer.from_str(_WORDPIECE).to_str())
    with pytest.raises(UserError, match="damaged tokenizer"):
        LogTokenizer.load(copy)


_WORDPIECE = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [],
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "a": 1},
        },
    }
)


def test_raw_tokenizers_makes_nothing_special(tokenizer: LogTokenizer, folder: Path) -> None:
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.encode_batch([TEXT])[0].tolist()
    assert raw.encode(TEXT).ids == [tokenizer.cls_id, *ids, tokenizer.sep_id]


@pytest.mark.parametrize("beside", [None, {"model_type": "deberta-v2"}])
def test_opens_in_transformers(tokenizer: LogTokenizer, copy: Path, beside: dict | None, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    if beside is not None:
        (copy / "config.json").write_text(json.dumps(beside))
    opened = transformers.AutoTokenizer.from_pretrained(copy)
    opened.save_pretrained(tmp_path / "again")
    ids = tokenizer.encode_batch([TEXT])[0].tolist()
    for one in (opened, transformers.AutoTokenizer.from_pretrained(tmp_path / "again")):
        assert one.is_fast and len(one) == tokenizer.vocab_size
        special = [one.pad_token_id, one.cls_token_id, one.sep_token_id, one.unk_token_id, one.mask_token_id]
        assert special == [0, 1, 2, 3, 4]
        assert one(TEXT)["input_ids"] == [1, *ids, 2]
        assert one([TEXT, "x"], padding=True)["input_ids"][0] == [1, *ids, 2]
        assert one(TEXT, "x")["input_ids"][: len(ids) + 2] == [1, *ids, 2]
        assert one.decode([1, *ids, 2], skip_special_tokens=True) == TEXT
        offsets = one(TEXT, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        assert offsets == tokenizer.spans(TEXT)
        assert one.encode(TEXT, truncation=True, max_length=4) == [1, *ids[:2], 2]


def test_opens_in_sentence_transformers(tokenizer: LogTokenizer, copy: Path, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    transformers = pytest.importorskip("transformers")
    from sentence_transformers import SentenceTransformer

    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    transformers.BertModel(config).save_pretrained(copy)
    model = SentenceTransformer(str(copy))
    model.save(str(tmp_path / "st"))
    ids = tokenizer.encode_batch([TEXT])[0].tolist()
    for one in (model, SentenceTransformer(str(tmp_path / "st"))):
        assert one.tokenizer([TEXT])["input_ids"][0] == [1, *ids, 2]
        features = one.preprocess([TEXT]) if hasattr(one, "preprocess") else one.tokenize([TEXT])
        assert features["input_ids"][0].tolist() == [1, *ids, 2]
