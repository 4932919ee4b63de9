"""The commands that ask one trained model: what they answer, what they draw, and what they refuse, with no file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmvae_bench.cli import main
from mmvae_bench.cli.asking import error_lines, said_of_an_empty_one
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.data.preview import contact_sheet
from mmvae_bench.evaluation.asking import _described
from mmvae_bench.evaluation.regions import region_of
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.trial import build_objective

SPRITES = {"name": "sprites", "level": 3, "canvas": 16, "num_images": 120}
HEART = "shape=heart, size=big, colour=red"
SQUARE = "shape=square, size=small, colour=white"


class Desk:
    """A folder of a trial, its model (which nobody has trained), its data, and the sheets that are drawn."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, view: str = "attributes") -> None:
        self.folder, self.monkeypatch, self.view = folder / "trial", monkeypatch, view
        self.sheets: list[tuple[Tensor, list[str], str]] = []
        self.folder.mkdir()
        self.out = folder / "x.png"
        self.becomes("telbo")
        monkeypatch.setattr("mmvae_bench.evaluation.fitting.MAX_STEPS", 3)
        monkeypatch.setattr("mmvae_bench.evaluation.asking.contact_sheet", self.sheet)

    def becomes(self, objective: str | dict[str, Any], **parts: Any) -> Objective:
        backbone = {"name": "rgb_thin", "width": 4, "hidden": 16, "latent_size": 4}
        plain = {"dataset": SPRITES | {"view": self.view}, "backbone": backbone, "objective": objective} | parts
        self.spec = TrialSpec.parse(plain)
        (self.folder / "spec.json").write_text(json.dumps(self.spec.canonical()))
        self.model = build_objective(self.spec).eval()
        self.monkeypatch.setattr("mmvae_bench.trial.load", lambda *_: self.model)
        return self.model

    def sheet(self, images: Tensor, labels: list[str], *, title: str, **options: Any) -> Image.Image:
        self.sheets.append((images, list(labels), title))
        return contact_sheet(images, labels, title=title, **options)

    def run(self, command: str, *words: str, out: bool = True) -> int:
        return main([command, str(self.folder), *words, *(["--out", str(self.out)] if out else [])])

    def held_out(self, *places: int) -> Any:
        data = self.spec.dataset.build()
        data.setup()
        return data.store.batch(data.rows("test")[list(places)])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_an_empty_concept_is_drawn_and_said(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable of the shell that is not set leaves as much."""
    said = "the concept is empty: every attribute is left open\n"
    assert desk.run("imagine", "") == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{desk.out}\n", said)
    assert desk.run("imagine", "colour=red") == 0
    assert not capsys.readouterr().err
    faces = datasets.parse({"name": "celeba18", "source": "drawn", "size": 16, "view": "text"})
    assert said_of_an_empty_one(faces) == "the caption is empty"


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    found: dict[str, Any] = json.loads(printed.out)
    return found


def test_reconstructions_are_those_of_the_images_that_were_named(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run("reconstruct", "--index", "3", "0", "5", "--json") == 0
    found, batch = document(capsys), desk.held_out(3, 0, 5)
    assert [entry["image"] for entry in found["images"]] == ["test 3", "test 0", "test 5"]
    assert [entry["concept"] for entry in found["images"]] == [
        desk.model.schema.format(row) for row in batch.concept.tolist()
    ]
    errors = (desk.model.reconstruct(batch.image) - batch.image).square().mean((1, 2, 3)).tolist()
    assert [entry["encoder"]["error"] for entry in found["images"]] == pytest.approx(errors, rel=1e-4)
    assert all(entry["fitted"]["log_joint"] > entry["encoder"]["log_joint"] for entry in found["images"])
    ((images, labels, _),) = desk.sheets
    assert torch.equal(images[::3], batch.image)
    with torch.no_grad():
        z = desk.model.posterior(image=batch.image).mean
        read = [desk.model.schema.words(row, brief=True) for row in desk.model.describe_latents(z).tolist()]
    assert [entry["encoder"]["described"] for entry in found["images"]] == [", ".join(words) for words in read]
    real = ", ".join(desk.model.schema.words(batch.concept[0].tolist(), brief=True))
    assert labels[:2] == [f"test 3\n{real}", f"q(z|x)\nerror {errors[0]:.4f}\n{', '.join(read[0])}"]
    assert labels[2].startswith("optimisation\nerror 0.")
    with Image.open(desk.out) as picture:
        assert picture.width > 3 * 128


def test_a_completion_keeps_what_is_seen_and_shows_what_is_hidden_from_the_model(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run("complete", "--region", "4:12,0:8", "-n", "2", "--json") == 0
    found = document(capsys)
    assert found["region"] == [4, 12, 0, 8]
    ((images, _, _),) = desk.sheets
    real, given, encoder, fitted = images.unflatten(0, (2, 4)).unbind(1)
    hidden = torch.zeros(16, 16, dtype=torch.bool)
    hidden[4:12, :8] = True
    assert not bool(given[:, :, hidden].any())
    for each in (given, encoder, fitted):
        assert torch.equal(each[:, :, ~hidden], real[:, :, ~hidden])
    expected = desk.model.reconstruct(given)
    torch.testing.assert_close(encoder[:, :, hidden], expected[:, :, hidden], rtol=1e-4, atol=1e-5)
    error = (fitted - real)[:, :, hidden].square().mean((1, 2)).tolist()
    assert [entry["fitted"]["error"] for entry in found["images"]] == pytest.approx(error, rel=1e-4)


def test_a_square_is_hidden_at_a_place_of_its_own_in_each_image(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """The place is that of the evaluation of the same image and seed, in whatever order the images are named."""
    assert desk.run("complete", "--region", "random-16", "--index", "3", "0", "--json") == 0
    found, batch = document(capsys), desk.held_out(3, 0)
    square = region_of("random-16", desk.spec.dataset)
    assert found["region"] == "random-16"
    ((images, _, _),) = desk.sheets
    real, given, encoder, fitted = images.unflatten(0, (2, 4)).unbind(1)
    for k, number in enumerate(batch.index.tolist()):
        box = square.at(number, seed=0)
        assert found["images"][k]["hidden"] == list(box)
        hidden = torch.zeros(16, 16, dtype=torch.bool)
        hidden[box.top : box.bottom, box.left : box.right] = True
        assert not bool(given[k][:, hidden].any())
        for each in (given, encoder, fitted):
            assert torch.equal(each[k][:, ~hidden], real[k][:, ~hidden])
        error = (fitted[k] - real[k])[:, hidden].square().mean().item()
        assert found["images"][k]["fitted"]["error"] == pytest.approx(error, rel=1e-4)
    assert found["images"][0]["hidden"] != found["images"][1]["hidden"]


def test_what_is_told_reaches_the_optimisation_and_a_joint_encoder(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = []
    for told in ([], ["--told", "shape=heart"], ["--told", HEART]):
        assert desk.run("complete", "--region", "left", "--index", "1", *told, "--json") == 0
        entries += document(capsys)["images"]
    plain, some, every = entries
    assert plain["encoder"]["error"] == some["encoder"]["error"]
    assert (plain["encoder"]["z_from"], every["encoder"]["z_from"]) == ("q(z|x)", "q(z|x,y)")
    assert plain["fitted"]["log_joint"] > some["fitted"]["log_joint"] > every["fitted"]["log_joint"]
    assert some["fitted"]["z_from"] == "optimisation, y told"


def test_a_description_is_the_mean_of_the_decoder_over_the_posterior(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmvae_bench.evaluation.asking.NUM_DESCRIBED", 20_000)
    assert desk.run("describe", "--index", "2", "--json", out=False) == 0
    (entry,) = document(capsys)["images"]
    batch = desk.held_out(2)
    with torch.no_grad():
        z = desk.model.posterior(image=batch.image).sample(torch.Size([20_000]))[:, 0]
        expected = [part.exp().mean(0) for part in desk.model.concept_likelihood(z).log_probs]  # type: ignore[attr-defined]
    for attribute, probabilities in zip(desk.model.schema.attributes, expected, strict=True):
        said = entry["attributes"][attribute.name]
        assert list(said["probabilities"]) == list(attribute.values)
        assert list(said["probabilities"].values()) == pytest.approx(probabilities.tolist(), abs=0.01)
        assert said["probability"] == max(said["probabilities"].values())
        assert said["probabilities"][said["value"]] == said["probability"]
    assert not desk.out.exists()
    assert desk.run("describe", "--index", "2") == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"test 2 ({desk.model.schema.format(batch.concept[0].tolist())})\n  shape ")
    assert desk.out.exists()


def test_a_picture_of_ones_own_is_described_as_the_image_that_it_becomes(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = desk.held_out(4)
    pixels = (batch.image[0].permute(1, 2, 0) * 255).round().byte().numpy()
    large = np.repeat(np.repeat(pixels, 4, 0), 4, 1)
    Image.fromarray(large).save(tmp_path / "mine.png")
    assert desk.run("describe", str(tmp_path / "mine.png"), "--json", out=False) == 0
    printed = capsys.readouterr()
    (own,) = json.loads(printed.out)["images"]
    assert printed.err == (f"{tmp_path / 'mine.png'}: 64x64 RGB, cropped in the middle and scaled to 16x16 RGB\n")
    assert desk.run("describe", "--index", "4", "--json", out=False) == 0
    (real,) = document(capsys)["images"]
    assert own["attributes"] == real["attributes"]
    assert (own["image"], own["concept"]) == ("mine.png", None)


def test_a_grey_picture_is_reconstructed_and_completed_by_a_model_of_bits(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = {"name": "patches", "likelihood": "bernoulli", "width": 4, "hidden": 16, "latent_size": 4}
    model = desk.becomes("telbo", dataset={"name": "dsprites", "num_images": 1000}, backbone=backbone)
    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    image = torch.from_numpy(grey).float()[None, None] / 255
    for words in (["reconstruct"], ["complete", "--region", "left"]):
        assert desk.run(*words, "--image", str(tmp_path / "grey.png"), "--json") == 0
        (entry,) = json.loads(capsys.readouterr().out)["images"]
        if words == ["reconstruct"]:
            with torch.no_grad():
                z = model.posterior(image=image).mean
                mean = model.image_likelihood(z).mean
            # x log p + (1 - x) log(1 - p): what a Bernoulli says of a grey level.
            inside = image * mean.log() + (1 - image) * (1 - mean).log()
            expected = float(inside.sum() + torch.distributions.Normal(0, 1).log_prob(z).sum())
            assert entry["encoder"]["log_joint"] == pytest.approx(expected, rel=1e-5)
        assert entry["fitted"]["log_joint"] >= entry["encoder"]["log_joint"]


def test_an_interpolation_is_a_straight_line_between_two_posteriors(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run("interpolate", HEART, SQUARE, "--steps", "3", "--json") == 0
    found, schema = document(capsys), desk.model.schema
    with torch.no_grad():
        ends = desk.model.posterior(concept=torch.stack([schema.parse(HEART), schema.parse(SQUARE)])).mean
        z = torch.stack([ends[0], ends.mean(0), ends[1]])
        expected = desk.model.image_likelihood(z).mean.clamp(0, 1)
    ((images, labels, title),) = desk.sheets
    torch.testing.assert_close(images, expected)
    assert [step["place"] for step in found["steps"]] == [0, 0.5, 1]
    read = [", ".join(schema.words(row, brief=True)) for row in desk.model.describe_latents(z).tolist()]
    assert [step["described"] for step in found["steps"]] == read
    assert labels == [f"{place}\n{text}" for place, text in zip(("0.00", "0.50", "1.00"), read, strict=True)]
    assert title == f"telbo: from {HEART} to {SQUARE}"


def test_a_traversal_changes_one_attribute_or_one_latent(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    schema = desk.model.schema
    assert desk.run("traverse", "shape=heart, colour=red", "--attribute", "colour", "--json") == 0
    (row,) = document(capsys)["rows"]
    assert row["values"] == [f"colour={value}" for value in schema.attributes[2].values]
    y = torch.tensor([[2, -1, value] for value in range(5)])
    with torch.no_grad():
        expected = desk.model.image_likelihood(desk.model.posterior(concept=y).mean).mean.clamp(0, 1)
    torch.testing.assert_close(desk.sheets[-1][0], expected)

    assert desk.run("traverse", HEART, "--latent", "1", "--steps", "5", "--json") == 0
    (row,) = document(capsys)["rows"]
    assert (row["latent"], row["values"]) == (1, [-3, -1.5, 0, 1.5, 3])
    with torch.no_grad():
        z = desk.model.posterior(concept=schema.parse(HEART)[None]).mean.repeat(5, 1)
        z[:, 1] = torch.tensor(row["values"])
        expected = desk.model.image_likelihood(z).mean.clamp(0, 1)
    torch.testing.assert_close(desk.sheets[-1][0], expected)

    assert desk.run("traverse", HEART, "--json") == 0
    rows = document(capsys)["rows"]
    changes = [each["change"] for each in rows]
    assert sorted(each["latent"] for each in rows) == [0, 1, 2, 3]
    assert changes == sorted(changes, reverse=True)


def test_a_model_that_cannot_describe_has_no_empty_readings(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    schema = desk.becomes("cvae").schema
    assert desk.run("traverse", HEART, "--attribute", "colour") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == [f"colour={value}" for value in schema.attributes[2].values]
    assert desk.run("traverse", HEART, "--latent", "1", "--steps", "5") == 0
    assert capsys.readouterr().out.splitlines()[0] == "z1"


def test_a_latent_is_moved_over_the_prior_that_the_objective_has(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    model = desk.becomes("meme")
    model.memory.remember(torch.tensor([[0, 0, 0], [2, 1, 4], [1, 0, 3]]))  # type: ignore[operator,union-attr]
    with torch.no_grad():
        parts = model.posterior(concept=model.memory())  # type: ignore[operator]
        mean = parts.mean.mean(0)
        scale = (parts.variance.mean(0) + parts.mean.var(0, correction=0)).sqrt()
    for latent in (0, 3):
        assert desk.run("traverse", HEART, "--latent", str(latent), "--steps", "5", "--json") == 0
        (row,) = document(capsys)["rows"]
        expected = [float(mean[latent] + step * scale[latent]) for step in (-3, -1.5, 0, 1.5, 3)]
        assert row["values"] == pytest.approx(expected, abs=1e-5)
        assert desk.sheets[-1][1][0].startswith(f"z{latent} = {expected[0]:.1f}\n")


@pytest.mark.parametrize(
    ("objective", "words", "reason"),
    [
        ("jvae", ["describe"], "jvae trains no q(z|x); it has q(z|x,y), so it cannot describe images"),
        ("vae", ["describe"], "vae has no p(y|z): it models images only and cannot describe them"),
        ("jvae", ["interpolate", HEART, SQUARE], "jvae trains no q(z|y)"),
        ("vae", ["traverse", HEART], "vae trains no q(z|y)"),
        (
            "cvae",
            ["interpolate", HEART, SQUARE],
            "its image decoder needs the concept, and between two concepts there is none: it cannot interpolate",
        ),
        (
            "cvae",
            ["complete", "--region", "left", "--index", "0"],
            "its image decoder needs the concept, a full one, and none was given\n  Tell it all 3 attributes",
        ),
        (
            "cvae",
            ["complete", "--region", "left", "--told", "shape=heart"],
            "takes fully specified concepts only; imagine fills in the unspecified ones\n  Tell it all 3",
        ),
        ("vae", ["complete", "--region", "left", "--told", HEART], "vae has no p(y|z)"),
        ("scan", ["traverse", "shape=heart"], "also give size, colour"),
    ],
)
def test_a_model_that_lacks_a_distribution_says_why(
    objective: str, words: list[str], reason: str, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.becomes(objective)
    assert desk.run(*words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert reason in printed.err
    assert ("--told" in printed.err) == ("Tell it all" in reason), "it would not help the others"
    assert not printed.out
    assert not desk.out.exists()


def test_what_a_model_has_to_be_told_is_an_example_that_works(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    desk.becomes("cvae")
    words = ["complete", "--region", "left", "--index", "0"]
    assert desk.run(*words) == 2
    (told,) = re.findall(r'--told "(.+)"', capsys.readouterr().err)
    assert told == desk.model.schema.format(desk.held_out(0).concept[0].tolist())
    assert desk.run(*words, "--told", told) == 0
    # Of a picture of one's own nothing is known.
    Image.new("RGB", (32, 32)).save(tmp_path / "own.png")
    capsys.readouterr()
    words = ["complete", "--region", "left", "--image", str(tmp_path / "own.png")]
    assert desk.run(*words) == 2
    (told,) = re.findall(r'--told "(.+)"', capsys.readouterr().err)
    assert desk.run(*words, "--told", told) == 0


def test_a_model_that_needs_y_reconstructs_with_that_of_the_image(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = desk.held_out(0)
    for objective in ("cvae", "jvae"):
        model = desk.becomes(objective)
        assert desk.run("reconstruct", "--index", "0", "--json") == 0
        (entry,) = document(capsys)["images"]
        error = float((model.reconstruct(batch.image, batch.concept) - batch.image).square().mean())
        assert entry["encoder"] == {**entry["encoder"], "z_from": "q(z|x,y)", "error": pytest.approx(error, rel=1e-4)}
        told = "optimisation, y told" if objective == "cvae" else "optimisation"
        assert entry["fitted"]["z_from"] == told
    assert desk.run("complete", "--region", "left", "--index", "0", "--json") == 0
    found = document(capsys)
    assert found["left_out"]["encoder"].startswith("jvae trains no q(z|x)")
    assert "encoder" not in found["images"][0]
    desk.becomes("cvae")
    assert desk.run("complete", "--region", "left", "--index", "0", "--told", HEART, "--json") == 0
    assert document(capsys)["images"][0]["encoder"]["z_from"] == "q(z|x,y)"


def test_every_command_takes_a_model_of_captions_and_a_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path, monkeypatch, view="text")
    assert desk.run("complete", "--region", "left", "-n", "1", "--told", "heart big red", "--json") == 0
    assert document(capsys)["images"][0]["encoder"]["z_from"] == "q(z|x,y)"
    assert desk.run("describe", "--index", "0", "1", "--json") == 0
    for entry in document(capsys)["images"]:
        for said in entry["attributes"].values():
            assert sum(said["probabilities"].values()) + said["unsaid"] == pytest.approx(1)
    assert desk.run("interpolate", "heart big red", HEART, "--json") == 0
    images = desk.sheets[-1][0]
    assert torch.equal(images, images[:1].expand_as(images)), "a concept and its caption are one end"
    capsys.readouterr()
    assert desk.run("traverse", HEART, "--attribute", "size", "--json") == 0
    assert len(document(capsys)["rows"][0]["values"]) == 2
    assert desk.run("traverse", "heart big red", "--attribute", "size") == 2
    assert "not a caption" in capsys.readouterr().err

    (tmp_path / "flow").mkdir()
    plain = Desk(tmp_path / "flow", monkeypatch)
    plain.becomes("q_agg")
    assert plain.run("interpolate", HEART, SQUARE, "--steps", "2") == 0


BAD = [
    (["reconstruct", "--out", "x.jpg"], "the image must be a PNG file\n  given: x.jpg\n  nearest: x.png"),
    (["complete", "--region", "lft", "--out", "x.png"], "--region: unknown region 'lft'"),
    (["complete", "--region", "0:17,0:4", "--out", "x.png"], "the image has rows 0:16 and columns 0:16"),
    (["complete", "--region", "left", "--told", "shape=hart", "--out", "x.png"], "nearest: heart"),
    (["interpolate", HEART, "shap=heart", "--out", "x.png"], "unknown attribute 'shap'"),
    (["traverse", HEART, "--attribute", "color", "--out", "x.png"], "nearest: colour"),
    (["traverse", HEART, "--latent", "4", "--out", "x.png"], "--latent: the model has 4 latents, 0 to 3\n  given: 4"),
    (["traverse", HEART, "--latent", "1", "--attribute", "size", "--out", "x.png"], "choose one of them"),
    (["describe", "nowhere.png"], "IMAGE: no such file\n  given: nowhere.png"),
    (["describe", "3"], "IMAGE: no such file; for an image of the test partition say --index 3\n  given: 3"),
    (["reconstruct", "--image", "nowhere.png", "--out", "x.png"], "--image: no such file\n  given: nowhere.png"),
    (["describe", "--index", "0", "x.png"], "not the number of an image of the test partition\n  given: 'x.png'"),
    (["reconstruct", "--image", "spec.json", "--index", "0", "--out", "x.png"], "choose one of them"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words[:3]) for words, _ in BAD])
def test_bad_input_is_refused_before_the_model_is_loaded(
    words: list[str], message: str, desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk.folder)
    monkeypatch.setattr("mmvae_bench.trial.load", lambda *_: pytest.fail("the model was loaded"))
    command, *rest = words
    assert main([command, ".", *rest]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert not printed.out
    assert [path.name for path in desk.folder.iterdir()] == ["spec.json"]


def test_an_image_that_is_not_there_is_named_with_what_there_is(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    data = desk.spec.dataset.build()
    data.setup()
    number = len(data.rows("test"))
    assert desk.run("reconstruct", "--index", "0", str(number), "7000") == 2
    said = capsys.readouterr().err
    assert f"--index: the test partition has {number} images, 0 to {number - 1}\n  given: {number}, 7000" in said
    assert not desk.out.exists()


@pytest.mark.parametrize("size", [2, 6])
def test_the_latents_of_scan_are_those_of_its_own_z(size: int, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Fewer or more than its networks for images have, which are 4."""
    desk.becomes({"name": "scan", "latent_size": size})
    assert desk.run("traverse", HEART, "--latent", str(size - 1), "--steps", "2") == 0
    assert desk.run("traverse", HEART, "--latent", str(size)) == 2
    assert f"--latent: the model has {size} latents, 0 to {size - 1}\n  given: {size}" in capsys.readouterr().err


def test_a_concept_of_hundreds_of_attributes_is_told_in_few_words() -> None:
    """CUB has 312: what is absent is not named, and of what is there the first."""
    schema = Schema(tuple(Attribute(f"flag_{number}", ("no", "yes")) for number in range(312)))
    for present, said in (
        (2, "flag_0, flag_1, no other"),
        (40, f"{', '.join(f'flag_{k}' for k in range(12))} and 29 more"),
    ):
        concept = schema.format([1] * present + [0] * (312 - present))
        shown = {"left_out": {}, "images": [{"image": "test 0", "concept": concept, "encoder": {"error": 0.5}}]}
        assert list(error_lines(shown, schema)) == [f"test 0  encoder 0.5000  {said}"]
    attributes = {name: {"value": "yes" if place % 8 == 0 else "no", "probability": 0.9, "probabilities": {}}
                  for place, name in enumerate(schema.names)}  # fmt: skip
    drawn = _described({"attributes": attributes})
    assert drawn == [*(f"flag_{8 * k}=yes 90%" for k in range(20)), "and 19 more"]
    few = {"shape": {"value": "no", "probability": 0.5, "probabilities": {}}}
    assert _described({"attributes": few}) == ["shape=no 50%"]
