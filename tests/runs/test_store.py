"""The run folder: what is written, what is refused, and that nothing is written where something is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.files import atomic_path, write_json
from mmvae_bench.runs import folder as folder_module
from mmvae_bench.runs import store as store_module
from mmvae_bench.runs.folder import TrialFolder
from mmvae_bench.runs.status import Status, read_status, write_status
from mmvae_bench.runs.store import RunStore, StoreError

from ..sweep.support import StubRun


def test_a_key_is_the_hash_of_the_spec_file(stub: StubRun) -> None:
    store = stub.store()
    keys = store.keys()
    assert len(keys) == 3
    for key in keys:
        data = store.folder(key).spec_path.read_bytes()
        assert hashlib.sha256(data).hexdigest()[:12] == key
        assert "evaluation" not in json.loads(data)
        assert json.loads(store.folder(key).evaluation_path.read_text())["num_samples"] == 10
    assert store.grid_path.read_text() == stub.write_grid().read_text()
    leftovers = [path.name for path in store.trials_root.iterdir() if path.name.startswith(".")]
    assert leftovers == []


def test_what_killed_writers_left_is_removed(stub: StubRun) -> None:
    store = stub.store()
    done, working = (store.folder(key).directory for key in sorted(store.keys())[:2])
    left = [
        done / ".evaluation.json.0_a1b2c3.json", done / ".spec.json.0_a1b2c3.json", done / ".last.ckpt.0_a1b2c3.ckpt",
        stub.out / ".grid.yaml.0_a1b2c3.yaml", stub.out / ".results.parquet.0_a1b2c3.parquet",
        stub.out / "report" / ".index.html.0_a1b2c3.html", stub.out / "report" / "figures" / ".a-b.svg.0_a1b2c3.svg",
    ]  # fmt: skip
    own = [stub.out / ".notes.md", done / ".gitignore"]
    for path in (*left, *own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with atomic_path(working / "status.json") as temporary:
        stub.store()
        assert temporary.exists(), "a trial at work writes it"
        temporary.write_text("{}")
    assert not [path for path in left if path.exists()]
    assert all(path.exists() for path in own)


def test_a_grid_that_is_no_regular_file_is_replaced(stub: StubRun) -> None:
    """A stranger's folder: nothing is read through a link or waited for, and nothing written through it."""
    store, secret = stub.store(), stub.root / "secret"
    secret.write_text("secret")
    for make in (lambda path: path.symlink_to(secret), os.mkfifo):
        store.grid_path.unlink()
        make(store.grid_path)
        stub.store()
        assert store.grid_path.read_bytes() == stub.write_grid().read_bytes()
        assert not store.grid_path.is_symlink()
    assert secret.read_text() == "secret"


def test_a_grid_that_grows_is_welcome_and_one_that_shrinks_is_not(stub: StubRun) -> None:
    stub.store()
    stub.seeds = (0, 1, 2, 3)
    assert len(stub.store().keys()) == 4
    before = (stub.out / "grid.yaml").read_text()
    stub.seeds = (0, 1)
    with pytest.raises(ConfigError, match="2 of its 4 trials are not in this grid"):
        stub.store()
    assert (stub.out / "grid.yaml").read_text() == before


def test_another_version_is_refused_by_name(stub: StubRun) -> None:
    store = stub.store()
    folder = store.folder(sorted(store.keys())[0])
    spec = json.loads(folder.spec_path.read_text())
    folder.spec_path.write_text(json.dumps(spec | {"version": 7}))
    with pytest.raises(ConfigError, match=r"made by version 7 .*version 1\n.*--out"):
        store.check()


def test_a_spec_changed_by_hand_is_refused(stub: StubRun) -> None:
    store = stub.store()
    folder = store.folder(sorted(store.keys())[0])
    folder.spec_path.write_text(folder.spec_path.read_text().replace('"seed":', '"seed": '))
    with pytest.raises(ConfigError, match="no longer its hash"):
        store.check()
    folder.spec_path.write_text("{nonsense")
    with pytest.raises(ConfigError, match="damaged"):
        store.check()


