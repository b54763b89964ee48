"""`logfm doctor`: versions, devices, extras, and conflicts between packages."""

import importlib.util
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import psutil
import typer

from logfm import __version__
from logfm.console import emit_json

# What each extra brings, as (module to import, package that carries it).
EXTRAS = {
    "embed": [("torch", "torch"), ("transformers", "transformers"), ("safetensors", "safetensors"),
              ("sklearn", "scikit-learn"), ("pyod", "pyod"), ("duckdb", "duckdb")],
    "cpu or gpu": [("faiss", "faiss-cpu")],
    "train": [("lightning", "lightning"), ("deepspeed", "deepspeed"), ("datasets", "datasets"),
              ("tensorboard", "tensorboard")],
    "decoder": [("peft", "peft"), ("gguf", "gguf")],
    "onnx": [("onnx", "onnx"), ("onnxruntime", "onnxruntime")],
    "gnn": [("torch_geometric", "torch-geometric")],
    "eval": [("drain3", "drain3"), ("jinja2", "jinja2"), ("rapidfuzz", "rapidfuzz")],
    "st": [("sentence_transformers", "sentence-transformers")],
    "near": [("rensa", "rensa")],
    "rules": [("sigma", "pysigma"), ("duckdb", "duckdb")],
    "serve": [("fastapi", "fastapi"), ("uvicorn", "uvicorn")],
    "ray": [("ray", "ray")],
}  # fmt: skip


def installed(package: str) -> str | None:
    """The version of an installed package, None where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def examine() -> dict[str, Any]:
    """Everything that `logfm doctor` tells: machine, packages an extra, problems with what to do about them."""
    found: dict[str, Any] = {
        "logfm": __version__,
        "python": platform.python_version(),
        "cores": os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "free_memory_gib": round(psutil.virtual_memory().available / 2**30, 1),
        "extras": {},
        "devices": [],
        "problems": [],
    }
    for extra, modules in EXTRAS.items():
        found["extras"][extra] = {
            package: installed(package) or (installed("faiss-gpu") if module == "faiss" else None)
            for module, package in modules
        }
    if importlib.util.find_spec("torch") is not None:
        import torch

        found["devices"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found["bf16"] = "fast" if "avx512_bf16" in _cpu_flags() or "amx_bf16" in _cpu_flags() else "emulated"
    found["problems"] = list(_problems(found["devices"]))
    return found


def _problems(devices: list[str]) -> list[str]:
    problems = []
    if installed("faiss-cpu") and installed("faiss-gpu"):
        problems.append("faiss-cpu and faiss-gpu are both installed and overwrite each other: uninstall one")
    elif importlib.util.find_spec("faiss") is None:
        problems.append('no faiss, so no search: pip install "logfm[cpu]" (or "logfm[gpu]")')
    elif devices:
        import faiss

        if not hasattr(faiss, "StandardGpuResources"):
            problems.append("there is a GPU, and the installed faiss is the CPU build")
    if devices and installed("disentangled-flash") is None:
        problems.append('there is a GPU, and attention runs without its kernels: pip install "logfm[gpu]"')
    if installed("pytorch-lightning") and not installed("lightning"):
        problems.append("pytorch-lightning is the old name; logfm uses the package lightning")
    return problems


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:  # noqa: PTH123
            return next((set(line.split()) for line in stream if line.startswith("flags")), set())
    except OSError:
        return set()


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show versions, devices, extras and conflicts; exit code 1 where something is broken."""
    found = examine()
    if as_json:
        emit_json(found)
    else:
        for key, value in found.items():
            if key not in ("extras", "problems"):
                typer.echo(f"{key:16} {value if isinstance(value, str) else json.dumps(value)}")
        for extra, packages in found["extras"].items():
            for package, number in packages.items():
                typer.echo(f"{'[' + extra + ']':16} {package:24} {number or 'missing'}")
        for problem in found["problems"]:
            typer.echo(f"problem: {problem}")
    if found["problems"]:
        raise typer.Exit(1)
