"""A package whose code changes between two commands: the example of docs/extending.md, installed and edited."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .test_package import SMALL, command, installed, page_files

LOSS = "alpha * (image_kl + concept_kl).mean()"
STOPS = """
import os
import signal


def stopping() -> None:
    if os.environ.get("STOP_NOW"):
        os.kill(os.getpid(), signal.SIGTERM)

"""


class Package:
    """The installed package, the grid, and the one trial of it."""

    def __init__(self, site: Path, cwd: Path) -> None:
        self.site, self.cwd = site, cwd
        self.file = site / "reverse_jmvae" / "objective.py"
        grid = yaml.safe_load(page_files()["reverse.yaml"]) | SMALL
        (cwd / "reverse.yaml").write_text(yaml.safe_dump(grid | {"objectives": grid["objectives"][:1]}))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return command(*words, site=self.site, cwd=self.cwd)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self("run", "--grid", "reverse.yaml", "--workers", "1", *options)

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def begin(self) -> Path:
        """Lays the folder of the trial out, and returns it."""
        (trial,) = json.loads(self.run("--dry-run", "--json").stdout)["trials"]
        folder = self.cwd / "runs" / "reverse" / "trials" / trial["key"]
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps(trial["spec"], sort_keys=True, separators=(",", ":")))
        evaluation = {"evaluation": SMALL["evaluation"]}
        (self.cwd / "spec.json").write_text(json.dumps(trial["spec"] | evaluation))
        return folder


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_a_trial_of_changed_code_waits_for_a_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, changed and resumed; finished and changed; and another version: nothing goes on by itself."""
    package = Package(installed(page_files(), tmp_path / "package"), tmp_path)
    package.edit("class ReverseJMVAE", STOPS + "\nclass ReverseJMVAE")
    package.edit("        joint = joint_terms", "        stopping()\n        joint = joint_terms")
    folder = package.begin()
    monkeypatch.setenv("STOP_NOW", "1")
    stopped = package("train", "--spec", "spec.json", "--out", str(folder))
    assert stopped.returncode == 130, stopped.stderr
    monkeypatch.delenv("STOP_NOW")
    weights = (folder / "last.ckpt").read_bytes()
    reason = "objective 'reverse_jmvae': reverse_jmvae/objective.py has changed"

    # Half-trained, then the loss of the page is multiplied by 1000.
    package.edit(LOSS, f"1000 * {LOSS}")
    refused = package.run()
    assert refused.returncode == 1
    assert f"made by other code, left alone: reverse_jmvae mnist_a/digits/iid seed 0 ({reason})" in refused.stderr
    assert "0 of 1 trials done, 0 failed, 0 not finished, 1 made by other code and left alone" in refused.stderr
    alone = package("train", "--out", str(folder))
    assert alone.returncode == 2
    assert f"{folder} was trained by other code than is installed: {reason}" in alone.stderr
    assert (folder / "last.ckpt").read_bytes() == weights
    assert not (folder / "result.json").exists()

    kept = package.run("--keep")
    assert kept.returncode == 0, kept.stderr
    mixed = result_of(folder)["provenance"]["segments"]
    steps = [(segment["from"], segment["to"]) for segment in mixed]
    assert steps == [(0, 1), (1, 5)]
    assert [segment["code"]["objective"]["package"] for segment in mixed] == ["reverse-jmvae"] * 2
    table = (tmp_path / "runs" / "reverse" / "report" / "table.md").read_text()
    assert "Made by mixed code" in table
    assert f"from step 1 on: {reason}" in table
    page = (tmp_path / "runs" / "reverse" / "report" / "index.html").read_text()
    assert "reverse-jmvae 1.0" in page
    # What was decided is not asked again.
    assert package("status", "runs/reverse").stdout.splitlines()[-1] == "1 done"

    # Done, then changed: the example of the page.
    before = (folder / "result.json").read_bytes()
    package.edit(f"1000 * {LOSS}", f"0 * {LOSS}")
    refused = package.run()
    assert refused.returncode == 1
    assert "1 trial, 1 made by other code" in refused.stderr
    assert (folder / "result.json").read_bytes() == before
    assert f"made by other code: {reason}" in package("status", "runs/reverse").stdout
    asked = package("evaluate", str(folder), "--protocol", "official")
    assert asked.returncode == 0, asked.stderr
    assert (
        f"not all of this was made by one code: from step 1 on: {reason}; in the evaluation: {reason}" in asked.stderr
    )
    assert (folder / "result.json").read_bytes() == before
    again = package.run("--retrain")
    assert again.returncode == 0, again.stderr
    (segment,) = result_of(folder)["provenance"]["segments"]
    assert (segment["from"], segment["to"]) == (0, 5)
    assert segment["code"]["objective"]["version"] == "1.0"
    assert "Made by mixed code" not in (tmp_path / "runs" / "reverse" / "report" / "table.md").read_text()

    # The version alone: a package can hold more than its Python files.
    (metadata,) = package.site.glob("reverse_jmvae-*.dist-info/METADATA")
    metadata.write_text(metadata.read_text().replace("\nVersion: 1.0", "\nVersion: 1.1"))
    refused = package.run()
    assert refused.returncode == 1
    assert "(objective 'reverse_jmvae': reverse-jmvae 1.0 then, reverse-jmvae 1.1 now)" in refused.stderr
