"""The maps that the ablation of nano compares are those that would be fitted."""

import numpy as np
import pytest

from benchmarks.nano_ablation import WHITENING, weaker_map
from logfm.pretrain.projection import fit


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((400, 12)) @ rng.standard_normal((12, 12)) + 3).astype(np.float32)


@pytest.mark.parametrize(("power", "kind"), [(0.25, "whiten"), (0.0, "centre"), (WHITENING, "whiten"), (None, None)])
def test_a_weaker_map_is_what_fitting_it_gives(vectors, power, kind):
    whitened = fit(vectors, "whiten", WHITENING)
    wanted = vectors if kind is None else fit(vectors, kind, power)(vectors)
    assert np.abs(weaker_map(whitened, power)(whitened(vectors)) - wanted).max() < 1e-3
