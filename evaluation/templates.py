"""Relevance labels: lines of one template say the same thing (Drain; SecEncoder, section 4.2.1).

Labels are for the metrics only. An encoder gets raw lines and never a template or a label.
"""

from collections.abc import Sequence
from typing import Any

from logfm.configs.schema.evaluation import TemplateConfig
from logfm.corpus.headers import message_of, split_header, strip_label
from logfm.extras import require

__all__ = ["message_of", "strip_label", "template_labels"]


def template_labels(texts: Sequence[str], config: TemplateConfig | None = None) -> list[str]:
    """A template's name for each line: one Drain a log format, on the message behind the header.

    JSON events are labelled by their kind (channel and event id, else their key names), which Drain would blur:
    it takes a word with a digit for a value. Nothing is masked, stored or loaded. Memory grows with the number
    of templates.

    Raises:
        UserError: drain3 is not installed.
    """
    config = config or TemplateConfig()
    miners: dict[str, Any] = {}
    labels = []
    for text in texts:
        form, message = split_header(text)
        if form == "json":
            labels.append(f"json:{message}")
            continue
        if form not in miners:
            miners[form] = _drain(config)
        # A stack trace's later lines vary in number, and Drain compares messages of equal length only.
        first = message[: config.max_message].split("\n", 1)[0]
        cluster, _ = miners[form].add_log_message(first)
        labels.append(f"{form}:{cluster.cluster_id}")
    return labels


def _drain(config: TemplateConfig) -> Any:
    drain = require("drain3.drain", "eval")
    return drain.Drain(depth=config.depth, sim_th=config.similarity)
