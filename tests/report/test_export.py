"""An exported model: the same model, described by its own numbers; and a folder from a stranger is only data."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

import mmvae_bench as mb
from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.base.files import DamagedFile
from mmvae_bench.cli import main
from mmvae_bench.report.card import model_card
from mmvae_bench.report.export import export_trial
from mmvae_bench.runs.folder import read_trial
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.checkpoint import CheckpointError
from mmvae_bench.training.weights import restore_weights, write_weights
from mmvae_bench.trial import TrialResult, build_objective

from ..conformance.worlds import objectives_on

SPEC: dict[str, Any] = {
    "dataset": {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3},
    "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3},
    "objective": "telbo",
    "training": {"steps": 12, "batch_size": 32, "validations": 4},
    "evaluation": {
        "num_samples": 10,
        "query_repeats": 1,
        "protocols": ["official", "paper"],
        "levels": [4, 2],
        "classifier": {"name": "conv_thin", "steps": 5},
    },
}
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> TrialResult:
    """A finished trial; do not change it."""
    return mb.run_trial(TrialSpec.parse(SPEC), out=tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def exported(done: TrialResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export; do not change it."""
    folder = tmp_path_factory.mktemp("export") / "model"
    assert main(["export", str(done.directory), "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(exported, tmp_path / "model")


def imagined(directory: Path) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return mb.load(directory).imagine("digit=6, scale=small", num_samples=4, mean=False, generator=generator)


def test_the_folder(done: TrialResult, exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["README.md", WEIGHTS, "samples.png", "spec.json"]
    assert (exported / "spec.json").read_bytes() == (done.directory / "spec.json").read_bytes()
    assert not list(exported.parent.glob(".*")), "nothing is left next to it"


def test_it_is_the_same_model_to_the_bit(done: TrialResult, exported: Path) -> None:
    ours, theirs = mb.load(done.directory), mb.load(exported)
    assert not theirs.training
    for (name, one), (other_name, other) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert name == other_name
        assert torch.equal(one, other)
    assert torch.equal(imagined(done.directory), imagined(exported))


def test_the_command_line_imagines_from_it(exported: Path, tmp_path: Path) -> None:
    assert main(["imagine", str(exported), "digit=6", "--out", str(tmp_path / "six.png")]) == 0
    with Image.open(tmp_path / "six.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    # Above the images, on white, what was asked.
    label = pixels[:30]
    assert (label == 255).all(-1).mean() > 0.6
    assert (label < 100).all(-1).any()


@pytest.mark.parametrize("name", objectives_on("mnist_a_thin"))
def test_every_objective_comes_back_from_its_weights(name: str, tmp_path: Path) -> None:
    """Into networks that another seed has made, so that whatever is not in the file is noticed."""
    spec = TrialSpec.parse(SPEC | {"objective": name})
    model = build_objective(spec)
    write_weights(model, tmp_path / WEIGHTS, key=spec.key)
    other = build_objective(spec.model_copy(update={"seed": 1}))
    before = {key: value.clone() for key, value in other.state_dict().items()}
    restore_weights(other, tmp_path / WEIGHTS, key=spec.key)
    state = other.state_dict()
    assert any(not torch.equal(before[key], value) for key, value in state.items())
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_the_card_has_the_numbers_of_the_result(done: TrialResult, exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| correctness")]
    found = {(row[1], int(row[2])): row[3:] for row in rows}
    for score in done.scores:
        if score["metric"] == "correctness" and score["attribute"] is None and score["partition"] == "test":
            value, ends, floor, ceiling, queries = found.pop((score["protocol"], score["level"]))
            assert value == f"{100 * score['value']:.1f}"
            assert ends == f"{100 * score['ci_low']:.1f} to {100 * score['ci_high']:.1f}"
            assert floor == f"{100 * score['floor']:.1f}"
            assert ceiling == ("–" if score["ceiling"] is None else f"{100 * score['ceiling']:.1f}")
            assert queries == str(score["num_queries"])
    assert not found
    for words in (
        f"trial: `{done.directory.name}`",
        "lambda 50",
        "source digits",
        "Creative Commons Attribution 4.0",
        'mb.load("FOLDER")',
        "steps 12",
        f"fingerprint: {done.result['dataset']['fingerprint']}",
    ):
        assert words in card


def test_the_code_of_the_card_runs_as_it_is(exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    code = card.partition("```python\n")[2].partition("```")[0].replace('"FOLDER"', repr(str(exported)))
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["images"].shape == (10, 1, 16, 16)


def test_the_card_names_the_package_that_it_needs(done: TrialResult) -> None:
    spec = read_trial(done.directory)
    own = model_card(spec, done.result)
    assert "It needs" not in own
    assert "mixed code" not in own
    assert "- code: mmvae-bench, MIT licence\n" in own
    result = json.loads(json.dumps(done.result))
    (segment,) = result["provenance"]["segments"]
    segment["code"]["objective"] |= {"package": "my-objectives", "version": "1.2"}
    later = json.loads(json.dumps(segment))
    later["from"], later["code"]["objective"]["files"] = 6, {"mine.py": "00000000"}
    result["provenance"]["segments"].append(later)
    card = model_card(spec, result)
    assert "It needs mmvae-bench and, for parts of it, my-objectives 1.2." in card
    assert "- code: mmvae-bench, MIT licence; my-objectives 1.2, under its own\n" in card
    assert "- made by mixed code: from step 6 on: objective 'telbo':" in card


def test_the_card_of_a_strange_result_is_only_text(done: TrialResult) -> None:
    result = done.result | {
        "dataset": {"fingerprint": "<script>alert(1)</script> [x](http://x)\n# head"},
        "classifier": {"name": "`<img>`|", "mean_accuracy": 0.5},
    }
    card = model_card(read_trial(done.directory), result)
    assert "<script>" not in card
    assert "<img>" not in card
    assert "[x](http" not in card
    assert "\n# head" not in card


@pytest.mark.parametrize("what", ["file", "full folder", "link"])
def test_nothing_is_replaced(what: str, done: TrialResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    if what == "file":
        out.write_text("mine")
    elif what == "full folder":
        out.mkdir()
        (out / "mine").write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        out.symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", str(done.directory), "--out", str(out)]) == 2
    assert "exists and is not an empty folder: give a new one" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unfinished_trial_is_refused(done: TrialResult, tmp_path: Path) -> None:
    trial = shutil.copytree(done.directory, tmp_path / done.directory.name)
    (trial / "result.json").unlink()
    with pytest.raises(ConfigError, match=r"has no result\.json.*\n  Finish the trial: mmvae-bench train --out"):
        export_trial(trial, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_changed_weights_are_refused(done: TrialResult, tmp_path: Path) -> None:
    trial = shutil.copytree(done.directory, tmp_path / done.directory.name)
    content = (trial / "last.ckpt").read_bytes()
    (trial / "last.ckpt").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DamagedFile, match=r"last\.ckpt is damaged"):
        export_trial(trial, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [trial.name]


def test_a_failure_leaves_nothing(done: TrialResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmvae_bench.report.card.model_card", fail)
    with pytest.raises(OSError, match="No space"):
        export_trial(done.directory, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def _change(tensors: dict[str, torch.Tensor], key: str) -> bytes:
    return save(tensors, metadata={"key": key})


def _missing(tensors: dict[str, torch.Tensor], key: str) -> bytes:
    first = min(tensors)
    return _change({name: tensor for name, tensor in tensors.items() if name != first}, key)


def _misnamed(tensors: dict[str, torch.Tensor], key: str) -> bytes:
    first = min(tensors)
    return _change({f"{name}<b>" if name == first else name: tensor for name, tensor in tensors.items()}, key)


def _reshaped(tensors: dict[str, torch.Tensor], key: str) -> bytes:
    first = min(tensors)
    return _change({**tensors, first: tensors[first].flatten()[:1].clone()}, key)


def _of_another_type(tensors: dict[str, torch.Tensor], key: str) -> bytes:
    return _change(
        {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}, key
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tensors, key: b"", "not safetensors"),
        (lambda tensors, key: b"\xff" * 64, "not safetensors"),
        (lambda tensors, key: _change(tensors, key)[:-5], "not safetensors"),
        (lambda tensors, key: (2).to_bytes(8, "little") + b"{}", "has the weights of trial None"),
        (lambda tensors, key: b"\x80\x04cos\nsystem\n(S'false'\ntR.", "not safetensors"),
        (lambda tensors, key: bytes(2**21), "more than [0-9,]+ bytes"),
        (lambda tensors, key: _change(tensors, "0" * 12), "has the weights of trial '000000000000', not of "),
        (_missing, r"does not fit the networks of its spec:\n  \S+ is missing$"),
        (_misnamed, r"is missing; nearest: \S+<b>\n  \S+<b> is unknown"),
        (_reshaped, r"is float32 \[1\], should be float32 \["),
        (_of_another_type, r"is float16 \[.*\], should be float32 \[.*\n.*\n.*\n  and \d+ more"),
    ],
)
def test_weights_that_are_not_the_models_are_refused(
    spoil: Callable[[dict[str, torch.Tensor], str], bytes], message: str, folder: Path
) -> None:
    key = TrialSpec.parse(SPEC).key
    tensors = load((folder / WEIGHTS).read_bytes())
    (folder / WEIGHTS).write_bytes(spoil(tensors, key))
    with pytest.raises((DamagedFile, CheckpointError), match=message):
        mb.load(folder)


def test_no_link_is_followed_and_no_pipe_waited_for(folder: Path) -> None:
    weights = folder / WEIGHTS
    kept = weights.rename(folder / "kept")
    weights.symlink_to(kept)
    with pytest.raises(DamagedFile, match="not a regular file"):
        mb.load(folder)
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(DamagedFile, match="not a regular file"):
        mb.load(folder)


def test_a_changed_spec_is_not_that_of_the_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    spec["objective"]["gamma"] = 2.0
    (folder / "spec.json").write_text(json.dumps(spec))
    assert main(["imagine", str(folder), "digit=6", "--out", str(folder / "six.png")]) == 2
    assert "has the weights of trial" in capsys.readouterr().err
    assert not (folder / "six.png").exists()


def test_a_spoiled_header_is_refused_or_harmless(folder: Path) -> None:
    """Bytes of the header are replaced at random; whatever comes back has the names and shapes of the model."""
    spec = TrialSpec.parse(SPEC)
    model, content = build_objective(spec), (folder / WEIGHTS).read_bytes()
    length = 8 + int.from_bytes(content[:8], "little")
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        spoiled = bytearray(content)
        for place in generator.integers(0, length, 2):
            spoiled[place] = generator.integers(0, 256)
        (folder / WEIGHTS).write_bytes(spoiled)
        try:
            restore_weights(model, folder / WEIGHTS, key=spec.key)
        except BenchmarkError:
            refused += 1
    assert refused > 125


def test_a_strangers_header_or_weights_that_are_no_numbers_are_refused(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    length = 8 + int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8:length]), content[length:]

    def refused(header: object, body: bytes, message: str) -> None:
        text = json.dumps(header).encode()
        (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + body)
        with pytest.raises((DamagedFile, CheckpointError), match=message):
            mb.load(folder)

    refused(header | {"__metadata__": None}, body, "has the weights of trial None")
    huge = {"dtype": "F32", "shape": [0, 2**64 - 1], "data_offsets": [len(body), len(body)]}
    refused(header | {"x": huge}, body, "not safetensors")
    first = min(name for name in header if name != "__metadata__")
    start = header[first]["data_offsets"][0]
    spoiled = body[:start] + b"\xff\xff\xff\x7f" + body[start + 4 :]
    refused(header, spoiled, f"has weights that are not finite numbers: {first}$")
    refused(header, b"\xff" * len(body), r"not finite numbers: \S+, \S+, \S+ and \d+ more$")


def test_an_export_is_no_trial_to_evaluate_or_to_export(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.iterdir())
    again = folder.parent / "again"
    for command in (["evaluate"], ["evaluate", "--protocol", "paper"], ["export", "--out", str(again)]):
        assert main([command[0], str(folder), *command[1:]]) == 2
        assert "an exported model; only the trial's own folder can be evaluated or exported" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before
    assert not again.exists()


def test_where_an_export_may_be(
    done: TrialResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in the trial's folder nor in place of the one that a person works in; but relative to it."""
    monkeypatch.chdir(tmp_path)
    for out, message in ((".", "is the working folder: give a new one"),
                         (str(done.directory / "model"), "is in the trial's folder, which is only read")):  # fmt: skip
        assert main(["export", str(done.directory), "--out", out]) == 2
        assert message in capsys.readouterr().err
    assert not (done.directory / "model").exists()
    assert not list(tmp_path.iterdir())
    (tmp_path / "sub").mkdir()
    assert main(["export", str(done.directory), "--out", "sub/../model"]) == 0
    assert torch.equal(imagined(done.directory), imagined(tmp_path / "model"))


def test_an_enormous_sheet_is_not_passed_on(done: TrialResult, tmp_path: Path) -> None:
    trial = shutil.copytree(done.directory, tmp_path / done.directory.name)
    sheet = bytearray((trial / "samples.png").read_bytes())
    sheet[16:24] = (60_000).to_bytes(4) * 2
    (trial / "samples.png").write_bytes(sheet)
    (trial / "checksums.json").unlink()
    export_trial(trial, tmp_path / "out")
    assert not (tmp_path / "out" / "samples.png").exists()
    assert "## Samples" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def card_of(dataset: dict[str, Any], backbone: Any = "rgb_thin", objective: str = "telbo") -> tuple[TrialSpec, str]:
    thin = {"name": "rgb_thin", "width": 4, "hidden": 16, "latent_size": 4} if backbone == "rgb_thin" else backbone
    spec = TrialSpec.parse({"dataset": dataset, "backbone": thin, "objective": objective})
    return spec, model_card(spec, {"scores": []})


@pytest.mark.parametrize(
    ("texture", "licence"),
    [
        ("none", "drawn by mmvae-bench (MIT licence)"),
        ("procedural", "drawn by mmvae-bench (MIT licence)"),
        (
            "/home/somebody/dtd/images",
            "drawn by mmvae-bench (MIT licence); backgrounds cut from the user's pictures, under their own licence",
        ),
    ],
)
def test_the_licence_of_a_background_is_not_ours(texture: str, licence: str) -> None:
    spec = {"name": "sprites", "level": 3, "canvas": 16, "num_images": 120, "texture": texture}
    _, card = card_of(spec)
    assert [line for line in card.splitlines() if line.startswith("- images: ")] == [f"- images: {licence}"]
    assert "somebody" not in card, "a path is not published"


def test_the_licence_of_dsprites_is_that_of_its_authors() -> None:
    _, card = card_of({"name": "dsprites", "source": "dsprites"}, "mnist_a_released")
    assert "- images: dSprites (Matthey et al. 2017): under the licence of its authors\n" in card


def test_the_licence_of_shapes_is_not_that_of_what_is_drawn_around_them() -> None:
    _, card = card_of({"name": "sprites", "source": "dsprites", "num_images": 120})
    assert (
        "- images: the shapes are those of dSprites (Matthey et al. 2017), under the licence of its authors; all else "
        "is drawn by mmvae-bench (MIT licence)\n" in card
    )


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("lfw", "LFW (Huang et al. 2007): press photographs, under the rights of their owners"),
        ("cub", "CUB-200-2011 (Wah et al. 2011): for non-commercial research and education only"),
    ],
)
def test_the_licence_of_photographs_is_that_of_their_set(name: str, licence: str) -> None:
    """Both are of source files."""
    _, card = card_of({"name": name, "source": "files", "size": 16}, "attribute2image_thin", "cvae")
    assert f"- images: {licence}\n" in card


@pytest.mark.parametrize("view", ["attributes", "text"])
def test_the_code_of_the_card_asks_for_a_concept_in_every_view(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, card = card_of({"name": "sprites", "level": 3, "canvas": 16, "num_images": 120, "view": view})
    model = build_objective(spec).eval()
    monkeypatch.setattr(mb, "load", lambda _: model)
    names: dict[str, Any] = {}
    exec(card.partition("```python\n")[2].partition("```")[0], names)
    assert names["images"].shape == (10, 3, 16, 16)


def test_a_result_without_a_dataset_has_a_card() -> None:
    spec = card_of({"name": "sprites", "level": 3, "canvas": 16, "num_images": 120})[0]
    assert "fingerprint" not in model_card(spec, {"scores": [], "dataset": None})
