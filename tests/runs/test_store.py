"""The run folder: what is written, what is refused, and that nothing is written where something is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.files import write_json
from mmvae_bench.runs import store as store_module
from mmvae_bench.runs.members import read_members
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


def test_a_grid_that_grows_is_welcome_and_one_that_shrinks_is_not(stub: StubRun) -> None:
    stub.store()
    stub.seeds = (0, 1, 2, 3)
    assert len(stub.store().keys()) == 4
    before = (stub.out / "grid.yaml").read_text()
    stub.seeds = (0, 1)
    with pytest.raises(ConfigError, match="holds 2 of 4 trials that this grid does not have"):
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


@pytest.mark.parametrize("first", [1, 2, 7, 64, 16_384])
@pytest.mark.parametrize("indent", [None, 2])
def test_members_are_found_however_the_file_is_cut(tmp_path: Path, first: int, indent: int | None) -> None:
    value = {"version": 12345, "name": "æ\\\"}{", "evaluation": {"a": [1, 2.5e-3, None]}, "training": -17.25,
             "scores": list(range(200))}  # fmt: skip
    path = tmp_path / "result.json"
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False))
    assert read_members(path, ("evaluation", "training"), first=first) == {
        key: value[key] for key in ("evaluation", "training")
    }
    assert read_members(path, ("version",), first=first) == {"version": 12345}
    assert read_members(path, ("absent",), first=first) == {}
    path.write_text("{}")
    assert read_members(path, ("absent",), first=first) == {}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1', '{"a" 1}', '{"a": 1 "b": 2}', "nonsense"])
def test_what_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="not a whole JSON object"):
        read_members(path, ("b",))


def test_members_read_no_more_than_they_must(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"evaluation": {}, "training": {}, "scores": [' + " " * 100_000 + "damaged")
    assert read_members(path, ("evaluation", "training")) == {"evaluation": {}, "training": {}}
