import json

import pytest
import typer
from typer.testing import CliRunner

from logfm.corpus.catalog import Dataset, dataset, datasets
from logfm.corpus.catalog.cli import catalog_command, size
from logfm.corpus.catalog.labeller import _reader
from logfm.errors import UserError

NAMES = {
    "loghub", "ait_lds", "ait_ads", "clue_lds", "lanl_unified", "lanl_comprehensive", "cse_cic_ids2018", "unsw_nb15",
    "atlas", "atlas_v2", "otrf", "evtx_attack_samples", "splunk_attack_data", "bots", "guide", "zeek_samples",
    "flaws_cloud", "secrepo", "web_server_logs", "eclog", "witfoo_precinct6", "casinolimit", "multi_source_870",
}  # fmt: skip


def run(*arguments):
    app = typer.Typer()
    app.command()(catalog_command)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def test_every_data_set_has_an_entry_with_a_reader_a_page_and_a_citation():
    assert set(datasets()) == NAMES
    for name, one in datasets().items():
        assert one.name == name
        assert callable(_reader(one.reader))
        assert one.url.startswith("https://") and len(one.citation) > 10
        assert (one.label_level == "none") == one.labels.startswith("none")


def test_an_unknown_fact_is_null_and_the_notes_say_so():
    for one in datasets().values():
        if one.licence is None:
            assert one.non_commercial is None and "licence" in (one.notes or "").lower(), one.name
        for value in (one.checksum or {}).values():
            algorithm, _, digest = value.partition(":")
            assert len(bytes.fromhex(digest)) == {"md5": 16, "sha256": 32}[algorithm]


@pytest.mark.parametrize(
    ("name", "text"),
    [("ait_lds", "CC-BY-NC-SA-4.0 (non-commercial)"), ("otrf", "MIT"), ("atlas", "licence not known (atlas)")],
)
def test_the_licence_travels_with_its_flag(name, text):
    assert dataset(name).licence_text == text


def test_the_flag_is_said_once_and_never_left_out():
    for one in datasets().values():
        assert one.licence_text.lower().count("non-commercial") == bool(one.non_commercial), one.name


def test_a_name_that_is_nearly_right_is_suggested():
    with pytest.raises(UserError, match="Did you mean guide"):
        dataset("giude")


def test_the_command_lists_all_and_shows_one():
    found = json.loads(run("--json").stdout)
    assert {one["name"] for one in found} == NAMES
    assert all(set(one) == {*Dataset.model_fields, "licence_text"} for one in found)
    one = json.loads(run("bots", "--json").stdout)
    assert one["checksum"] == {"botsv3_data_set.tgz": "md5:d7ccca99a01cff070dff3c139cdc10eb"}
    table = run().stdout
    assert all(name in table for name in NAMES)
    shown = run("unsw_nb15").stdout
    assert "(non-commercial)" in shown and "2,540,044" in shown and "research.unsw.edu.au" in shown


def test_sizes_are_readable():
    assert [size(one) for one in (None, 12, 320_100_000, 206_000_000_000)] == ["not known", "12 B", "320 MB", "206 GB"]


def test_the_public_names_are_there_and_load_late():
    import subprocess
    import sys

    import logfm.corpus.catalog as catalog

    assert all(getattr(catalog, name) is not None for name in catalog.__all__)
    code = "import sys, logfm.corpus.catalog.cli; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
