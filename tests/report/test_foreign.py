"""A stranger's run folder is data: nothing outside of it is read, and no text in it does anything."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.base.canonical import canonical_json, content_hash
from mmvae_bench.base.files import write_json, write_text
from mmvae_bench.cli import main
from mmvae_bench.report import write_report
from mmvae_bench.runs.names import TRIAL_FILES
from mmvae_bench.runs.scores import Score
from mmvae_bench.runs.status import read_status

from .synthetic_runs import PNG, result_of, spec_of, write_trial

SECRET = "the secret of this machine"
HOSTILE = "\x1b]0;owned\x07\x1b[31m\u202e<script>alert(1)</script>\x9b2J [x](javascript:1) [/red] *a* |b| $\\frac{$"
SHOWN = "\\x1b]0;owned\\x07\\x1b[31m\\u202e"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    return path


def read_everything(run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the reading commands print and the report has in its files."""
    for words in (["status"], ["status", "--json"], ["verify"], ["report"], ["compare", str(run)]):
        assert main([words[0], str(run), *words[1:]]) in (0, 1, 2)
    printed = capsys.readouterr()
    written = [path.read_text() for path in (run / "report").rglob("*") if path.is_file()]
    return "\n".join([printed.out, printed.err, *written])


def test_a_path_in_a_status_is_not_read(tmp_path: Path, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_trial(tmp_path / "run", spec_of(), "failed", error="broken", log=str(secret))
    assert SECRET not in read_everything(tmp_path / "run", capsys)
    assert read_status(folder).log == str(folder / "output.log")


@pytest.mark.parametrize("name", ["output.log", "samples.png", "log.jsonl", "latent_plane.npz", "result.json"])
@pytest.mark.parametrize("state", ["done", "failed"])
def test_links_are_not_followed(
    name: str, state: str, tmp_path: Path, secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_trial(tmp_path / "run", spec_of(), state)
    picture = tmp_path / "private.png"
    picture.write_bytes(PNG + SECRET.encode())
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(picture if name == "samples.png" else secret)
    text = read_everything(tmp_path / "run", capsys)
    assert SECRET not in text
    assert "data:image/png" not in text or name != "samples.png"
    assert main(["run", "--grid", str(grid(tmp_path)), "--out", str(tmp_path / "run")]) == 2
    refusal = capsys.readouterr().err
    assert f"{folder / name} is damaged: not a regular file" in refusal
    assert secret.read_text() == f"{SECRET}\n"


def grid(folder: Path) -> Path:
    path = folder / "grid.yaml"
    path.write_text(
        "name: demo\ndatasets: [{name: mnist_a, source: digits, canvas: 32}]\nbackbones: [mnist_a_thin]\n"
        "objectives: [telbo]\ntraining: {steps: 6000, learning_rate: 0.001}\n"
    )
    return path


@pytest.mark.parametrize("which", ["trials", "trial"])
def test_a_folder_that_is_a_link_is_not_entered(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private = write_trial(tmp_path / "private", spec_of(), "failed", error=SECRET)
    run = tmp_path / "run"
    (run / "trials").mkdir(parents=True)
    if which == "trials":
        (run / "trials").rmdir()
        (run / "trials").symlink_to(private.parent)
    else:
        (run / "trials" / private.name).symlink_to(private)
    for words in (["status", run], ["report", run], ["verify", run], ["compare", run, run]):
        main([str(word) for word in words])
    for words in (["imagine", "digit=1", "--out", "a.png"], ["evaluate"]):
        assert main([words[0], str(run / "trials" / private.name), *words[1:]]) == 2
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err
    assert "a link; the folder of a run holds no links to others" in " ".join((printed.out + printed.err).split())


@pytest.mark.parametrize("name", sorted(TRIAL_FILES))
def test_a_pipe_in_place_of_a_file_is_not_waited_for(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_trial(tmp_path / "run", spec_of())
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert main(["status", str(tmp_path / "run")]) == 0
    assert main(["verify", str(tmp_path / "run")]) == 1
    assert main(["imagine", str(folder), "digit=1", "--out", str(tmp_path / "a.png")]) == 2
    assert main(["evaluate", str(folder)]) == 2
    assert main(["train", "--out", str(folder)]) == 2
    assert capsys.readouterr().err.count(f"{folder / name} is damaged: not a regular file") == 3
    assert main(["run", "--grid", str(grid(tmp_path)), "--out", str(tmp_path / "run")]) == 2


def hostile_run(root: Path) -> None:
    """A run whose keys are right and whose every text is hostile."""
    for state in ("done", "failed"):
        spec = spec_of(seed=int(state == "failed"))
        plain: dict[str, Any] = {name: dict(part) if isinstance(part, dict) else part
                                 for name, part in spec.canonical().items()}  # fmt: skip
        for part in ("dataset", "backbone", "objective"):
            plain[part] |= {"name": f"{part}{HOSTILE}", HOSTILE: HOSTILE}
        plain["dataset"] |= {"source": HOSTILE, "split": HOSTILE}
        folder = root / "trials" / content_hash(plain)
        folder.mkdir(parents=True)
        write_text(folder / "spec.json", canonical_json(plain))
        status = {"state": state, "error": HOSTILE, "error_type": HOSTILE, "stage": HOSTILE, "log": HOSTILE}
        write_json(folder / "status.json", status)
        (folder / "output.log").write_text(HOSTILE)
        if state == "done":
            texts = {"metric": HOSTILE, "attribute": HOSTILE, "protocol": HOSTILE, "proposal": HOSTILE}
            scores = [Score(partition="test", value=0.5, level=2, per_query=[0.5, 0.5], **texts)]
            result = result_of(spec, [*scores, Score(partition=HOSTILE, value=0.5, metric="correctness")])
            result |= {"key": folder.name, "provenance": dict.fromkeys(result["provenance"], HOSTILE)}
            result["classifier"] |= {"name": HOSTILE, "accuracy": {HOSTILE: 0.1}, "mean_accuracy": 0.1}
            result["training"]["convergence"]["verdict"] = HOSTILE
            write_json(folder / "result.json", result)


def test_no_text_of_a_run_does_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    hostile_run(run)
    text = read_everything(run, capsys)
    for obeyed in ("\x1b", "\x07", "\x9b", "\u202e"):
        assert obeyed not in text, repr(obeyed)
    pages = [path for path in (run / "report").rglob("*") if path.suffix in (".html", ".md", ".tex", ".svg")]
    assert len(pages) >= 3
    assert not any("<script>alert" in path.read_text() for path in pages)
    markdown = (run / "report" / "table.md").read_text()
    assert SHOWN.replace("\\", "\\\\") in markdown
    assert "](javascript" not in markdown.replace("\\](", "")
    assert "|b|" not in markdown
    assert "\\frac" not in (run / "report" / "table.tex").read_text().replace("\\textbackslash{}frac", "")
    assert capsys.readouterr().err == ""


def test_a_text_is_escaped_and_stays_itself(tmp_path: Path) -> None:
    """Two names that differ in what cannot be printed are two columns."""
    for mark in ("\x1b", "\x1c"):
        plain = spec_of().canonical()
        plain["objective"] = plain["objective"] | {"name": f"telbo{mark}"}
        folder = tmp_path / "trials" / content_hash(plain)
        folder.mkdir(parents=True)
        write_text(folder / "spec.json", canonical_json(plain))
        scores = [Score(metric="correctness", partition="test", value=0.5, level=2, protocol="paper")]
        write_json(folder / "result.json", result_of(spec_of(), scores) | {"key": folder.name})
    text = write_report(tmp_path, width=200, color=False)
    assert "telbo\\x1b" in text
    assert "telbo\\x1c" in text


def test_a_report_is_not_written_through_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    write_trial(run, spec_of())
    elsewhere.mkdir()
    (elsewhere / "index.html").write_text("mine")
    (run / "report").symlink_to(elsewhere)
    assert main(["report", str(run)]) == 2
    assert "a link; a report is not written through it" in capsys.readouterr().err
    assert (elsewhere / "index.html").read_text() == "mine"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["index.html"]


@pytest.mark.parametrize("change", [{"elbo": "high"}, {"elbo": None}, {"step": [1]}, {"step": 1.5}, {"stage": {}}])
def test_a_record_of_the_wrong_kind_is_left_out_of_the_curve(change: dict[str, Any], tmp_path: Path) -> None:
    from mmvae_bench.report.curves import validation_curve

    good = {"event": "validation", "stage": "fit", "step": 10, "elbo": -5.0}
    lines = [canonical_json(good), canonical_json(good | {"step": 20} | change), "[" * 5000, '{"event": "valid']
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert validation_curve(tmp_path) == ([10], [-5.0])


def test_one_hostile_trial_costs_no_other(tmp_path: Path) -> None:
    run = tmp_path / "run"
    hostile_run(run)
    good = write_trial(run, spec_of("bivcca"))
    for number, text in enumerate(('{"a":' * 5000, "[1e999]", '{"version": 1, "seed": {}}')):
        folder = run / "trials" / f"{number:012x}"
        shutil.copytree(good, folder)
        (folder / "spec.json").write_text(text)
    text = write_report(run, width=400, color=False)
    assert "2 of 6 trials done, 1 failed, 3 damaged" in text
