from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmvae_bench.base.files import read_json, write_json
from mmvae_bench.data.cache import META
from mmvae_bench.evaluation import classifier_training as training
from mmvae_bench.evaluation.classifier import ObservationClassifier
from mmvae_bench.specs.components import ClassifierSpec, classifiers

from .fakes import LINES, LinesData, LinesSpec, draw

QUICK = {"name": "conv_thin", "steps": 60, "batch_size": 64, "width": 8, "hidden": 32}


class Counter:
    """Counts the trainings: how often progress reached the end."""

    def __init__(self) -> None:
        self.trained = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        assert what == "classifier"
        self.trained += done == total


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path))
    return tmp_path / "classifiers"


def get(data: LinesData, progress: Counter | None = None, **parameters: object) -> ObservationClassifier:
    return training.observation_classifier(classifiers.parse({**QUICK, **parameters}), data, progress=progress)


@pytest.mark.parametrize("name", ["conv_thin", "conv_published"])
def test_a_classifier_learns_a_simple_dataset(lines: Callable[..., LinesData], cache: Path, name: str) -> None:
    spec = {"name": name, "steps": 150, "batch_size": 64, "hidden": 64, "learning_rate": 3e-3}
    classifier = training.observation_classifier(classifiers.parse(spec), lines())
    assert min(classifier.accuracy.values()) > 0.98
    assert torch.equal(classifier.predict(draw(LINES.combinations())), LINES.combinations())


def test_the_second_call_does_not_train(lines: Callable[..., LinesData], cache: Path) -> None:
    count = Counter()
    first, second = get(lines(), count), get(lines(), count)
    assert count.trained == 1
    images = draw(LINES.combinations())
    for one, other in zip(first.network(images), second.network(images), strict=True):
        assert torch.equal(one, other)
    assert first.accuracy == second.accuracy
    assert first.fingerprint == second.fingerprint
    meta = read_json(cache / first.fingerprint / META)
    assert meta["accuracy"] == first.accuracy
    assert meta["dataset"] == lines().fingerprint


def test_one_that_other_code_made_is_trained_again(lines: Callable[..., LinesData], cache: Path) -> None:
    """Its name in the cache holds its settings; a changed network would score with the old one's weights."""
    count = Counter()
    meta = cache / get(lines(), count).fingerprint / META
    content = read_json(meta)
    content.pop("checksum")  # Of this very content; a file without it is accepted.
    files = content["code"]["files"]
    assert "mmvae_bench/evaluation/classifier.py" in files
    write_json(meta, content | {"code": content["code"] | {"files": files | dict.fromkeys(files, "00000000")}})
    get(lines(), count)
    assert count.trained == 2
    assert read_json(meta)["code"] == content["code"]
    write_json(meta, {name: value for name, value in content.items() if name != "code"})
    get(lines(), count)
    assert count.trained == 2, "made before code was recorded"


