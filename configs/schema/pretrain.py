"""Configuration of pretraining: the model, the objective, the optimiser, the run."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from logfm.configs.base import Config
from logfm.configs.schema.contrast import ContrastConfig

_Decay = Annotated[float, Field(ge=0, lt=1)]


class ModelConfig(Config):
    """Sizes of a DeBERTa-v2 encoder (He et al., 2021). The vocabulary's size comes from the tokenizer."""

    hidden_size: int = Field(256, gt=0)
    """Width of the hidden states."""
    layers: int = Field(4, gt=0)
    """Number of transformer layers."""
    heads: int = Field(4, gt=0)
    """Attention heads; must divide `hidden_size`."""
    intermediate_size: int = Field(1024, gt=0)
    """Width of the feed-forward layers."""
    position_buckets: int = Field(64, gt=1)
    """Relative-position buckets a direction; distances below half of it are exact, larger ones logarithmic."""
    max_relative_positions: int = Field(2048, gt=1)
    """Distance in tokens at which the last bucket ends. Frozen with the model."""
    max_tokens: int = Field(48_000, gt=2)
    """Longest input in tokens that the model accepts."""
    decoder_layers: int = Field(1, ge=0)
    """Layers of the enhanced mask decoder, which predicts masked tokens and is no part of the embedding; 0: none."""

    @model_validator(mode="after")
    def _divides(self) -> "ModelConfig":
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not divisible by heads {self.heads}")
        if self.max_relative_positions <= self.position_buckets // 2 + 1:
            raise ValueError("max_relative_positions must exceed half of position_buckets")
        return self


class MaskingConfig(Config):
    """Delimiter-aware masking (SecEncoder, section 3.3.1): only content tokens are masked."""

    share: float = Field(0.3, gt=0, lt=1)
    """Share of an event's content tokens that are masked in training."""
    validation_share: float = Field(0.15, gt=0, lt=1)
    """The same in validation."""
    random_share: float = Field(0.1, ge=0, lt=1)
    """Of the chosen tokens, the share replaced by a random content token instead of [MASK]."""
    keep_share: float = Field(0.1, ge=0, lt=1)
    """Of the chosen tokens, the share left as it is."""
    delimiters: bool = False
    """Mask delimiter tokens too in training (uniform masking, the baseline); validation hides content tokens only."""
    whole_words: bool = False
    """Mask whole fields, in training and in validation: all tokens of one between two delimiters, or none."""

    @model_validator(mode="after")
    def _has_fields(self) -> "MaskingConfig":
        if self.whole_words and self.delimiters:
            raise ValueError("whole_words needs delimiters between words: set delimiters to false")
        if self.random_share + self.keep_share > 1:
            raise ValueError("random_share and keep_share exceed the chosen tokens")
        return self


class DataConfig(Config):
    """How a corpus becomes token shards and batches."""

    view: str | None = "exact"
    """Deduplicated view of the corpus to train on; null takes the full stream."""
    max_tokens: int = Field(512, gt=2)
    """Longest training sequence in tokens; longer events are cut into pieces, none is dropped."""
    validation_share: float = Field(0.05, gt=0, lt=0.5)
    """Share of each source's events, the latest, that is held out."""
    source_events: int | None = Field(None, gt=0)
    """At most so many training events of one source, evenly spaced over it, so that a large one does not drown the
    others; null takes all."""
    tokens_per_batch: int = Field(8192, gt=0)
    """Tokens of a batch on one device, [CLS] and [SEP] included."""
    validation_tokens: int = Field(100_000, gt=0)
    """At most so many tokens are used for one validation."""


