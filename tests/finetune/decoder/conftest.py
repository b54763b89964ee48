"""A small random language model, Llama by default, with a tokenizer, and cases that it can learn."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logfm.finetune.decoder.answers import Case, Grammar, Slot

CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WORDS = ("verdict:", " normal", " suspicious", "techniques:", "reason:", " T1059", ".001", "cmd.exe", "backup", "login")


def write_base(
    folder: Path, *, seed: int = 0, chat: str | None = CHAT, positions: int = 512, kind: str = "Llama"
) -> Path:
    """A model's folder in Hugging Face's format: three layers, 48 wide, 4 heads of which 2 share a key."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>", bos_token="<|im_start|>"
    )
    fast.chat_template = chat
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(fast),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        initializer_range=0.1,
        pad_token_id=None,
    )
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if name.endswith("bias"):  # they begin at zero, where one that is forgotten shows nowhere
                one.normal_(std=0.1)
    model.save_pretrained(folder, safe_serialization=True)
    assert json.loads((folder / "config.json").read_text())["model_type"] == kind.lower()
    return folder


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder."""
    return write_base(tmp_path_factory.mktemp("decoder") / "base")


CHUNKS = Grammar((Slot("verdict", "one", ("normal", "suspicious")),))
TECHNIQUES = Grammar((Slot("techniques", "set", ("T1003", "T1059", "T1059.001", "T1105")), Slot("reason", "text")))
TRIAGE = Grammar(
    (
        Slot("threat", "one", ("access", "activity", "impact")),
        Slot("technique", "one", ("T1003", "T1059", "none")),
        Slot("severity", "one", ("high", "low")),
    )
)


def make_verdicts(count: int, seed: int) -> list[Case]:
    """Cases whose verdict a word in them says."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        bad = bool(rng.integers(2))
        lines = [f"login {rng.integers(100)} backup" for _ in range(int(rng.integers(1, 5)))]
        lines[int(rng.integers(len(lines)))] += " cmd.exe" if bad else " report"
        verdict = "suspicious" if bad else "normal"
        head = {"session": f"S{number}", "events": str(len(lines))}
        answer = {"verdict": (verdict,)}
        ids = (f"{seed}-{number}",)
        found.append(Case(f"c{seed}-{number}", f"g{number % 7}", "made", "\n".join(lines), head, ids, answer))
    return found


@pytest.fixture(scope="session")
def verdicts() -> Callable[[int, int], list[Case]]:
    """Makes so many cases of a seed."""
    return make_verdicts
