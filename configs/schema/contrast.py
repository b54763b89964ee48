"""Configuration of the contrastive stage."""

from typing import Literal

from pydantic import Field, FilePath

from logfm.configs.base import Config


class ContrastConfig(Config):
    """Views of one event come together, other events apart (InfoNCE on pairs, as SimCSE; Gao et al., 2021).

    Two events of one template, values masked, never count as different. What a batch masks is predicted too, so that
    the encoder keeps what it learnt before.
    """

    events: int = Field(64, ge=2)
    """Pairs of a batch on one device."""
    sources: int = Field(4, ge=1)
    """Sources that a batch draws from: with few, most of what a pair is told apart from are other templates of its own
    source, the hard negatives."""
    temperature: float = Field(0.05, gt=0)
    """Cosines are divided by it."""
    max_tokens: int = Field(192, ge=8)
    """Tokens of a view; what is longer loses its end."""
    other_event: float = Field(0.5, ge=0, le=1)
    """Chance that the second view is of another event of the same template, where there is one."""
    templates: FilePath | None = None
    """Text file of known templates, such as a program's messages: one a line, `<*>` where a value stands. Lines of one
    count as the same event, whatever their values and headers; others by what is left when their values are masked."""
    swap: float = Field(0.7, ge=0, le=1)
    """Chance of each value to be replaced by another of its type; of the user and the host to be renamed."""
    drop: float = Field(0.15, ge=0, lt=1)
    """Chance of each field to be left out, and of a header without fields."""
    reorder: float = Field(0.3, ge=0, le=1)
    """Chance that the fields come in another order."""
    said: float = Field(0.0, ge=0, le=1)
    """Chance that the first view is what a JSON event says in plain words (its message, description or signature), and
    the second is without it: so plain words come to stand near the fields of what they describe."""
    shift_days: float = Field(365.0, ge=0)
    """Times of a view move by at most so many days, all alike."""
    masked_weight: float = Field(0.3, ge=0)
    """Weight of the masked-token loss on the second views; 0: nothing is masked."""
    projection: Literal["none", "centre", "whiten"] = "none"
    """A linear map behind the pooling, fitted on training events when training ends: it moves their mean to zero, or
    also evens out their directions. None keeps that of the encoder it starts from, if it has one, centred anew.
    sentence-transformers applies it too; the model stays plain."""
    whitening: float = Field(0.5, ge=0, le=1)
    """How far whitening goes: 0 only centres, 0.5 gives all directions the same variance."""
    projection_events: int = Field(20_000, ge=2)
    """Events that the map is fitted on."""
    most_events: int = Field(200_000, ge=2)
    """Events that are kept at hand, sampled evenly over sources and templates."""
