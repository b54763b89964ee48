import pytest

from logfm.configs import load
from logfm.configs.schema.cases import AttackConfig
from logfm.configs.schema.decoder import DecoderConfig
from logfm.errors import UserError
from logfm.finetune.decoder.attack import Labels, load_attack
from tests.finetune.decoder.logs import release


def labels(tmp_path, **more):
    config = AttackConfig(path=release(tmp_path / "kb"), **more)
    return Labels(load_attack(config), config)


def test_revoked_ids_become_what_replaced_them_and_unknown_ones_go(tmp_path):
    found = labels(tmp_path)
    assert found.resolve(["T1086", "t1003.001", "T1999", "T4242", "T1059"]) == ("T1059", "T1003.001")
    assert found.counts == {
        "technique ids replaced by the release": 1,
        "technique ids that the release doesn't have": 2,
    }


def test_parents_instead_of_sub_techniques(tmp_path):
    assert labels(tmp_path, level="parent").resolve(["T1003.001", "T1003", "T1562"]) == ("T1003", "T1562")


def test_unknown_ids_kept_or_refused(tmp_path):
    config = AttackConfig(path=release(tmp_path / "kb"), unknown="keep")
    kept = Labels(load_attack(config), config)
    assert kept.resolve(["T4242", "nonsense"]) == ("T4242",)
    strict = config.model_copy(update={"unknown": "refuse"})
    with pytest.raises(UserError, match="T4242"):
        Labels(load_attack(strict), strict).resolve(["T4242"])


def test_names_tactics_and_parents(tmp_path):
    found = load_attack(AttackConfig(path=release(tmp_path / "kb")))
    assert found.tactics("T1003.001") == ("credential-access",) == found.tactics("T1003.099")
    assert found.tactics("T4242") == ()
    assert (found.name("T1059"), found.name("T4242")) == ("Command and Scripting Interpreter", "T4242")
    assert found.parent("T1003.001") == "T1003" == found.parent("T1003")


def test_a_release_is_pinned_by_its_hash(tmp_path):
    folder = release(tmp_path / "kb")
    digest = load_attack(AttackConfig(path=folder)).digest
    assert load_attack(AttackConfig(path=folder, sha256=digest)).digest == digest
    with pytest.raises(UserError, match="another ATT&CK release"):
        load_attack(AttackConfig(path=folder, sha256="0" * 64))


def test_a_folder_that_holds_none(tmp_path):
    with pytest.raises(UserError, match="no ATT&CK release"):
        load_attack(AttackConfig(path=tmp_path))
    (tmp_path / "techniques.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="not JSON lines"):
        load_attack(AttackConfig(path=tmp_path))


def test_what_ships_is_a_whole_release():
    found = load_attack(AttackConfig())
    assert len(found.techniques) == 691
    assert found.tactics("T1003") == ("credential-access",)
    assert Labels(found, AttackConfig()).resolve(["T1086", "T1114"]) == ("T1059.001", "T1114")
    assert load_attack(AttackConfig(sha256=found.digest)) is found
    with pytest.raises(UserError, match="another ATT&CK release"):
        load_attack(AttackConfig(sha256="0" * 64))


def test_another_release_than_what_ships_needs_its_folder(tmp_path):
    with pytest.raises(UserError, match=r"only ATT&CK 18\.1 ships: 15\.1"):
        load_attack(AttackConfig(release="15.1"))
    assert load_attack(AttackConfig(release="15.1", path=release(tmp_path / "kb"))).release == "15.1"


@pytest.mark.parametrize("name", ["tram", "triage", "techniques"])
def test_recipes_pin_the_release(name):
    attack = load(DecoderConfig, f"finetune/{name}").data.attack
    assert attack.sha256 == load_attack(attack).digest


def test_the_real_release(shared_data):
    folder = shared_data / "threat_text" / "attack_kb"
    found = load_attack(AttackConfig(path=folder))
    assert len(found.techniques) == 691
    assert found.replaced["T1086"] == "T1059.001"
    shipped = load_attack(AttackConfig())
    assert (shipped.techniques, shipped.replaced) == (found.techniques, found.replaced)
    config = AttackConfig(path=folder)
    assert Labels(found, config).resolve(["T1086", "T1666.A002"]) == ("T1059.001",)
