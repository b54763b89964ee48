from pathlib import Path

import pyarrow.parquet as pq
import pytest

from logfm.configs.schema.simulate import SimulateConfig
from logfm.corpus.simulate import simulate

SETTINGS = {"seed": 3, "events": 3000, "attacks": 4}


@pytest.fixture(scope="session")
def telemetry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each scenario once, among about 3,000 events."""
    out = tmp_path_factory.mktemp("simulated") / "telemetry"
    simulate(SimulateConfig(**SETTINGS), out)
    return out


@pytest.fixture(scope="session")
def truth(telemetry: Path) -> list[dict]:
    return pq.read_table(telemetry / "truth.parquet").to_pylist()


@pytest.fixture(scope="session")
def lines(telemetry: Path) -> list[tuple[dict, str]]:
    """Each row of the truth with the line that starts at its offset."""
    return _lines(telemetry)


@pytest.fixture(scope="session")
def many_lines(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict, str]]:
    """The same of a larger run in which each scenario takes place three times."""
    out = tmp_path_factory.mktemp("simulated") / "many"
    simulate(SimulateConfig(seed=5, events=8000, attacks=12), out)
    return _lines(out)


def _lines(out: Path) -> list[tuple[dict, str]]:
    rows = pq.read_table(out / "truth.parquet").to_pylist()
    files = {name: (out / "logs" / name).read_bytes() for name in {row["file"] for row in rows}}
    return [(row, files[row["file"]][row["offset"] :].split(b"\n", 1)[0].decode()) for row in rows]
