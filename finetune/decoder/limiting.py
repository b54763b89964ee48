"""How many cases there are, and with which labels; what goes is counted."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from logfm.configs.schema.cases import LimitConfig
from logfm.finetune.decoder.answers import Case
from logfm.finetune.decoder.groups import Counts
from logfm.finetune.decoder.labelling import TECHNIQUES


def limited(found: list[Case], limits: LimitConfig, seed: int, counts: Counts) -> list[Case]:
    """Cases with enough groups behind their techniques, not too many techniques, and not too many of them."""
    if limits.least_groups > 1:
        found = list(_common(found, limits.least_groups, counts))
    if limits.techniques is not None:
        fitting = [case for case in found if len(case.answer.get(TECHNIQUES, ())) <= limits.techniques]
        counts["cases with too many techniques"] += len(found) - len(fitting)
        found = fitting
    if limits.cases is not None and len(found) > limits.cases:
        counts["cases beyond the limit"] += len(found) - limits.cases
        chosen = np.random.default_rng(seed).choice(len(found), size=limits.cases, replace=False)
        found = [found[place] for place in sorted(chosen.tolist())]
    return found


def _common(found: Sequence[Case], least: int, counts: Counts) -> Iterator[Case]:
    """Cases with the techniques that enough groups have."""
    groups: dict[str, set[str]] = {}
    for case in found:
        for one in case.answer.get(TECHNIQUES, ()):
            groups.setdefault(one, set()).add(case.group)
    for case in found:
        given = case.answer.get(TECHNIQUES)
        if given is None:
            yield case
            continue
        kept = tuple(one for one in given if len(groups[one]) >= least)
        if kept:
            yield replace(case, answer={**case.answer, TECHNIQUES: kept})
        else:
            counts["cases whose techniques are in too few groups"] += 1
