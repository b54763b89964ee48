"""Names that libraries invent: fit for accounts, hosts and logs, and the same from the same stream."""

import json
from pathlib import Path
from random import Random

from logfm.configs.schema.simulate import SimulateConfig
from logfm.corpus.simulate import invented, simulate


def test_people_are_different_and_fit_for_accounts() -> None:
    found = invented.people(Random(3), 500)
    assert len(set(found)) == 500 and found == invented.people(Random(3), 500) != invented.people(Random(4), 500)
    assert all(name.isascii() and name.islower() and 3 <= len(name) <= 15 for pair in found for name in pair)


def test_what_was_drawn_before_does_not_matter() -> None:
    first = invented.people(Random(1), 20)
    invented.words(Random(2), 50)
    assert invented.people(Random(1), 20) == first


def test_companies_and_domains_differ_from_seed_to_seed() -> None:
    assert len({invented.company(Random(seed)) for seed in range(40)}) > 30
    words = invented.words(Random(0), 180)
    assert len(set(words)) == 180 and all(word.replace("-", "").isalnum() and word.isascii() for word in words)


def test_agents_are_those_of_real_visitors_and_fit_in_an_access_log() -> None:
    found = invented.agents(Random(0), 2000)
    assert all('"' not in agent and agent.isprintable() for agent in found)
    assert 0.2 < sum("iPhone" in agent for agent in found) / len(found) < 0.6
    assert any(agent.startswith("curl/") for agent in found)
    assert all("Windows NT 10.0" in agent for agent in invented.office_agents(Random(0), 200))


def test_the_releases_that_names_depend_on_are_told(tmp_path: Path) -> None:
    simulate(SimulateConfig(events=1000, attacks=0), tmp_path / "made")
    inputs = json.loads((tmp_path / "made" / "manifest.json").read_text())["inputs"]
    assert inputs.items() >= invented.versions().items()
