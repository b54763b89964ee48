"""The configuration system: overrides, recipes, and errors that name the key."""

import pytest
from pydantic import Field

from logfm.configs import Config, copy, find, load, recipes
from logfm.errors import UserError


class Inner(Config):
    rate: float = Field(0.1, gt=0)


class Outer(Config):
    name: str
    inner: Inner = Inner()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("name: x\n")
    return file


def test_overrides_are_yaml_values_by_dotted_name(path):
    assert load(Outer, path, ["inner.rate=2e-1", "name=y"]) == Outer(name="y", inner=Inner(rate=0.2))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inner.rat=1", "unknown key inner.rat .did you mean rate"),
        ("inner.rate=-1", "inner.rate: Input should be greater than 0"),
        ("inner.rate", "--set expects key=value"),
        ("name.first=a", "name is a value, not a section"),
        ("name=[", "not YAML"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(path, override, message):
    with pytest.raises(UserError, match=message) as error:
        load(Outer, path, [override])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- a\n", "a: [", "\x00"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError):
        load(Outer, tmp_path / "bad.yaml")


def test_yaml_makes_no_objects(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UserError, match="cannot read"):
        load(Outer, tmp_path / "bad.yaml")


def test_a_recipe_is_found_by_name_and_copied_once(tmp_path):
    name = next(iter(recipes()))
    assert find(name).is_file()
    written = copy(name, tmp_path)
    assert written.read_bytes() == find(name).read_bytes()
    with pytest.raises(UserError, match="the file exists"):
        copy(name, tmp_path)
    with pytest.raises(UserError, match=f"Did you mean {name}"):
        find(name + "x")


def test_every_recipe_says_what_it_is():
    for path in recipes().values():
        assert path.read_text().startswith("# ")
