import pytest
from typer.testing import CliRunner

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus import Corpus, build
from logfm.corpus.cli import app
from logfm.errors import UserError

LINES = [
    "- 1117838570 2005.06.03 R02-M1-N0 2005-06-03-15.42.50.675872 R02-M1-N0 RAS KERNEL INFO all is well",
    "KERNDTLB 1118536327 2005.06.11 R30-M0-N9 2005-06-11-17.32.07.581048 R30-M0-N9 RAS KERNEL FATAL data TLB error",
]


def test_a_build_of_a_data_set_has_its_labels_and_its_licence(tmp_path):
    (tmp_path / "copy/BGL").mkdir(parents=True)
    (tmp_path / "copy/BGL/BGL.log").write_text("\n".join(LINES) + "\n")
    manifest = build([tmp_path / "copy"], tmp_path / "corpus", CorpusConfig(dataset="loghub"), workers=1)
    events = [row for batch in Corpus.open(tmp_path / "corpus").batches() for row in batch.to_pylist()]
    assert [row["text"] for row in events] == [line.partition(" ")[2] for line in LINES]
    assert len({row["label"] for row in events}) == 2
    assert len(manifest.licences) == 1
    assert manifest.metrics["labelled"] == 2


@pytest.mark.parametrize(("name", "told"), [("loghub", False), ("otrf", True)])
def test_a_folder_that_is_no_copy_of_the_set_has_no_labels_and_the_command_says_so(tmp_path, name, told):
    (tmp_path / "copy/BGL").mkdir(parents=True)
    (tmp_path / "copy/BGL/BGL.log").write_text("\n".join(LINES) + "\n")
    options = ["build", str(tmp_path / "copy"), "--dataset", name, "--out", str(tmp_path / "corpus")]
    result = CliRunner().invoke(app, options, catch_exceptions=False)
    assert (f"no event has a label of {name}" in result.stderr) is told


def test_a_data_set_is_one_known_folder(tmp_path):
    (tmp_path / "a.log").write_text("x\n")
    for inputs, name in (([tmp_path / "a.log"], "loghub"), ([tmp_path], "no_such_set")):
        with pytest.raises(UserError):
            build(inputs, tmp_path.parent / "out", CorpusConfig(dataset=name))
