"""The model card says what the manifests and the results say."""

import json

import pytest

from logfm.cli import main
from logfm.errors import UserError
from logfm.pretrain import pretrain
from logfm.pretrain.export import Extras, export_checkpoint

RESULTS = """suite,task,data,metric,encoder,condition,direction,value,status,role,data_role
local,search,linux,mrr,tfidf,,higher,0.123,ok,baseline,choices
local,search,linux,map,tfidf,,higher,0.7,ok,baseline,choices
local,search,linux,map,ours,,higher,0.9,ok,encoder,choices
local,search,linux,map,ours,,higher,0.8,ok,encoder,choices
local,search,linux,mrr,ours,,higher,0.123,ok,encoder,choices
local,search,linux,map,ours,no copies,higher,0.234,ok,encoder,choices
local,search,linux,map,random,,higher,nan,failed,baseline,choices
local,search,hdfs,map,ours,,higher,0.5,ok,encoder,results
local,search,spark,map,ours,,higher,0.6,ok,encoder,results
local,search,spark,map,tfidf,,higher,0.4,ok,baseline,results
local,similarity,hdfs,pair_auc,ours,,higher,0.95,ok,encoder,results
local,similarity,hdfs,diff,ours,,neither,0.61,ok,encoder,results
local,transfer,hdfs,precision,ours,,higher,,ok,encoder,results
local,prevalence,hdfs,f1,ours,"1 %",higher,0.345,ok,encoder,results
local,prevalence,hdfs,f1,ours,"20 %",higher,0.456,ok,encoder,results
local,prevalence,hdfs,f1,another,"20 %",higher,1234.5,ok,encoder,results
local,runtime,hdfs,p50_ms,ours,,lower,1.5,ok,encoder,results
local,patterns,hdfs,hits,ours,hybrid,higher,3,ok,encoder,results
"""


@pytest.fixture(scope="module")
def encoder(configure, tmp_path_factory):
    out = tmp_path_factory.mktemp("card")
    pretrain(configure(out, train={"steps": 2, "validate_every": 2}))
    return out / "encoder"


def test_it_names_data_recipe_and_licences(encoder):
    card = (encoder / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n") and "sentence-transformers" in card
    assert "CC0-1.0" in card and "2 layers, 32 wide" in card and "reads 64 tokens" in card
    assert '"share": 0.3' in card and "bits per byte" in card
    assert "Results" not in card and "What it remembers" not in card


def test_a_second_stage_keeps_the_first_ones_data(configure, encoder, tmp_path):
    pretrain(configure(tmp_path / "second", tokenizer=encoder, model={}, start={"encoder": encoder},
                       contrast={"events": 8}, train={"steps": 2, "validate_every": 2}))  # fmt: skip
    card = (tmp_path / "second" / "encoder" / "README.md").read_text()
    assert "1. Masked language modelling" in card and "2. Contrastive stage" in card
    assert card.count("times what the training data holds") == 2


def test_templates_are_named_by_their_content(configure, encoder, tmp_path):
    (tmp_path / "templates.txt").write_text("Accepted password for <*>\n")
    contrast = {"events": 8, "templates": tmp_path / "templates.txt"}
    pretrain(configure(tmp_path / "known", tokenizer=encoder, model={}, start={"encoder": encoder}, contrast=contrast,
                       train={"steps": 2, "validate_every": 2}))  # fmt: skip
    said = "".join((tmp_path / "known" / "encoder" / name).read_text() for name in ("README.md", "training.json"))
    assert str(tmp_path) not in said and "SHA-256" in said


def test_results_and_audit_come_from_files(encoder, tmp_path):
    (tmp_path / "results.csv").write_text(RESULTS)
    audit = {"most_bits": 13.3, "originals": 1234, "originals_found": [],
             "by_count": [{"count": 4, "canaries": 10, "exposure": 1.25, "first": 0.1}]}  # fmt: skip
    (tmp_path / "audit.json").write_text(json.dumps(audit))
    (tmp_path / "some.json").write_text(json.dumps(audit | {"originals_found": ["github", "svc"]}))
    words = ["--results", str(tmp_path / "results.csv"), "--audit", str(tmp_path / "audit.json")]
    assert main(["export", str(encoder), "--out", str(tmp_path / "out"), *words, "--licence", "Apache-2.0"]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: apache-2.0" in card and "The weights are under Apache-2.0" in card
    assert "### search\n\n| map (higher is better) | ours | tfidf |" in card
    assert "| linux* | 0.850 | 0.700 |" in card and "| hdfs | 0.500 |  |" in card and "| random |" not in card
    # Of those that were not looked at, and of encoders that have them all.
    assert "| **mean, without *** | 0.550 |  |" in card
    assert "0.123" not in card and "0.234" not in card and "| hdfs, hybrid | 3.000 |" in card
    assert "| hdfs | 0.950 |" in card and "| diff | ours |" in card
    assert "| hdfs, 20 % | 0.456 | 1,234 |" in card and "0.345" not in card
    assert "| p50_ms (lower is better) | ours |" in card
    assert "| 4 | 10 | 1.25 | 0.10 |" in card and "1,234 names" in card and "None of them occurs" in card
    some = Extras(audit=tmp_path / "some.json", results=tmp_path / "results.csv", name="ours")
    export_checkpoint(encoder, tmp_path / "some", some)
    card = (tmp_path / "some" / "README.md").read_text()
    assert "1,234" not in card.split("## What it remembers")[0]  # of those asked for, the one of that name
    assert "parts of other names: github, svc." in card and "# ours\n" in card and 'LogEncoder.load("ours")' in card
    again = export_checkpoint(tmp_path / "out", tmp_path / "plain", Extras())
    assert "Results" not in (tmp_path / "plain" / "README.md").read_text() and again.outputs["training.json"]


@pytest.mark.parametrize("name", ["results", "audit"])
def test_what_cannot_be_read_is_named(encoder, tmp_path, name):
    path = tmp_path / "wrong"
    with pytest.raises(UserError, match="no such file"):
        export_checkpoint(encoder, tmp_path / "out", Extras(**{name: path}))
    path.write_text("nonsense,\n1,2,3\n")
    with pytest.raises(UserError, match=f"cannot read the {name}"):
        export_checkpoint(encoder, tmp_path / "out", Extras(**{name: path}))
    assert not (tmp_path / "out").exists()
