"""What a run learns from: token shards and samples of views, made by the first process while the others wait."""

import time
from collections.abc import Callable
from pathlib import Path

from logfm.artifacts import Manifest, partial_folder
from logfm.configs.schema.contrast import ContrastConfig
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.corpus.store import Corpus
from logfm.errors import LogfmError
from logfm.pretrain.continuing import Start
from logfm.pretrain.contrast.texts import build_texts, finished_texts
from logfm.pretrain.strategy import global_rank
from logfm.pretrain.tokens import build_tokens, finished_tokens, take_tokens
from logfm.tokenizer import LogTokenizer

TOKENS, REPLAY, VIEWS = "tokens", "replay", "views"
_WAIT_SECONDS = 3600.0


def prepare(
    config: PretrainConfig, tokenizer: LogTokenizer, start: Start | None, older: Path | None
) -> dict[str, Manifest]:
    """What the run learns from: the token shards, made where they are missing, and the encoder it starts from."""
    sources = {"tokens": _tokens(config.corpus, tokenizer, TOKENS, config, older)}
    if config.contrast is not None:
        sources["views"] = _views(config, config.contrast)
    if start is not None:
        sources["encoder"] = start.manifest
        if start.config.replay is not None:
            sources["replay"] = _tokens(start.config.replay, tokenizer, REPLAY, config, older)
    return sources


def learnt_from(config: PretrainConfig, start: Start | None) -> list[Path]:
    """Folders whose contamination indexes say together what templates the encoder will have seen."""
    if start is None:
        return [config.corpus]
    replay = [] if start.config.replay is None else [start.config.replay]
    return [config.corpus, *replay, start.config.encoder]


def _tokens(corpus: Path, tokenizer: LogTokenizer, name: str, config: PretrainConfig, older: Path | None) -> Manifest:
    opened, folder = Corpus.open(corpus), config.out / name
    if global_rank() == 0:
        if older is not None:
            take_tokens(older / name, opened, tokenizer, folder, config.data, config.seed)
        return build_tokens(opened, tokenizer, folder, config.data, config.seed)
    return _awaited(folder, lambda: finished_tokens(opened, tokenizer, folder, config.data, config.seed))


def _views(config: PretrainConfig, contrast: ContrastConfig) -> Manifest:
    opened, folder = Corpus.open(config.corpus), config.out / VIEWS
    if global_rank() == 0:
        return build_texts(opened, folder, config.data, contrast, config.seed)
    return _awaited(folder, lambda: finished_texts(opened, folder, config.data, contrast, config.seed))


def _awaited(folder: Path, look: Callable[[], Manifest | None]) -> Manifest:
    """What the first process is making."""
    sign, seen = time.monotonic(), 0.0
    while (done := look()) is None:
        # The first rank may write for hours; what it writes is its sign of life.
        newest = max((path.stat().st_mtime for path in partial_folder(folder).glob("*")), default=0.0)
        sign, seen = (time.monotonic(), newest) if newest > seen else (sign, seen)
        if time.monotonic() - sign > _WAIT_SECONDS:
            raise LogfmError(f"nothing from the first process for {_WAIT_SECONDS / 60:.0f} minutes: {folder}")
        time.sleep(0.2)
    return done
