"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from mmvae_bench.base.files import remove_leftovers, write_atomic, write_text

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


def test_a_writer_that_is_killed_leaves_what_can_be_removed(tmp_path: Path) -> None:
    path, other = tmp_path / "file.json", tmp_path / ".file.jsonl.tmp"
    write_text(path, "whole")
    other.touch()
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 3
    remove_leftovers(path)
    assert sorted(tmp_path.iterdir()) == [other, path]
