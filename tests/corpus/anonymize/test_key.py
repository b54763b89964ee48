import pytest

from logfm.corpus.anonymize import key_id, read_key, write_key
from logfm.errors import UserError


def test_a_new_key_is_private_random_and_reads_back(tmp_path):
    path = tmp_path / "key"
    made = write_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == made
    assert write_key(tmp_path / "other") != made
    with pytest.raises(UserError, match="File exists"):
        write_key(path)


def test_raw_bytes_are_a_key_too_and_its_id_tells_nothing(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(bytes(range(7, 47)))
    path.chmod(0o600)
    assert len(read_key(path)) == 32
    assert key_id(read_key(path)) not in read_key(path).hex()


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"ab" * 32, 0o644, "others may read"),
        (b"short", 0o600, "5 bytes"),
        (b"00" * 32, 0o600, "not random"),
        (bytes(range(31)), 0o600, "31 bytes"),
    ],
)
def test_a_bad_key_is_refused(tmp_path, content, mode, reason):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(UserError, match=reason):
        read_key(path)


def test_a_missing_key_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match="logfm corpus key"):
        read_key(tmp_path / "none")
