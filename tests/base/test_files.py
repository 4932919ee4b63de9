"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import pytest

from mmvae_bench.base.files import (
    MOST_LEVELS,
    DamagedFile,
    append_regular,
    atomic_path,
    clear_leftovers,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    tail,
    write_atomic,
    write_json,
    write_text,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from mmvae_bench.base.files import write_atomic

def write(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

write_atomic(Path(sys.argv[1]), write)
"""


def test_a_writer_that_raises_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def write(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file.json"
    write_text(path, "whole")
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, write)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_are_removed_where_only_files_open_for_writing_can_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, where an exclusive lock on another file fails with EBADF."""
    lock = fcntl.flock

    def on_nfs(file: IO[bytes], kind: int) -> None:
        number = file if isinstance(file, int) else file.fileno()
        if kind & fcntl.LOCK_EX and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lock(number, kind)

    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "file.json")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(fcntl, "flock", on_nfs)
    clear_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_is_killed_leaves_what_can_be_removed(tmp_path: Path) -> None:
    path, other = tmp_path / "file.json", tmp_path / ".file.jsonl.tmp"
    write_text(path, "whole")
    other.touch()
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 3
    clear_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == [other, path]


def test_a_file_that_is_being_written_is_no_leftover(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "file.json") as temporary:
        temporary.write_text("whole")
        left = tmp_path / ".file.json.0_a1b2c3.json"
        left.touch()
        clear_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [temporary]
    assert (tmp_path / "file.json").read_text() == "whole"


def test_a_folder_that_is_a_link_is_not_cleared(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    left = tmp_path / "theirs" / ".file.0_a1b2c3"
    left.touch()
    (tmp_path / "report").symlink_to(tmp_path / "theirs")
    clear_leftovers(tmp_path / "report")
    clear_leftovers(tmp_path / "missing")
    assert left.exists()


def test_an_error_names_the_file_and_not_its_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / ".file.json.0_a1b2c3.json"))

    (tmp_path / "folder.json").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "folder.json", "")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "folder.json"), None)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(OSError, match="Read-only") as refused:
        write_text(path, "")
    assert refused.value.filename == str(path)


def test_a_name_that_is_not_utf_8_can_be_written_about(tmp_path: Path) -> None:
    write_text(tmp_path / "file", os.fsdecode(b"gr\xf6sse"))
    assert read_text(tmp_path / "file") == "gr\\udcf6sse"


def test_only_a_regular_file_is_appended_to(tmp_path: Path) -> None:
    path, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    for text in (b"1", b"2"):
        with append_regular(path) as file:
            file.write(text)
    assert path.read_bytes() == b"12"
    link.symlink_to(path)
    os.mkfifo(pipe)
    for other in (link, pipe):
        with pytest.raises(DamagedFile, match="not a regular file"), append_regular(other):
            pass
    assert path.read_bytes() == b"12"


def test_only_a_regular_file_is_read_and_nothing_is_waited_for(tmp_path: Path) -> None:
    secret, link, pipe = tmp_path / "secret", tmp_path / "link", tmp_path / "pipe"
    secret.write_text("secret\n")
    link.symlink_to(secret)
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(DamagedFile, match="not a regular file"):
            read_bytes(path)
        assert tail(path) == []
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "missing")
    assert tail(secret) == ["secret"]


def test_a_file_has_a_greatest_size(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, at_most=5) == b"12345"
    with pytest.raises(DamagedFile, match="more than 4 bytes"):
        read_bytes(path, at_most=4)


def test_text_is_utf_8_in_any_locale(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "Größe")
    code = "import sys; from pathlib import Path; from mmvae_bench.base.files import read_text\n"
    code += "print(ascii(read_text(Path(sys.argv[1]))))"
    latin = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, path], env=latin, capture_output=True, timeout=60, check=True)
    assert done.stdout.decode().strip() == ascii("Größe")
    path.write_bytes("Größe".encode("latin-1"))
    with pytest.raises(DamagedFile, match="not UTF-8 text at byte 2"):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[1, NaN]", "NaN is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ("[" * 200 + "]" * 200, f"more than {MOST_LEVELS} deep"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("1" * 5000, "digits"),
    ],
)
def test_json_that_is_none_or_too_deep_is_damaged(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(DamagedFile, match=f"file.json is damaged: .*{reason}"):
        read_json(path)


def test_json_is_read_as_written(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, {"b": "ü"}], "deep": [[[[[]]]]]}
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == value
    deepest: list[object] = []
    for _ in range(MOST_LEVELS - 1):
        deepest = [deepest]
    assert parse_json(str(deepest)) == deepest


def test_a_users_hidden_file_is_no_leftover(tmp_path: Path) -> None:
    left = tmp_path / ".spec.json.0_a1b2c3.json"
    theirs = [tmp_path / name for name in (".vimrc.original", ".app.settings.json", ".a.json.settings.yaml")]
    for path in (left, *theirs):
        path.touch()
    clear_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(theirs)


def test_a_damaged_file_is_named_across_processes() -> None:
    again = pickle.loads(pickle.dumps(DamagedFile(Path("a/b.json"), "not JSON")))
    assert (type(again), again.path, again.reason) == (DamagedFile, Path("a/b.json"), "not JSON")
    assert str(again) == "a/b.json is damaged: not JSON"
