import subprocess
import sys

import pytest

from logfm.errors import UserError
from logfm.lazy import lazy


def test_a_name_comes_from_its_home_and_others_do_not_exist():
    load = lazy("logfm.corpus", {"Event": "events"})
    from logfm.corpus.events import Event

    assert load("Event") is Event
    with pytest.raises(AttributeError, match=r"module 'logfm\.corpus' has no attribute 'Reject'"):
        load("Reject")


def test_a_missing_extra_is_named_before_anything_loads():
    load = lazy("logfm.corpus", {"Event": "no_such_module"}, "rules", ("no_such_package",))
    with pytest.raises(UserError, match="rules"):
        load("Event")


def test_a_home_loads_when_its_name_is_used_and_not_before():
    code = (
        "import sys, logfm.corpus as room; before = 'logfm.corpus.events' in sys.modules;"
        "room.Event; sys.exit(before or 'logfm.corpus.events' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
