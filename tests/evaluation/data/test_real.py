"""The real files, where LOGFM_DATA names them: layouts hold, and no label is left in what an encoder sees."""

import os

import numpy as np
import pytest

from logfm.evaluation.data.find import at_hand, data_folder
from logfm.evaluation.data.load import load

pytestmark = [
    pytest.mark.skipif(not os.environ.get("LOGFM_DATA"), reason="LOGFM_DATA names no data folder"),
    pytest.mark.slow,
]
LABELS = ("expected_alert", "time_label", "event_label", "false_positive", "KERNDTLB", "anomaly_label")


def sets():
    return [] if not os.environ.get("LOGFM_DATA") else sorted(at_hand(data_folder()))


@pytest.mark.parametrize("name", sets())
def test_no_label_is_in_a_text(name):
    data = load(at_hand(data_folder())[name], data_folder())
    assert data.texts and all(isinstance(text, str) for text in data.texts)
    if data.labels is not None:
        assert not any(label in text for text in data.texts for label in LABELS)
    assert not any(f'"{field}":' in text for text in data.texts if text[0] == "{" for field in data.spec.drop)
    assert all(len(column) == len(data.texts) for column in vars(data).values() if isinstance(column, list))


def test_supercomputer_lines_start_with_their_time():
    for name in ("loghub-bgl", "loghub-thunderbird"):
        data = load(at_hand(data_folder())[name], data_folder())
        assert len(data.texts) == 2000 and not data.left_out
        assert all(text[:10].isdigit() for text in data.texts)
        heads = np.array([text.split(" ")[0][:4] for text in data.texts])
        right = sum(np.bincount(data.labels[heads == head], minlength=2).max() for head in np.unique(heads))
        assert right == np.bincount(data.labels).max()
