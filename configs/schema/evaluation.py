"""Configuration of the evaluation: relevance labels, pairs, search, intervals."""

from pydantic import Field

from logfm.configs.base import Config


class TemplateConfig(Config):
    """Drain (He et al., 2017), which says which lines are relevant to each other (SecEncoder, section 4.2.1)."""

    depth: int = Field(4, ge=3)
    """Levels of Drain's prefix tree, the root and the leaves included."""
    similarity: float = Field(0.4, gt=0, le=1)
    """Share of equal words from which a message joins a cluster."""
    max_message: int = Field(4096, gt=0)
    """Characters of a message that are looked at."""


class StatisticsConfig(Config):
    """Bootstrap over templates: lines of one template are not independent."""

    resamples: int = Field(1000, ge=100)
    """Bootstrap resamples."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """Level of the intervals; a difference counts when its adjusted p is at most 1 - confidence."""


class SimilarityConfig(Config):
    """Log similarity (SecEncoder, section 4.2.1)."""

    pairs: int = Field(1000, gt=0)
    """Positive pairs, and as many negative ones."""


class SearchConfig(Config):
    """Log search (SecEncoder, section 4.2.2)."""

    recall_at: tuple[int, ...] = (1, 10, 100)
    """Ranks at which recall is taken."""
    chunk_bytes: int = Field(64 * 2**20, gt=0)
    """Largest block of similarities held at a time, in bytes."""


class ComparisonConfig(Config):
    """Encoders beside TF-IDF and random vectors, on the same lines."""

    seed: int = 0
    """Seed of the sample, the halves, the pairs, the random vectors and the bootstrap."""
    max_lines: int = Field(4000, ge=4)
    """Distinct lines that are evaluated; more are sampled down."""
    similarity: SimilarityConfig = SimilarityConfig()
    """Log similarity."""
    search: SearchConfig = SearchConfig()
    """Log search."""
    statistics: StatisticsConfig = StatisticsConfig()
    """Intervals and tests."""
