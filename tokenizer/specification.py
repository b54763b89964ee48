"""What tokenizer.json says beside the vocabulary: the same for every tokenizer of a policy."""

from typing import Any

import orjson
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from logfm.configs.schema.tokenizer import PolicyConfig
from logfm.tokenizer.pieces import SPECIAL_TOKENS
from logfm.tokenizer.policy import pattern


def pre_tokenizer(policy: PolicyConfig) -> pre_tokenizers.PreTokenizer:
    """Cut by the policy, then write bytes as characters."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern(policy)), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False, trim_offsets=False),
        ]
    )


def finish(specification: dict[str, Any], size: int) -> dict[str, Any]:
    """Cut a trained tokenizer.json to `size` tokens and give it the template `[CLS] $A [SEP]`.

    Special tokens stay in the vocabulary but out of `added_tokens`, which `tokenizers` would look for in
    every text: their text inside a log then stays text, whoever opens the file.
    """
    model = specification["model"]
    vocabulary = {token: index for token, index in model["vocab"].items() if index < size}
    model["merges"] = [
        (left, right) for left, right in model["merges"] if {left, right, left + right} <= vocabulary.keys()
    ]
    model["vocab"] = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    specification["added_tokens"] = []
    specification["post_processor"] = _template()
    return specification


def foreign_part(backend: Tokenizer, policy: PolicyConfig) -> str | None:
    """The first part of an opened tokenizer.json that is not as `finish` writes it; None where all are.

    A normaliser or a truncation would lose text, a dropout would make ids random, and added tokens would be found
    inside logs: what transformers' `save_pretrained` writes has them.
    """
    empty = Tokenizer(models.BPE())
    empty.pre_tokenizer = pre_tokenizer(policy)
    empty.decoder = decoders.ByteLevel()
    # Both through the installed library, which may write a part otherwise than the one that trained.
    expected = Tokenizer.from_str(orjson.dumps(finish(orjson.loads(empty.to_str()), 0)).decode())
    ours, theirs = (_parts(orjson.loads(one.to_str())) for one in (expected, backend))
    return next((name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)), None)


def _parts(specification: dict[str, Any]) -> dict[str, Any]:
    model = specification.pop("model")
    return specification | {f"model.{name}": model[name] for name in model.keys() - {"vocab", "merges"}}


def _template() -> dict[str, Any]:
    _, cls, sep, _, _ = SPECIAL_TOKENS

    def special(token: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": 0}}

    first, second = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 0)))
    return {
        "type": "TemplateProcessing",
        "single": [special(cls), first, special(sep)],
        "pair": [special(cls), first, special(sep), second, special(sep)],
        "special_tokens": {
            token: {"id": token, "ids": [SPECIAL_TOKENS.index(token)], "tokens": [token]} for token in (cls, sep)
        },
    }
