"""Anyone's own encoder, and how its failures are told."""

import sys
import types

import numpy as np
import pytest

from logfm.embeddings import LogEncoder
from logfm.errors import LogfmError, UserError


def fails(*_):
    raise RuntimeError("no weights\nand more")


class Failing:
    """An encoder of which one part fails."""

    def __init__(self, part):
        self.part = part

    def _of(self, part, value):
        return fails() if part == self.part else value

    hash = property(lambda self: self._of("hash", "h"))
    dim = property(lambda self: self._of("dim", 2))

    def encode(self, texts):
        return self._of("encode()", np.ones((len(texts), 2)))


@pytest.fixture
def module(monkeypatch):
    found = types.ModuleType("failing_module")
    monkeypatch.setitem(sys.modules, "failing_module", found)
    return found


@pytest.mark.parametrize("part", ["hash", "dim", "encode()"])
def test_an_object_that_fails_is_told_in_one_line(module, part):
    module.encoder = Failing(part)
    encoder = LogEncoder.load("py:failing_module:encoder")
    with pytest.raises(LogfmError) as found:
        _ = (encoder.hash, encoder.dim, encoder.encode(["a"]))
    assert str(found.value) == f"py:failing_module:encoder: {part} failed (RuntimeError: no weights)"


def test_an_object_that_cannot_be_made(module):
    module.Encoder = type("Encoder", (Failing,), {"__init__": fails})
    with pytest.raises(LogfmError, match=r"cannot be made \(RuntimeError: no weights\)$"):
        LogEncoder.load("py:failing_module:Encoder")


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("1 / 0", LogfmError, r"^py:own_broken:encoder: the module failed \(ZeroDivisionError: division by zero\)$"),
        ("None.attribute", LogfmError, "the module failed .AttributeError"),
        ("encoder = (", LogfmError, "the module failed .SyntaxError"),
        ("import no_such_thing_here", UserError, "no module no_such_thing_here"),
        ("", UserError, "the module has no encoder"),
    ],
)
def test_a_module_that_fails_when_it_is_imported(tmp_path, monkeypatch, code, kind, words):
    (tmp_path / "own_broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_broken", raising=False)
    with pytest.raises(kind, match=words) as found:
        LogEncoder.load("py:own_broken:encoder")
    sys.modules.pop("own_broken", None)
    assert isinstance(found.value, UserError) == (kind is UserError)