def test_the_split_of_the_trial_changes_nothing(lines: Callable[..., LinesData], cache: Path) -> None:
    count = Counter()
    comp = lines(split="comp", split_seed=3)
    assert get(lines(), count).fingerprint == get(comp, count).fingerprint
    assert count.trained == 1
    spec = classifiers.parse({**QUICK, "steps": 3})
    assert isinstance(spec, training.TrainedClassifierSpec)
    one, other = (training.train(spec, data) for data in (lines(), comp))
    assert torch.equal(one.held_out.concepts, other.held_out.concepts)
    states = [each.network.state_dict() for each in (one, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_another_dataset_or_setting_is_another_classifier(lines: Callable[..., LinesData], cache: Path) -> None:
    count = Counter()
    found = {
        get(lines(), count).fingerprint,
        get(lines(num_images=1000), count).fingerprint,
        get(lines(), count, steps=61).fingerprint,
        get(lines(), count, seed=1).fingerprint,
    }
    assert len(found) == count.trained == 4


def test_training_again_gives_the_same_bits(lines: Callable[..., LinesData], cache: Path) -> None:
    """Whatever the global generator and the number of threads."""
    spec = classifiers.parse({"name": "conv_published", "hidden": 16, "steps": 20})
    assert isinstance(spec, training.TrainedClassifierSpec)
    threads = torch.get_num_threads()
    states = []
    for k in (1, 2):
        torch.manual_seed(k)
        torch.set_num_threads(k)
        before = torch.random.get_rng_state()
        states.append(training.train(spec, lines()).network.state_dict())
        assert torch.equal(torch.random.get_rng_state(), before)
        assert torch.get_num_threads() == k
    torch.set_num_threads(threads)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_accuracy_is_that_on_held_out_images(lines: Callable[..., LinesData], cache: Path) -> None:
    data = lines()
    classifier = get(data, steps=15)
    batch = data.store.batch(data.rows("test", split="iid"))
    right = (classifier.predict(batch.image) == batch.concept).double().mean(0)
    assert list(classifier.accuracy.values()) == pytest.approx(right.tolist())
    assert 0.3 < classifier.mean_accuracy < 0.99
    assert classifier.mean_accuracy == pytest.approx(float(right.mean()))


def damage_bytes(folder: Path) -> None:
    path = folder / training.WEIGHTS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def damage_length(folder: Path) -> None:
    path = folder / training.WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])


def remove_meta(folder: Path) -> None:
    (folder / META).unlink()


class Evil:
    """Would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return (_explode, ("unpickled",))


def _explode(message: str) -> None:
    raise AssertionError(message)


def replace(folder: Path, content: bytes) -> None:
    """With a checksum that is right."""
    import hashlib

    (folder / training.WEIGHTS).write_bytes(content)
    meta = read_json(folder / META)
    meta["files"][training.WEIGHTS]["sha256"] = hashlib.sha256(content).hexdigest()
    write_json(folder / META, meta)


def put_a_pickle(folder: Path) -> None:
    replace(folder, pickle.dumps(Evil(), protocol=2))


def put_other_weights(folder: Path) -> None:
    path = folder / "other.pt"
    torch.save({"network": {"weight": torch.zeros(1)}, "held_out": {}}, path)
    replace(folder, path.read_bytes())


@pytest.mark.parametrize("damage", [damage_bytes, damage_length, remove_meta, put_a_pickle, put_other_weights])
def test_a_damaged_classifier_is_trained_again(
    lines: Callable[..., LinesData], cache: Path, damage: Callable[[Path], None]
) -> None:
    count = Counter()
    first = get(lines(), count, steps=5)
    damage(cache / first.fingerprint)
    second = get(lines(), count, steps=5)
    assert count.trained == 2
    assert get(lines(), count, steps=5).accuracy == second.accuracy == first.accuracy
    assert count.trained == 2


def test_a_spec_without_training_is_refused(lines: Callable[..., LinesData]) -> None:
    class Untrained(ClassifierSpec):
        name: str = "untrained"

    with pytest.raises(TypeError, match="Untrained is not a TrainedClassifierSpec"):
        training.observation_classifier(Untrained(), lines())


def _train_and_tell(started: object, path: Path) -> None:
    data = LinesData(LinesSpec())
    data.setup()
    count = Counter()
    started.wait()  # type: ignore[attr-defined]
    classifier = get(data, count)
    path.write_text(f"{count.trained} {classifier.mean_accuracy}")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_two_processes_at_once_train_once(cache: Path, tmp_path: Path) -> None:
    # Forked, which takes no time; one thread, or a fork could inherit a lock that nobody opens.
    assert torch.get_num_threads() == 1
    context = multiprocessing.get_context("fork")
    started = context.Barrier(2)
    paths = [tmp_path / name for name in ("first", "second")]
    processes = [context.Process(target=_train_and_tell, args=(started, path)) for path in paths]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    (one, accuracy), (other, same) = (path.read_text().split() for path in paths)
    assert int(one) + int(other) == 1
    assert accuracy == same
