import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public log samples: the folder in LOGFM_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("LOGFM_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real log data at {folder} (set LOGFM_DATA)")
    return folder
