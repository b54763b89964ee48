"""Data folders in native layouts, and the same with every label flipped."""

import pytest

from tests.evaluation.data.layouts import write_layouts


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_layouts(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def flipped(tmp_path_factory):
    return write_layouts(tmp_path_factory.mktemp("flipped"), flipped=True)
