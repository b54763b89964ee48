import numpy as np

from logfm.evaluation.anomaly.duplicates import copies, masked
from logfm.evaluation.anomaly.windows import Columns, by_group


def test_copies_differ_in_values_only_and_keep_their_order():
    texts = ["open 1", "close 2", "open 77", "close 99", "close 3", "open 4", "fire"]
    columns = Columns(np.zeros(7, dtype=np.int8), groups=list("aabbccd"))
    train, test = by_group(np.arange(2), columns), by_group(np.arange(2, 7), columns)
    found = copies(train, test, masked(texts))
    assert found.sequences.tolist() == [True, False, False]
    assert found.events == 4 / 5


def test_text_that_is_no_unicode():
    assert len(masked(["a \udcff b", ""])) == 2
