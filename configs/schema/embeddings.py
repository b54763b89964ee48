"""Configuration of the frozen encoder at work: encoding, indexes, detectors."""

from typing import Literal

from pydantic import Field

from logfm.configs import Config


class EncoderConfig(Config):
    """How texts become vectors, whatever the encoder."""

    backend: Literal["torch", "onnx", "onnx-int8"] = "torch"
    """What runs an encoder folder: PyTorch, or ONNX Runtime on the files that `logfm export --onnx --int8` writes.
    8-bit vectors have a hash of their own."""

    layers: str = Field(default="last", pattern=r"^(last|[0-9]{1,4}|last:[1-9][0-9]{0,3})$")
    """Whose states become the vector (encoders trained by logfm): the last layer's, those of a layer by its number (1 is
    the first, 0 what goes into it), or, as last:N, the mean of the last N."""

    pooling: Literal["mean", "first", "max"] = "mean"
    """How the states of a text's tokens become one (encoders trained by logfm): their mean, that of [CLS], or the maximum
    of each dimension."""

    truncation: Literal["error", "head", "head_tail", "chunk"] = "head"
    """What happens to a text longer than the encoder reads: refuse it, keep its beginning, keep its beginning and its
    end, or encode consecutive pieces and average them by their tokens. How many were cut is always counted."""

    max_tokens: int | None = Field(default=None, ge=2)
    """A shorter limit than the encoder's own (tokens, special ones not counted)."""

    tokens_per_batch: int = Field(default=16_384, ge=1)
    """Tokens of a batch, padding included; a longer text is a batch of its own."""

    bf16: bool = False
    """Products in bfloat16 (encoders trained by logfm): about twice as fast where the processor has them."""

    tfidf_dim: int = Field(default=256, ge=1)
    """Dimensions that TF-IDF is reduced to."""

    tfidf_terms: int = Field(default=50_000, ge=1)
    """Most frequent terms that TF-IDF keeps."""

    http_timeout: float = Field(default=30.0, gt=0)
    """A remote encoder's time for one answer (seconds)."""

    http_attempts: int = Field(default=5, ge=1)
    """Requests made for one batch before a remote encoder counts as down."""

    http_texts: int = Field(default=256, ge=1, le=2048)
    """Texts in one request at most."""

    http_bytes: int = Field(default=1_000_000, ge=1)
    """UTF-8 bytes of text in one request at most; a longer text is a request of its own."""


class IndexConfig(Config):
    """Which FAISS index is built, and how. All rank by cosine."""

    kind: Literal["auto", "flat", "hnsw", "ivfpq"] = "auto"
    """flat is exact; hnsw is a graph over whole vectors; ivfpq holds compressed vectors; auto chooses by size."""

    flat_up_to: int = Field(default=50_000, ge=0)
    """Events up to which auto takes flat."""

    hnsw_up_to: int = Field(default=2_000_000, ge=0)
    """Events up to which auto takes hnsw."""

    links: int = Field(default=32, ge=2)
    """Links a node of the hnsw graph."""

    breadth: int = Field(default=128, ge=1)
    """Candidates that hnsw holds while it builds and searches."""

    bm25: bool = True
    """Keep the words of the events too, for search by BM25 and hybrid search."""

    fit_texts: int = Field(default=20_000, ge=1)
    """Texts from the start of the input that tfidf is fitted on."""

    recall_queries: int = Field(default=200, ge=1)
    """Stored events that are searched for at the end of a build, to compare with the exact answer."""

    seed: int = Field(default=0, ge=0)
    """Seed of the training sample of ivfpq and of the recall queries."""


class DetectConfig(Config):
    """Unsupervised detection on embeddings."""

    method: str = "iforest"
    """A detector of PyOD by the name of its module (iforest, knn, ecod, lof, ...)."""

    contamination: float = Field(default=0.01, gt=0, le=0.5)
    """Share of the events it is fitted on that lie above the threshold."""

    top: int = Field(default=20, ge=1)
    """Different texts that are reported, the most abnormal first."""

    tokens: int = Field(default=5, ge=0)
    """Most surprising tokens that are reported of each (encoders trained by logfm only)."""

    fit_texts: int = Field(default=20_000, ge=1)
    """Texts from the start of the baseline, or of the input, that tfidf is fitted on."""

    seed: int = Field(default=0, ge=0)
    """Random state of the detector."""
