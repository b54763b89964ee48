"""Configuration of `logfm quickstart`: the sections of every stage, in one file."""

from pathlib import Path

from pydantic import Field

from logfm.configs.base import Config
from logfm.configs.schema.contrast import ContrastConfig
from logfm.configs.schema.corpus import CorpusConfig
from logfm.configs.schema.embeddings import DetectConfig, EncoderConfig, IndexConfig
from logfm.configs.schema.evaluation import ComparisonConfig, TemplateConfig
from logfm.configs.schema.pretrain import DataConfig, MaskingConfig, ModelConfig, TrainConfig
from logfm.configs.schema.simulate import SimulateConfig
from logfm.configs.schema.tokenizer import TokenizerConfig


class ReportConfig(Config):
    """What the report shows."""

    searches: int = Field(3, ge=0)
    """Searches shown."""
    hits: int = Field(5, ge=1)
    """Hits shown of each, with different texts."""
    map_points: int = Field(3000, ge=0)
    """Events drawn on the map."""


class QuickstartConfig(Config):
    """From logs to a report, in a few minutes on a CPU."""

    seed: int = Field(0, ge=0)
    """Seed of every stage."""
    simulate: SimulateConfig = SimulateConfig()
    """The telemetry that is made where no input is given."""
    corpus: CorpusConfig = CorpusConfig()
    """Reading and deduplication."""
    start: Path | None = None
    """The encoder that goes on learning: nano, the one that ships, or a folder. Tokenizer and sizes are then its."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """The tokenizer, where none is given."""
    model: ModelConfig = ModelConfig()
    """Sizes of the encoder, where none is given."""
    contrast: ContrastConfig | None = None
    """Train on pairs of views: for an encoder that has been trained by masked tokens."""
    masking: MaskingConfig = MaskingConfig()
    """The objective."""
    data: DataConfig = DataConfig()
    """Token shards and batches."""
    train: TrainConfig = TrainConfig(minutes=2.5)
    """The training run."""
    encoder: EncoderConfig = EncoderConfig()
    """How events are encoded for index, anomalies and map."""
    index: IndexConfig = IndexConfig()
    """The search index."""
    detect: DetectConfig = DetectConfig()
    """The anomalies."""
    templates: TemplateConfig = TemplateConfig()
    """Relevance in the comparison with TF-IDF."""
    comparison: ComparisonConfig = ComparisonConfig()
    """The comparison with TF-IDF."""
    report: ReportConfig = ReportConfig()
    """The report."""
