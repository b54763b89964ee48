"""The package as it is installed: nothing left out of the wheel, nothing heavy behind the front door."""

import importlib
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import logfm
from logfm.errors import UserError
from logfm.extras import require

ROOT = Path(__file__).parents[2]
ROOMS = ("configs", "corpus", "tokenizer", "pretrain", "embeddings", "finetune", "evaluation")
SHIPPED = {".py", ".yaml", ".sh", ".j2", ".css", ".typed", ".safetensors", ".onnx", ".parquet", ".json", ".md"}
MOST_BYTES = 30_000_000
"""Of the wheel: an encoder of at most 25 MB, and the code."""


def loaded_after(statement):
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import logfm", "import logfm.cli", *(f"import logfm.{r}" for r in ROOMS)])
def test_the_front_doors_load_nothing_heavy(statement):
    heavy = {"torch", "transformers", "lightning", "faiss", "sklearn", "pyod", "pandas", "datasets"}
    assert not heavy & loaded_after(statement)


def test_every_module_imports():
    for module in pkgutil.walk_packages(logfm.__path__, "logfm."):
        assert importlib.import_module(module.name)


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_exist(room):
    module = importlib.import_module(f"logfm.{room}")
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


def test_a_missing_extra_names_the_install_command():
    with pytest.raises(UserError, match=r'pip install "logfm\[cpu\]"'):
        require("no_such_package_at_all", "cpu")


@pytest.mark.slow
def test_a_wheel_built_from_the_sdist_holds_everything(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    assert next(tmp_path.glob("*.whl")).stat().st_size < MOST_BYTES
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = {name for name in wheel.namelist() if Path(name).suffix in SHIPPED}
    tree = {
        f"logfm/{path.relative_to(ROOT).as_posix()}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in SHIPPED
    } | {path.relative_to(ROOT).as_posix() for path in (ROOT / "logfm").rglob("*") if path.suffix in SHIPPED}
    assert inside == {name for name in tree if "__pycache__" not in name}
