"""The model card says what the manifests and the results say."""

import json

import pytest

from logfm.cli import main
from logfm.errors import UserError
from logfm.pretrain import pretrain
from logfm.pretrain.export import Extras, export_checkpoint

RESULTS = """suite,task,data,metric,encoder,condition,direction,value,status
local,search,linux,map,ours,,higher,0.9,ok
local,search,linux,map,ours,,higher,0.8,ok
local,search,linux,map,tfidf,,higher,0.7,ok
local,search,linux,mrr,ours,,higher,0.1,ok
local,search,linux,map,ours,no copies,higher,0.2,ok
local,search,linux,map,random,,higher,nan,failed
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


def test_results_and_audit_come_from_files(encoder, tmp_path):
    (tmp_path / "results.csv").write_text(RESULTS)
    audit = {"most_bits": 13.3, "originals_found": 0,
             "by_count": [{"count": 4, "canaries": 10, "exposure": 1.25, "first": 0.1}]}  # fmt: skip
    (tmp_path / "audit.json").write_text(json.dumps(audit))
    words = ["--results", str(tmp_path / "results.csv"), "--audit", str(tmp_path / "audit.json")]
    assert main(["export", str(encoder), "--out", str(tmp_path / "out"), *words, "--licence", "Apache-2.0"]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: apache-2.0" in card and "The weights are under Apache-2.0" in card
    assert "| search | linux | map | 0.850 | 0.700 |" in card and "0.100" not in card
    assert "| 4 | 10 | 1.25 | 0.10 |" in card and "0 occur" in card
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
