import subprocess
import sys

import pytest

import logfm.evaluation
from logfm.errors import UserError


def test_every_public_name_loads() -> None:
    for name in logfm.evaluation.__all__:
        assert callable(getattr(logfm.evaluation, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = logfm.evaluation.nothing  # type: ignore[attr-defined]


def test_importing_the_room_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'sklearn', 'drain3', 'jinja2', 'numpy'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys, logfm.evaluation; print(sorted({heavy}))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["jinja2", "drain3.drain"])
def test_a_missing_package_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package.split(".")[0], None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"logfm\[eval\]"):
        if package == "jinja2":
            _ = logfm.evaluation.render
        else:
            logfm.evaluation.template_labels(["a line"])
