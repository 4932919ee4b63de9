from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.cli.data import app
from mmvae_bench.data.sources import MissingSourceError, SourceError
from mmvae_bench.specs.components import datasets

SMALL = ("--set", "canvas=16", "--set", "num_sources=50", "--set", "replicas=4")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("command", ["prepare", "describe", "verify"])
def test_json_is_one_document_and_nothing_else(command: str) -> None:
    call("prepare", "mnist_a", *SMALL)
    result = call(command, "mnist_a", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["name"] == "mnist_a"
    assert result.stdout.count("\n") == 1


def test_describe_has_what_is_promised() -> None:
    about = json.loads(call("describe", "mnist_a", *SMALL, "--set", "split=comp", "--json").stdout)
    assert {"name", "source", "schema", "sizes", "combinations", "marginals", "fingerprint"} <= set(about)
    assert sum(about["sizes"].values()) == 200
    assert {name: len(part) for name, part in about["combinations"].items()} == {"train": 204, "val": 12, "test": 24}


def test_describe_for_people_names_the_source() -> None:
    lines = call("describe", "mnist_a", *SMALL).stdout.splitlines()
    assert ["source", "digits"] in [line.split() for line in lines]
    assert not any("{" in line for line in lines)
    assert ["combinations", "none is held out"] in [line.split(maxsplit=1) for line in lines]
    assert "None" not in "".join(lines)


def test_what_is_shown_to_people_has_no_words_of_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    """Attributes with their values, files with how many are whole."""
    folder = tmp_path / "pets"
    folder.mkdir()
    for number in range(20):
        Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(folder / f"{number}.png")
    rows = [f"{number}.png,{'cat' if number % 2 else 'dog'}\n" for number in range(20)]
    (folder / "labels.csv").write_text("".join(["file,kind\n", *rows]))
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    arguments = ("folder", "--set", "path=pets", "--set", "size=8")
    shown = {command: call(command, *arguments).stdout for command in ("prepare", "describe", "verify")}
    assert "\n  attributes\n    kind  cat dog\n" in shown["describe"]
    lines = [line.split(maxsplit=1) for line in shown["verify"].splitlines()]
    assert ["files", "2, all as they were written"] in lines
    assert ["ok", "yes"] in lines
    assert not any(word in "".join(shown.values()) for word in ("None", "True", "entries"))
    next(own_cache.glob("datasets/folder-*/images.npy")).unlink()
    assert "  2, 1 damaged or missing\n" in call("verify", *arguments).stdout


def test_preview_writes_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    result = call("preview", "mnist_a", *SMALL, "--out", str(path), "-n", "6", "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["rows"]) == 6
    assert Image.open(path).size[0] > 600


def test_a_sheet_of_a_part_says_so_and_how_all_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"file": "sheet.png", "rows": [0, 1], "concepts": [], "of_first": 200}
    monkeypatch.setattr("mmvae_bench.data.commands.preview", lambda *arguments, **settings: shown)
    result = call("preview", "two_object_clevr", "--set", "canvas=48", "--out", "sheet.png")
    assert result.exit_code == 0
    assert result.stdout == "file    sheet.png\nimages  2\n"
    assert "this sheet is of its first 200 images; all 100,000: " in result.stderr
    assert result.stderr.rstrip().endswith("data prepare two_object_clevr --set canvas=48`")


def test_verify_of_a_damaged_dataset_is_exit_code_1(own_cache: Path) -> None:
    call("prepare", "mnist_a", *SMALL)
    (path,) = own_cache.glob("datasets/*/images.npy")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    result = call("verify", "mnist_a", *SMALL, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False
    assert "data prepare" in result.stderr
    assert call("prepare", "mnist_a", *SMALL).exit_code == 0
    assert call("verify", "mnist_a", *SMALL).exit_code == 0


def test_the_data_root_option_is_where_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVAE_BENCH_DATA", "elsewhere")
    monkeypatch.setattr("mmvae_bench.data.sources.digits._download", lambda root: f"no network for {root}")
    result = call("prepare", "mnist_a", "--set", "source=mnist", "--data-root", str(tmp_path / "given"))
    assert isinstance(result.exception, SourceError)
    assert str((tmp_path / "given" / "MNIST" / "raw").resolve()) in str(result.exception)
    assert f"no network for {tmp_path / 'given'}" in str(result.exception)
    assert "MMVAE_BENCH_DATA" in str(result.exception)


FROM_FILES = {
    "celeba18": "celeba", "cora": "planetoid", "cora_papers": "planetoid", "cub": "files", "dsprites": "dsprites",
    "house_numbers": "svhn", "lfw": "files", "lit_faces": "yale", "mnist": "mnist", "mnist_a": "mnist",
    "multi_mnist": "mnist", "sprites": "dsprites",
}  # fmt: skip
"""The source of each dataset that reads the user's files."""


@pytest.mark.parametrize("dataset", [(name, "--set", f"source={source}") for name, source in FROM_FILES.items()])
def test_the_data_root_option_is_named_where_it_exists(
    dataset: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``run`` has no such option: there the variable alone helps."""
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr("mmvae_bench.data.sources.digits._download", lambda root: "no network")
    for command in ("prepare", "describe"):
        message = str(call(command, *dataset).exception)
        assert message.splitlines()[-1] == "  or give the folder with --data-root"
    data = datasets.parse({"name": dataset[0], "source": dataset[2].partition("=")[2]}).build()
    with pytest.raises(MissingSourceError, match="set MMVAE_BENCH_DATA to") as caught:
        data.prepare_data()
    assert "--data-root" not in str(caught.value)


def test_what_verify_advises_names_the_same_settings(own_cache: Path) -> None:
    call("prepare", "mnist_a", *SMALL)
    (path,) = own_cache.glob("datasets/*/images.npy")
    path.write_bytes(b"")
    advice = call("verify", "mnist_a", *SMALL).stderr.splitlines()[-1].split()
    assert advice[advice.index("data") + 1 :] == ["prepare", "mnist_a", *SMALL]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("describe", "mnist-a"), ("unknown dataset 'mnist-a'", "nearest: mnist_a")),
        (("describe", "mnist_a", "--set", "canvaz=32"), ("canvaz", "nearest: canvas")),
        (("describe", "mnist_a", "--set", "source=mnits"), ("source", "choices: mnist, digits", "nearest: mnist")),
        (("describe", "mnist_a", "--set", "canvas=8", "--set", "replicas=0"), ("canvas", "replicas")),
        (("describe", "mnist_a", "--set", "canvas"), ("expected key=value",)),
        (("describe", "mnist_a", "--set", "name=other"), ("named by the argument",)),
        (("preview", "mnist_a", "--out", "x.png", "--partition", "tests"), ("nearest: test",)),
    ],
)
def test_bad_input_teaches(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    error = call(*arguments).exception
    assert isinstance(error, ConfigError)
    for word in words:
        assert word in str(error)


def test_errors_of_a_configuration_come_without_torch() -> None:
    script = (
        "import sys\nfrom mmvae_bench.cli.data import app\nfrom mmvae_bench.base.errors import ConfigError\n"
        "try:\n    app(['describe', 'mnist_a', '--set', 'canvas=8'], standalone_mode=False)\n"
        "except ConfigError:\n    sys.exit(3 if 'torch' in sys.modules or 'numpy' in sys.modules else 0)\nsys.exit(4)"
    )
    assert subprocess.run([sys.executable, "-c", script], env=dict(os.environ), check=False).returncode == 0
