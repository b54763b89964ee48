import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus import Corpus, build
from logfm.corpus.cli import app
from logfm.errors import UserError

SECRETS = ("jane.miller", "fileserver7", "203.0.113.77", "hunter2", "corp.acme-widgets.com")
KEY, OTHER = bytes(range(7, 39)), bytes(range(50, 82))


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs" / "fileserver7"
    folder.mkdir(parents=True)
    lines = [
        f"Mar  3 12:{n:02d}:01 fileserver7 sshd[{n}]: Accepted password for jane.miller from 203.0.113.77 port 22 ssh2"
        for n in range(60)
    ]
    (folder / "auth.log").write_text("\n".join(lines) + "\n")
    records = [
        {"host": "fileserver7", "user": "jane.miller", "n": n, "CommandLine": "net use Z: /user:jane.miller hunter2",
         "url": "https://jane.miller:hunter2@wiki.corp.acme-widgets.com/"}
        for n in range(60)
    ]  # fmt: skip
    (folder / "app.json").write_text(
        "".join(json.dumps(one) + "\n" for one in records) + '{"user": "jane.miller", oops\n'
    )
    return tmp_path / "logs"


def contents(folder) -> str:
    """Everything that a corpus says, its manifest included."""
    tables = [str(pq.read_table(path).to_pylist()) for path in sorted(folder.rglob("*.parquet"))]
    return "\n".join([*tables, (folder / "manifest.json").read_text()])


def test_no_identifier_is_left_anywhere_in_the_corpus(logs, tmp_path):
    config = CorpusConfig(sessions=300, dedup=("exact", "near"))
    plain = build([logs], tmp_path / "plain", config)
    manifest = build([logs], tmp_path / "anonymous", config, key=KEY)
    assert all(one in contents(tmp_path / "plain") for one in SECRETS)
    left = contents(tmp_path / "anonymous").replace(str(tmp_path), "").lower()
    assert not [one for one in SECRETS if one in left]
    assert manifest.metrics["events"] == plain.metrics["events"] == 120
    assert manifest.metrics["rejected"] == 1
    assert manifest.metrics["anonymized"]["identifiers"]["user"] >= 1
    rows = [row for batch in Corpus.open(tmp_path / "anonymous").batches() for row in batch.to_pylist()]
    assert len({row["host"] for row in rows}) == 1 and len({row["user"] for row in rows if row["user"]}) == 1
    assert "Accepted password for" in rows[-1]["text"] and "net use Z:" in rows[0]["text"]


def test_the_key_alone_decides_and_workers_do_not(logs, tmp_path):
    config = CorpusConfig(shard_bytes=2048)
    one, two, other = (
        build([logs], tmp_path / name, config, workers=workers, key=key)
        for name, workers, key in (("one", 1, KEY), ("two", 2, KEY), ("other", 1, OTHER))
    )
    assert one.hash == two.hash != other.hash
    assert one.key == two.key != other.key
    with pytest.raises(UserError, match="another corpus run"):
        build([logs], tmp_path / "one", config, key=OTHER)


def test_the_command_line_asks_for_flag_and_key_together(logs, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, [str(one) for one in arguments])

    assert run("key", tmp_path / "key").exit_code == 0
    built = run("build", logs, "--anonymize", "--key", tmp_path / "key", "--out", tmp_path / "corpus", "--json")
    assert json.loads(built.stdout)["events"] == 120
    assert "jane.miller" not in contents(tmp_path / "corpus")
    for arguments in (["--anonymize"], ["--key", tmp_path / "key"]):
        assert isinstance(run("build", logs, *arguments, "--out", tmp_path / "x").exception, UserError)
