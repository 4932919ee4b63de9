"""Why trials are held back, as a file that may come from a stranger."""

from __future__ import annotations

import json
import time
from pathlib import Path

from mmvae_bench.runs.documents import ERROR_CHARACTERS
from mmvae_bench.runs.held import held_reasons, note_held
from mmvae_bench.runs.names import HELD_FILE


def test_reasons_are_added_also_those_with_bytes_that_are_no_text(tmp_path: Path) -> None:
    note_held(tmp_path, ["a"], "no such file: caf\udce9.csv")
    note_held(tmp_path, ["b", "c"], "a bug")
    note_held(tmp_path, ["d"], "a bug")
    assert held_reasons(tmp_path) == {"a": "no such file: caf\\udce9.csv", "b": "a bug", "c": "a bug", "d": "a bug"}


def test_a_long_reason_of_many_trials_is_cut_once(tmp_path: Path) -> None:
    keys = [f"{number:012x}" for number in range(20_000)]
    (tmp_path / HELD_FILE).write_text(json.dumps({"\x1b" * 1_000_000: keys}))
    begin = time.process_time()
    found = held_reasons(tmp_path)
    assert time.process_time() - begin < 2
    assert set(found) == set(keys)
    assert {len(reason) for reason in found.values()} == {ERROR_CHARACTERS}


def test_a_file_that_is_too_large_or_none_of_ours_is_no_reason(tmp_path: Path) -> None:
    (tmp_path / HELD_FILE).write_text(json.dumps({"x" * 9_000_000: ["a"]}))
    assert held_reasons(tmp_path) == {}
    (tmp_path / HELD_FILE).write_text('{"a bug": "not a list"}')
    assert held_reasons(tmp_path) == {}
