"""``traverse --plane``: what it prints and draws of a model with two latents, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_asking import HEART, Desk, document

SPRITES = {"name": "sprites", "level": 2, "canvas": 16, "num_images": 120}
FLAT = {"name": "rgb_thin", "width": 4, "hidden": 16, "latent_size": 2}


@pytest.fixture
def flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path, monkeypatch)
    desk.becomes("jvae", dataset=SPRITES, backbone=FLAT)
    return desk


@pytest.mark.parametrize(
    ("objective", "words", "by", "whose"),
    [
        ("jvae", [], "text", "joint"),
        ("jvae", ["--nearest"], "nearest", "joint"),
        ("telbo", [], "text", "image"),
        ("meme", [], "text", "image"),
        ("beta_vae", [], "nearest", "image"),
        ("scan", [], "text", "image"),
    ],
)
def test_every_concept_has_its_share(
    flat: Desk, capsys: pytest.CaptureFixture[str], objective: str, words: list[str], by: str, whose: str
) -> None:
    flat.becomes(objective, dataset=SPRITES, backbone=FLAT)
    assert flat.run("traverse", "--plane", "--steps", "5", *words, "--json") == 0
    found = document(capsys)
    assert (found["by"], found["posterior"], found["file"]) == (by, whose, str(flat.out))
    assert len(found["concepts"]) == 6
    assert sum(each["prior_mass"] for each in found["concepts"]) == pytest.approx(1)
    assert all(0 <= found[name] <= 1 for name in ("prior_linear", "linear", "neighbours", "majority", "regions_right"))
    assert flat.out.read_bytes().startswith(b"\x89PNG")


def test_what_it_prints_for_people(flat: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert flat.run("traverse", "--plane") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "share of p(z), and of the picture, by p(y|z):"
    assert lines[1].startswith("  shape=square, size=small")
    assert "which has been told y:" in lines[8]
    assert lines[-1] == str(flat.out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([HEART, "--plane"], "CONCEPT: cannot be used with --plane"),
        (["--plane", "--attribute", "size"], "--attribute: cannot be used with --plane"),
        (["--plane", "--latent", "1"], "--latent: cannot be used with --plane"),
        (["--plane", "--between"], "--between: only applies to an attribute"),
        (["--nearest"], "--nearest: only applies to --plane"),
        (["shape=heart, size=big", "--nearest"], "--nearest: only applies to --plane"),
        ([], "CONCEPT: is needed"),
    ],
)
def test_what_does_not_go_together(flat: Desk, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert flat.run("traverse", *words) == 2
    assert said in capsys.readouterr().err
    assert not flat.out.exists()


@pytest.mark.parametrize(
    ("objective", "parts", "said"),
    [
        ("telbo", {}, "--plane needs a model with two latents\n  given: 4\n  nearest: 2"),
        ("jvae", {"dataset": SPRITES | {"level": 4}, "backbone": FLAT}, "120 concepts, and colours for at most 12"),
        ("cvae", {"dataset": SPRITES, "backbone": FLAT}, "its image decoder needs the concept"),
    ],
)
def test_models_without_a_plane(
    flat: Desk, capsys: pytest.CaptureFixture[str], objective: str, parts: dict[str, object], said: str
) -> None:
    flat.becomes(objective, **parts)
    assert flat.run("traverse", "--plane") == 2
    assert said in capsys.readouterr().err
    assert not flat.out.exists()
