"""Messages of open-source programs: what is found in a wheel, and what is made of it."""

import json
import re
import zipfile

import pyarrow as pa
import pytest

from benchmarks.nano_messages import TEMPLATES, World, harvest, words_of, write
from logfm.pretrain.contrast.known import KnownTemplates

SOURCE = """
import logging
logger = logging.getLogger(__name__)

def serve(host, port, error, user):
    logger.info("Listening on %s:%d for 100%% of clients", host, port)
    logger.warning(f"Login of {user} refused: {error!r}")
    logger.error("Lost connection to {}".format(host) + ", giving up")
    logger.debug("Retrying %(attempt)d of many", {"attempt": 1})
    logger.info("alone")
    print("not a log message")
    math.log("not a message either", 2)
"""


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "some_server-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("some_server/net.py", SOURCE)
        archive.writestr("some_server/broken.py", "def (")
        archive.writestr("some_server/tests/test_net.py", SOURCE.replace("Listening", "Testing"))
        archive.writestr("some_server/_vendor/net.py", SOURCE.replace("Listening", "Another's"))
    return folder


def test_literals_of_logging_calls_are_found(wheels):
    found = {one.text: one for one in harvest(next(wheels.iterdir()))}
    assert set(found) == {
        "Listening on %s:%d for 100%% of clients",
        "Login of {user} refused: {error}",
        "Lost connection to {}, giving up",
        "Retrying %(attempt)d of many",
    }
    assert found["Listening on %s:%d for 100%% of clients"].values == ("host", "port")
    assert {one.level for one in found.values()} == {"info", "warning", "error", "debug"}


def test_placeholders_get_values_of_their_kind(wheels):
    found = {one.text.split()[0]: one for one in harvest(next(wheels.iterdir()))}
    world = World(["alpha", "beta", "gamma"], seed=1)
    listening = world.fill(found["Listening"])
    host, _, port = listening.removeprefix("Listening on ").removesuffix(" for 100% of clients").rpartition(":")
    assert host in world.hosts and port.isdecimal()
    assert world.fill(found["Login"]).split()[2] in world.users
    assert world.fill(found["Retrying"]).split()[1].isdecimal()


def test_names_are_no_words_of_messages(wheels, tmp_path):
    """Anonymisation replaces names everywhere."""
    write(wheels, tmp_path / "out", each=40, seed=3)
    words = words_of((tmp_path / "out" / TEMPLATES).read_text())
    assert {"listening", "clients", "refused", "many"} <= words
    world = World(sorted(words), seed=3)
    parts = {part for name in (*world.hosts, *world.users) for part in re.split(r"[\W\d_]+", name)}
    assert not (parts - {"net", "com", "internal"}) & words


def test_every_message_becomes_events_and_the_seed_decides_them(wheels, tmp_path):
    assert write(wheels, tmp_path / "a", each=5, seed=3) == 4
    write(wheels, tmp_path / "b", each=5, seed=3)
    lines = (tmp_path / "a" / "logs" / "messages_some_server.log").read_text().splitlines()
    assert lines == (tmp_path / "b" / "logs" / "messages_some_server.log").read_text().splitlines()
    templates = (tmp_path / "a" / TEMPLATES).read_text().splitlines()
    assert "Listening on <*>:<*> for 100% of clients" in templates and "Login of <*> refused: <*>" in templates
    assert len({*KnownTemplates(templates).hashes(pa.array(lines)).tolist()}) == 4
    assert len(lines) == 20 and sum("giving up" in line for line in lines) == 5
    assert all(json.loads(line)["message"] for line in lines if line.startswith("{"))
    write(wheels, tmp_path / "c", each=5, seed=4)
    assert lines != (tmp_path / "c" / "logs" / "messages_some_server.log").read_text().splitlines()
