import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus import Corpus, build, stream
from logfm.corpus.anonymize.key import keyed_event_id
from logfm.corpus.cli import app
from logfm.corpus.contamination import read_index, seen
from logfm.corpus.workers import run_tasks
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


def test_names_that_are_told_to_stay_do(logs, tmp_path):
    build([logs], tmp_path / "all", CorpusConfig(), key=KEY)
    kept = CorpusConfig.model_validate({"anonymize": {"keep_names": ["Fileserver7"]}})
    build([logs], tmp_path / "kept", kept, key=KEY)
    assert "fileserver7" not in contents(tmp_path / "all").replace(str(tmp_path), "")
    hosts = {host for batch in Corpus.open(tmp_path / "kept").batches(["host"]) for host in batch["host"].to_pylist()}
    assert hosts == {"fileserver7"} and "jane.miller" not in contents(tmp_path / "kept")


def test_the_contamination_index_knows_originals_only_where_it_is_told_to(logs, tmp_path):
    public = CorpusConfig.model_validate({"anonymize": {"index_originals": True}})
    build([logs], tmp_path / "private", CorpusConfig(), key=KEY)
    build([logs], tmp_path / "public", public, key=KEY)
    line = (logs / "fileserver7" / "auth.log").read_text().splitlines()[0]
    for name, known in (("private", False), ("public", True)):
        index = read_index(tmp_path / name)
        assert seen(index, [line]).tolist() == [known]
        rows = [text for batch in Corpus.open(tmp_path / name).batches(["text"]) for text in batch["text"].to_pylist()]
        assert seen(index, rows).all()
    assert "fileserver7" not in contents(tmp_path / "public").replace(str(tmp_path), "").lower()


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


def on_disk(folder) -> str:
    """All that can be read in the files of a folder, whatever they are called."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found.append(str(pq.read_table(path).to_pylist()) if content[:4] == b"PAR1" else repr(content))
    return "\n".join(found).lower()


def test_nothing_original_is_on_the_disk_at_any_stage(logs, tmp_path, monkeypatch):
    """So that a run that is killed leaves none: after each stage all files of the unfinished work are looked at."""
    stages = []

    def watched(*arguments, **options):
        answers = run_tasks(*arguments, **options)
        stages.append(on_disk(tmp_path / ".corpus.partial").replace(str(tmp_path), ""))
        return answers

    monkeypatch.setattr("logfm.corpus.building.run_tasks", watched)
    config = CorpusConfig(dedup=("exact", "near"), sessions=300, shard_bytes=2048)
    build([logs], tmp_path / "corpus", config, key=KEY)
    assert len(stages) == 2 and "accepted password for" in stages[1]
    assert not [one for one in SECRETS for stage in stages if one in stage]


def test_guesses_at_the_original_cannot_be_confirmed_without_the_key(logs, tmp_path):
    plain = build([logs], tmp_path / "plain")
    built = [build([logs], tmp_path / name, key=key) for name, key in (("a", KEY), ("b", KEY), ("c", OTHER))]
    left = contents(tmp_path / "a")
    assert not [one for one in plain.inputs.values() if one in left]
    ids = [pq.read_table(tmp_path / name / "events")["event_id"].to_pylist() for name in ("plain", "a", "b", "c")]
    assert not set(ids[0]) & set(ids[1]) and not set(ids[1]) & set(ids[3])
    assert len(set(ids[1])) == 120 and ids[1] == ids[2]
    assert [keyed_event_id(KEY, one) for one in ids[0]] == ids[1]
    assert built[0].inputs == built[1].inputs
    assert not set(built[0].inputs.values()) & set(built[2].inputs.values())


def test_names_that_are_keys_of_a_document_are_not_told_as_fields(logs, tmp_path):
    records = [{"user": "jane.miller", "logins": {"jane.miller": n}} for n in range(30)]
    (logs / "counts.json").write_text("".join(json.dumps(one) + "\n" for one in records))
    manifest = build([logs], tmp_path / "corpus", key=KEY)
    fields = [name for file in manifest.metrics["files"] for name in file["fields"] if name.startswith("logins.")]
    assert len(fields) == 1 and "jane" not in fields[0]
    assert "jane.miller" not in contents(tmp_path / "corpus")


def test_folders_that_no_event_names_are_pseudonyms_too(logs, tmp_path):
    folder = logs / "payroll-box" / "mary.major"
    folder.mkdir(parents=True)
    (folder / "core.bin").write_bytes(b"\x7fELF" + bytes(500))
    (folder / "auth.log.1").write_text("Mar  3 12:00:01 h9 sshd[7]: Connection closed\n")
    (logs / "project-umbrella.log").write_text("")
    manifest = build([logs], tmp_path / "corpus", CorpusConfig(sessions=300), key=KEY)
    assert set(manifest.metrics["rejects"]) == {"malformed JSON", "empty file", "not a log (ELF program)"}
    left = contents(tmp_path / "corpus").lower()
    assert not [one for one in ("mary", "umbrella", "core.bin") if one in left]
    files = set(pq.read_table(tmp_path / "corpus/events")["file"].to_pylist())
    assert [one for one in files if one.endswith("/auth.log.1")]
    assert not [one for one in files if "payroll" in one]


def test_labels_find_their_events_and_are_anonymised_too(logs, tmp_path):
    events = [row for batch in stream([str(logs)]) for row in batch.to_pylist()]
    table = tmp_path / "labels.csv"
    rows = [f"{row['event_id']},attack by jane.miller" for row in events[:10]]
    table.write_text("event_id,label\n" + "\n".join(rows) + "\n")
    manifest = build([logs], tmp_path / "corpus", labels=table, key=KEY)
    assert manifest.metrics["labelled"] == 10
    labels = pq.read_table(tmp_path / "corpus/events")["label"].to_pylist()
    assert len(set(labels[:10])) == 1 and labels[0].startswith("attack by ") and "jane" not in labels[0]
    assert set(labels[10:]) == {None}


def test_the_command_line_asks_for_flag_and_key_together(logs, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, [str(one) for one in arguments])

    assert run("key", tmp_path / "key").exit_code == 0
    built = run("build", logs, "--anonymize", "--key", tmp_path / "key", "--out", tmp_path / "corpus", "--json")
    assert json.loads(built.stdout)["events"] == 120
    assert "jane.miller" not in contents(tmp_path / "corpus")
    for arguments in (["--anonymize"], ["--key", tmp_path / "key"]):
        assert isinstance(run("build", logs, *arguments, "--out", tmp_path / "x").exception, UserError)
