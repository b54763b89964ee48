"""Configuration of the frozen encoder at work: encoding, indexes, detectors."""

from typing import Literal

from pydantic import Field

from logfm.configs import Config


class EncoderConfig(Config):
    """How texts become vectors, whatever the encoder."""

    backend: Literal["auto", "torch", "onnx", "onnx-int8"] = "auto"
    """What runs an encoder folder: PyTorch, or ONNX Runtime on the files that `logfm export --onnx --int8` writes.
    8-bit vectors have a hash of their own. auto: onnx-int8 where the folder has that file, ONNX Runtime is installed,
    no GPU is at hand, `bf16` is not asked for and `max_tokens` is within what a graph reads; else torch."""

    layers: str = Field(default="last", pattern=r"^(last|[0-9]{1,4}|last:[1-9][0-9]{0,3})$")
    """Whose states become the vector (encoders trained by logfm): the last layer's, those of a layer by its number (1
    is the first, 0 what goes into it), or, as last:N, the mean of the last N."""

    pooling: Literal["mean", "first", "max"] = "mean"
    """How the states of a text's tokens become one (encoders trained by logfm): their mean, that of [CLS], or the
    maximum of each dimension."""

    truncation: Literal["error", "head", "head_tail", "chunk"] = "head"
    """What happens to a text longer than the encoder reads: refuse it, keep its beginning, keep its beginning and its
    end, or encode consecutive pieces and average them by their tokens. How many were cut is always counted."""

    max_tokens: int | None = Field(default=None, ge=2)
    """Tokens read of a text, special ones not counted: fewer than the encoder was trained on, or more, up to its
    positions (ONNX files read at most 4,094). By default what it was trained on."""

    tokens_per_batch: int = Field(default=16_384, ge=1)
    """Tokens of a batch, padding included; a longer text is a batch of its own."""

    bf16: bool = False
    """Products in bfloat16 (encoders trained by logfm): about twice as fast on some processors, half as fast on
    others."""

    reads: Literal["line", "message"] = "line"
    """What of a text is encoded: all of it, or what stands behind its header (time, host, process, level), so that
    lines that say the same at another time are encoded once and have one vector. JSON and what has no header stay
    whole."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where an encoder folder, `st:` or `hf:` is computed; auto: on a GPU where there is one."""

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
    """flat is exact; hnsw is a graph over whole vectors; ivfpq holds compressed vectors in memory and ranks what they
    find by the whole ones on disk; auto chooses by size."""

    flat_up_to: int = Field(default=50_000, ge=0)
    """Different vectors up to which auto takes flat."""

    hnsw_up_to: int = Field(default=2_000_000, ge=0)
    """Different vectors up to which auto takes hnsw, and never fewer than ivfpq needs (9,984)."""

    links: int = Field(default=32, ge=2)
    """Links a node of the hnsw graph."""

    breadth: int = Field(default=128, ge=1)
    """Candidates that hnsw holds while it builds and searches."""

    bm25: bool = True
    """Keep the words of the events too, for search by BM25 and hybrid search."""

    fit_texts: int = Field(default=20_000, ge=1)
    """Texts from the start of the input that tfidf is fitted on."""

    recall_queries: int = Field(default=200, ge=1)
    """Different stored vectors that are searched for at the end of a build, to compare with the exact answer."""

    seed: int = Field(default=0, ge=0)
    """Seed of the training sample of ivfpq and of the recall queries."""


class ConadConfig(Config):
    """The graph neural network of `--method conad`."""

    edge_share: float = Field(default=0.01, gt=0, le=1)
    """Share of all pairs of different vectors, the nearest ones, that are joined by an edge."""

    dense_up_to: int = Field(default=2_000, ge=2)
    """Different vectors up to which PyOD's own class is trained, whose matrices hold n² numbers (16 MB each here)."""

    sampled_rows: int = Field(default=512, ge=1)
    """Above that: nodes whose edges are predicted in one step of the training."""

    hidden: int = Field(default=64, ge=1)
    """Width of the graph convolutions."""

    epochs: int = Field(default=100, ge=1)
    """Steps of the training; each sees the whole graph."""


class LanobertConfig(Config):
    """Surprise as a score: `--method lanobert`."""

    top: int = Field(default=5, ge=1)
    """Most surprising content tokens of an event whose mean is its score."""


class LogbertConfig(Config):
    """The transformer over sequences of log keys of `--method logbert`, small because it is trained on the spot."""

    candidates: int = Field(default=9, ge=1)
    """Keys that are expected at a place (the paper's g): an event whose own key is not among them is a miss."""

    window: int = Field(default=64, ge=2)
    """Events of a session that are read at once; longer sessions are cut into windows."""

    hidden: int = Field(default=64, ge=4, multiple_of=4)
    """Width of the transformer, which has two layers and four heads."""

    mask_share: float = Field(default=0.25, gt=0, lt=1)
    """Share of the keys that are masked at once."""

    sphere_weight: float = Field(default=0.1, ge=0)
    """Weight of the distance to the centre in the loss (the paper's alpha)."""

    keys: int = Field(default=4_096, ge=1)
    """Most frequent keys of the normal events that are told apart; all others count as unknown."""

    steps: int = Field(default=600, ge=1)
    """Optimizer steps of the training."""

    batch: int = Field(default=32, ge=1)
    """Windows of a step."""

    learning_rate: float = Field(default=2e-3, gt=0)
    """AdamW's rate at its peak; it falls to zero along a cosine."""


class DetectConfig(Config):
    """Unsupervised detection on embeddings."""

    method: str | None = None
    """nearest, conad, lanobert, logbert, or a detector of PyOD by the name of its module (iforest, knn, ecod, lof,
    ...). By default nearest with a baseline, iforest without."""

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

    conad: ConadConfig = ConadConfig()
    lanobert: LanobertConfig = LanobertConfig()
    logbert: LogbertConfig = LogbertConfig()


class PatternsConfig(Config):
    """The rows of a table that fit its patterns worst."""

    top: int = Field(default=5, ge=1)
    """Different texts that each way of looking names."""

    text_columns: tuple[str, ...] | None = None
    """Columns that hold free text, to be embedded. By default those whose values are mostly several words."""

    trees: int = Field(default=200, ge=1)
    """Trees of each Isolation Forest."""

    components: int = Field(default=16, ge=1)
    """Principal components of the embeddings that stand beside the structured columns when both are used: random
    trees would rarely look at ten columns among hundreds of dimensions."""

    fit_texts: int = Field(default=20_000, ge=1)
    """Texts from the start of the input that tfidf is fitted on."""

    seed: int = Field(default=0, ge=0)
    """Random state of the forests."""


class SubsampleConfig(Config):
    """A few events that differ the most."""

    events: int | None = Field(default=None, ge=1)
    """Events to choose at most. By default 10, and without a limit where there is a budget of tokens."""

    tokens: int | None = Field(default=None, ge=1)
    """Tokens that they may have together, as a language model counts them."""

    bytes_per_token: float = Field(default=2.0, gt=0)
    """UTF-8 bytes of a token, line end included: logs are dense, prose has about 4."""

    fit_texts: int = Field(default=20_000, ge=1)
    """Texts from the start of the input that tfidf is fitted on."""


class ServeConfig(Config):
    """Limits of a server."""

    most_bytes: int = Field(default=16 << 20, ge=1)
    """Bytes of a request's body."""

    most_texts: int = Field(default=2048, ge=1)
    """Texts of one request for vectors."""

    most_characters: int = Field(default=1 << 20, ge=1)
    """Characters of one text: with `--truncation chunk` all of them are read."""
