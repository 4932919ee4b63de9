"""``imagine``: what cannot be drawn is said before anything heavy is imported, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmvae_bench.cli import main
from mmvae_bench.specs.trial import TrialSpec


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """The folder of a trial of captions, of which nothing but the spec is there yet."""
    spec = TrialSpec.parse(
        {
            "dataset": {"name": "celeba18", "source": "drawn", "size": 16, "view": "text"},
            "backbone": "rgb_thin",
            "objective": "jmvae",
        }
    )
    folder = tmp_path / "trial"
    folder.mkdir()
    (folder / "spec.json").write_text(json.dumps(spec.canonical()))
    return folder


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("Smilng Female", "caption 'Smilng Female': not in the vocabulary: Smilng\n  choices: Bald, Bangs, Black_Hair"),
        (" ".join(["Smiling"] * 10), "a caption has at most 9 words, got 10"),
        ("Hatt " * 10, "not in the vocabulary: Hatt"),
        ("Smilng=yes", "Smilng"),
        ("Smiling=perhaps", "perhaps"),
    ],
)
def test_a_caption_that_cannot_be_read(
    asked: str, message: str, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("mmvae_bench.trial.load", lambda *_: pytest.fail("the model was loaded"))
    assert main(["imagine", str(faces), asked, "--out", str(tmp_path / "x.png")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    if asked.startswith("Smilng "):
        assert printed.err.endswith("  nearest: Smiling\n")
    assert not printed.out
    assert not (tmp_path / "x.png").exists()