class TrainConfig(Config):
    """Optimisation and the run. It ends at the first of `steps`, `epochs` and `minutes` that is reached."""

    steps: int | None = Field(None, gt=0)
    """Optimizer steps at most."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the training tokens at most."""
    minutes: float | None = Field(None, gt=0)
    """Minutes of training at most; the learning-rate schedule follows the clock when it is the nearest limit."""
    accumulate: int = Field(1, gt=0)
    """Batches whose gradients are averaged before an optimizer step."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    warmup_share: float = Field(0.05, ge=0, lt=1)
    """Share of the run with a rising learning rate."""
    decay_share: float = Field(0.3, ge=0, le=1)
    """Share of the run, at its end, in which the learning rate falls to zero."""
    betas: tuple[_Decay, _Decay] = (0.9, 0.98)
    """AdamW's decay rates."""
    weight_decay: float = Field(1e-5, ge=0)
    """AdamW's weight decay; none on norms and biases."""
    gradient_clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto"
    """Numeric precision of the products. auto: bfloat16 on GPUs and for several processes; for one on a CPU that or
    float32, whichever this machine multiplies faster, tried when the run begins and kept until it ends. `logfm plan`
    counts float32 there, which takes more memory."""
    compile: bool = False
    """Compile the layers with `torch.compile`: fewer passes over memory, after minutes of compiling. Needs a C++
    compiler on the CPU, Triton on a GPU."""
    activation_checkpointing: bool = False
    """Compute each layer twice instead of keeping its activations: less memory, about a quarter more time."""
    strategy: Literal["auto", "ddp", "deepspeed"] = "auto"
    """How several devices share the work."""
    zero_stage: Literal[1, 2, 3] = 2
    """DeepSpeed ZeRO stage."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """What to train on."""
    devices: int = Field(1, gt=0)
    """Processes on this machine."""
    nodes: int = Field(1, gt=0)
    """Machines."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What DeepSpeed keeps in the host's memory instead of the GPU's: the optimizer's state, or, with ZeRO stage 3,
    that and the parameters. Changes nothing on a CPU."""
    timeout_minutes: float = Field(10.0, gt=0)
    """Minutes that a process waits for the others before the run ends with an error."""
    validate_every: int = Field(200, gt=0)
    """Optimizer steps between validations."""
    checkpoint_every: int = Field(100, gt=0)
    """Optimizer steps between checkpoints."""
    patience: int | None = Field(None, gt=0)
    """Validations in a row without a lower loss after which the run ends. It then exports the weights of its best
    validation; a run that ends at a limit exports its last ones, which the learning-rate decay has reached."""
    spike_factor: float | None = Field(50.0, gt=1)
    """A step whose gradient norm is above so many times the running median is a spike: it is not taken, and a second
    one in a row returns the run to its last checkpoint. Null: only what is not finite."""
    spike_sigma: float | None = Field(6.0, gt=0)
    """The same for a loss so many standard deviations above its running median."""
    max_spikes: int = Field(20, ge=0)
    """Spikes after which the run fails."""
    peak_flops: float | None = Field(None, gt=0)
    """FLOP/s of one device at the run's precision, for the model FLOP utilisation; by default known or measured."""
    logger: Literal["tensorboard", "wandb", "mlflow", "none"] = "tensorboard"
    """Where metrics go besides history.jsonl. The services are set up by their own environment variables: W&B by
    WANDB_MODE, WANDB_PROJECT and others, MLflow by MLFLOW_TRACKING_URI, which it needs."""

    @model_validator(mode="after")
    def _ends(self) -> "TrainConfig":
        if self.steps is None and self.epochs is None and self.minutes is None:
            raise ValueError("give one of steps, epochs and minutes, or the run never ends")
        if self.warmup_share + self.decay_share > 1:
            raise ValueError("warmup_share and decay_share exceed the run")
        if self.compile and self.strategy == "deepspeed" and self.zero_stage == 3:
            raise ValueError("compile does not go with zero_stage 3, which gathers weights as modules are called")
        if self.offload != "none" and self.strategy != "deepspeed":
            raise ValueError("offload needs strategy deepspeed")
        if self.offload == "parameters" and self.zero_stage != 3:
            raise ValueError("offload of parameters needs zero_stage 3")
        return self


class StartConfig(Config):
    """Continued pretraining: a published encoder, taught new telemetry without losing the old."""

    encoder: Path
    """Exported encoder folder to start from, or nano, the one that ships; the model's sizes are its."""
    replay: Path | None = None
    """Corpus of old data, made by `logfm corpus build`. Its held-out events show what was lost; with the `data` of the
    encoder's own run they are events that the encoder never trained on."""
    replay_share: float = Field(0.25, ge=0, lt=1)
    """Share of the training tokens, in every batch, that is drawn from `replay`; 0 only measures."""


class PretrainConfig(Config):
    """One pretraining run: from a corpus and a tokenizer to an encoder, under `out`."""

    corpus: Path
    """Folder made by `logfm corpus build`."""
    tokenizer: Path
    """Folder made by `logfm tokenizer train`, an encoder folder, or nano, the encoder that ships."""
    out: Path
    """Folder to write: tokens/, run/ and encoder/."""
    seed: int = Field(0, ge=0)
    """Seed of the weights, the order of the data, and the masks."""
    model: ModelConfig = ModelConfig()
    masking: MaskingConfig = MaskingConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig(epochs=10)
    start: StartConfig | None = None
    """Continue from an encoder instead of random weights; `tokenizer` is then the encoder's own (its folder holds it)
    or one made from it by `logfm tokenizer extend`."""
    contrast: ContrastConfig | None = None
    """Train on pairs of views instead of masked tokens alone: the second stage, from the encoder that `start` names."""
    resume: Path | None = None
    """Folder made by `logfm export --world-size`: go on with an unfinished run on another number of processes."""

    @model_validator(mode="after")
    def _starts(self) -> "PretrainConfig":
        if self.data.max_tokens > self.model.max_tokens:
            raise ValueError(f"data.max_tokens {self.data.max_tokens} exceeds model.max_tokens {self.model.max_tokens}")
        if self.contrast is not None and self.start is None:
            raise ValueError("contrast is a second stage: give start.encoder")
        sharded = self.train.strategy == "deepspeed" and self.train.zero_stage == 3
        if self.contrast is not None and self.contrast.projection != "none" and sharded:
            raise ValueError("contrast.projection needs all weights in one place: train.zero_stage below 3")
        if self.contrast is not None and self.start is not None and self.start.replay and self.start.replay_share:
            raise ValueError("contrast replays nothing: set start.replay_share to 0, and start.replay only measures")
        return self