def test_a_spec_that_a_power_cut_left_empty_is_written_again(stub: StubRun) -> None:
    store = stub.store()
    folder = store.folder(sorted(store.keys())[0])
    text = folder.spec_path.read_text()
    folder.spec_path.write_text("")
    folder.evaluation_path.unlink()
    stub.store()
    assert folder.spec_path.read_text() == text
    assert folder.evaluation() is not None


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="is a file; a run needs a folder"):
        RunStore(tmp_path / "run").check()


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "Free some space"), (errno.EROFS, "--out"), (errno.EACCES, "--out")]
)
def test_a_disk_that_does_not_take_it_is_explained(
    stub: StubRun, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(store_module, "write_text", refuse)
    with pytest.raises(StoreError, match=advice) as caught:
        stub.store()
    assert os.strerror(number) in str(caught.value)
    assert str(stub.out) in str(caught.value)


def test_states_from_the_evidence(stub: StubRun) -> None:
    store = stub.store()
    folder = store.folder(sorted(store.keys())[0])
    asked = folder.evaluation()
    assert folder.status(asked) == Status()
    write_status(folder.directory, Status(state="failed", attempts=1, error="broken"))
    assert folder.status(asked).state == "failed"
    write_json(folder.result_path, {"version": 1, "evaluation": asked, "scores": []})
    done = folder.status(asked)
    assert (done.state, done.error, done.attempts) == ("done", None, 1)
    write_status(folder.directory, Status(state="done", attempts=1))
    assert folder.status({"num_samples": 3}).state == "pending"
    folder.result_path.write_text('{"version": 1, "evalua')
    assert folder.status(asked).state == "pending"


@pytest.mark.parametrize("text", ["", "[]", '{"state": "lost"}', '{"state": "runn'])
def test_a_status_that_cannot_be_understood_is_pending(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) == Status()


def test_a_status_of_the_future_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    write_json(tmp_path / "status.json", {"state": "running", "step": None, "steps": 5, "mood": "good"})
    assert read_status(tmp_path) == Status(state="running", steps=5)


RESULT = {
    "version": 1, "name": "æ\\\"}{", "evaluation": {"a": [1, 2.5e-3, None], "scores": {"b": 1}}, "training": -17.25,
    "scores": [{"value": 0.5, "per_query": [0.1, 0.2], "proposal": None}] * 20,
}  # fmt: skip
DECOYS = {"evaluation": {"c": 1, "scores": [1]}, "note": 'a text with , "scores": [ in it', "scores": [{}]}


@pytest.mark.parametrize("head_bytes", [1, 7, 64, 16_384])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("result", [RESULT, DECOYS], ids=["result", "decoys"])
def test_the_head_of_a_result_is_found_however_it_is_laid_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head_bytes: int, indent: int | None,
    result: dict[str, Any],
) -> None:  # fmt: skip
    monkeypatch.setattr(folder_module, "HEAD_BYTES", head_bytes)
    folder = TrialFolder(tmp_path)
    folder.result_path.write_text(json.dumps(result, indent=indent, ensure_ascii=False), encoding="utf-8")
    assert folder.result_head() == {name: value for name, value in result.items() if name != "scores"}
    assert folder.is_done(result["evaluation"])
    assert not folder.is_done({"a": 1})


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1', '{"a" 1}', '{"a": 1 "b": 2}', "nonsense", "17", "[]}"])
def test_a_result_that_is_no_whole_object_is_none(tmp_path: Path, text: str) -> None:
    folder = TrialFolder(tmp_path)
    assert folder.result_head() is None, "there is no file yet"
    folder.result_path.write_text(text)
    assert folder.result_head() is None
    assert not folder.is_done(None)


def test_a_result_that_was_cut_short_anywhere_is_not_done(tmp_path: Path) -> None:
    folder, text = TrialFolder(tmp_path), json.dumps(RESULT | {"scores": RESULT["scores"][:2]})
    for end in range(len(text)):
        folder.result_path.write_text(text[:end])
        assert folder.result_head() is None, end


def test_the_scores_of_a_result_are_not_parsed(tmp_path: Path) -> None:
    """Not even when they are damaged: a driver asks this of thousands of trials."""
    folder = TrialFolder(tmp_path)
    folder.result_path.write_text('{"evaluation": {}, "training": {}, "scores": [' + " " * 100_000 + "damaged]}")
    assert folder.result_head() == {"evaluation": {}, "training": {}}


def test_nor_are_those_of_a_result_as_a_trial_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with a newline."""
    folder = TrialFolder(tmp_path)
    write_json(folder.result_path, RESULT)
    monkeypatch.setattr(folder_module, "parse_json", lambda text: pytest.fail("parsed as a whole"))
    assert folder.result_head() == {name: value for name, value in RESULT.items() if name != "scores"}


@pytest.mark.parametrize("status", ["running", "failed", "pending", "torn", "empty", "missing"])
def test_a_process_killed_between_its_result_and_its_status_loses_nothing(stub: StubRun, status: str) -> None:
    """The result is the truth: whatever the status file says or does not say, nothing runs again."""
    stub.drive()
    path = stub.folders()[1] / "status.json"
    written = json.loads(path.read_text())
    if status == "missing":
        path.unlink()
    elif status in ("torn", "empty"):
        path.write_text(path.read_text()[:20] if status == "torn" else "")
    else:
        path.write_text(json.dumps(written | {"state": status, "step": 3}))
    folder = TrialFolder(stub.folders()[1])
    assert folder.status(folder.evaluation()).state == "done"
    outcome, recorder = stub.drive()
    assert (outcome.exit_code, recorder.events[0].done) == (0, 3)
    assert stub.counts("start") == {0: 1, 1: 1, 2: 1}


def test_a_status_that_says_done_without_a_result_is_not_done(stub: StubRun) -> None:
    stub.drive()
    folder = TrialFolder(stub.folders()[1])
    folder.result_path.unlink()
    assert read_status(folder.directory).state == "done"
    assert folder.status(folder.evaluation()).state == "pending"
    assert stub.drive()[1].events[0].done == 2
    assert stub.counts("start") == {0: 1, 1: 2, 2: 1}
