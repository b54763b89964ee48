import io
import os
from pathlib import Path

import pytest

from logfm.corpus.discover import discover
from logfm.errors import UserError


def names(*inputs: object) -> list[str]:
    return [one.name for one in discover([str(one) for one in inputs])[0]]


def test_names_are_relative_to_the_folder_and_sorted(write, tmp_path):
    for name in ("b/z.log", "b/a.log", "a.log"):
        write(name, "x\n")
    assert names(tmp_path / "logs") == ["a.log", "b/a.log", "b/z.log"]


def test_clashing_names_are_lengthened_until_they_differ(write, tmp_path):
    first, second, third = write("one/a.log", "1\n"), write("two/a.log", "2\n"), write("two/b.log", "3\n")
    assert names(first, second, third) == ["b.log", "one/a.log", "two/a.log"]
    assert names(tmp_path / "logs/one", tmp_path / "logs/two") == ["b.log", "one/a.log", "two/a.log"]


def test_a_file_reached_twice_is_read_once(write, tmp_path):
    path = write("a.log", "x\n")
    (tmp_path / "logs/link.log").symlink_to(path)
    assert names(tmp_path / "logs", path) == ["a.log"]


def test_source_is_the_top_folder_or_the_stem(write, tmp_path):
    write("web/2024/a.log", "x\n")
    write("auth.log.1.gz", "x\n")
    found, _ = discover([str(tmp_path / "logs")])
    assert {one.name: one.source for one in found} == {"auth.log.1.gz": "auth", "web/2024/a.log": "web"}


def test_glob(write, tmp_path):
    for name in ("a.log", "b.txt", "sub/c.log"):
        write(name, "x\n")
    assert names(tmp_path / "logs" / "*.log") == ["a.log"]
    assert names(tmp_path / "logs" / "**" / "*.log") == ["a.log", "sub/c.log"]


def test_a_name_with_glob_characters_is_a_file_first(write):
    assert names(write("a[1].log", "x\n")) == ["a[1].log"]


def test_stdin(monkeypatch, read):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a": 1}\n{"a": 2}\n')))
    events, rejects = read("-")
    assert [(one.file, one.source, one.offset, one.text) for one in events] == [
        ("stdin", "stdin", 0, '{"a": 1}'),
        ("stdin", "stdin", 9, '{"a": 2}'),
    ]
    assert rejects == []


@pytest.mark.parametrize("given", ["missing.log", "missing/*.log"])
def test_what_does_not_exist_is_the_users_mistake(tmp_path, given):
    with pytest.raises(UserError, match=r"no such file or folder|nothing matches"):
        discover([str(tmp_path / given)])


def test_an_empty_name_is_not_the_current_folder(write, tmp_path, monkeypatch):
    write("a.log", "x\n")
    monkeypatch.chdir(tmp_path / "logs")
    assert names(".") == ["a.log"]
    with pytest.raises(UserError, match="an empty name"):
        discover([""])


def test_a_file_that_goes_away_is_passed_over(write, tmp_path, monkeypatch):
    write("a.log", "x\n")
    gone = write("gone.log", "x\n")

    def unlink_first(entries: object) -> list[str]:
        gone.unlink()
        return ["a.log", "gone.log"]

    monkeypatch.setattr("logfm.corpus.discover._unique_names", unlink_first)
    found, rejects = discover([str(tmp_path / "logs")])
    assert [one.name for one in found] == ["a.log"]
    assert [one.reason for one in rejects] == ["cannot be read (No such file or directory)"]


def test_an_empty_folder_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="nothing to read"):
        discover([str(tmp_path)])


def test_loops_pipes_dead_links_and_locked_files_are_passed_over(write, tmp_path, monkeypatch):
    write("a.log", "x\n")
    locked = write("locked.log", "x\n")
    logs = tmp_path / "logs"
    (logs / "loop").symlink_to(logs, target_is_directory=True)
    (logs / "dead.log").symlink_to(tmp_path / "nowhere")
    (logs / "itself").symlink_to("itself")
    os.mkfifo(logs / "pipe")
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and allowed(path, mode))
    found, rejects = discover([str(logs)])
    assert [one.name for one in found] == ["a.log"]
    assert {(Path(one.file).name, one.reason) for one in rejects} == {
        ("dead.log", "cannot be read (No such file or directory)"),
        ("itself", "cannot be read (Too many levels of symbolic links)"),
        ("locked.log", "cannot be read (Permission denied)"),
        ("loop", "symbolic link to a folder that is read already"),
        ("pipe", "not a regular file"),
    }


def test_a_file_name_that_is_no_utf8(tmp_path, read):
    (tmp_path / "logs").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "logs") + b"/caf\xe9.log")).write_bytes(b"hello\n")
    events, _ = read(tmp_path / "logs")
    assert [Path(one.file).name for one in events] == ["caf\\xe9.log"]
