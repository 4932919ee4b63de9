"""The shipped grids: listed, printed, and found by name from any folder, also in an installed package."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

import mmvae_bench as mb
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.processes import SAFE_PYTHON
from mmvae_bench.cli import main
from mmvae_bench.specs import shipped
from mmvae_bench.specs.sweeps import load_sweep

ROOT = Path(__file__).parents[2]
FILES = {path.stem: path for path in (ROOT / "configs").glob("*.yaml")}
SWEEPS = {name for name, path in FILES.items() if "method" in yaml.safe_load(path.read_text(encoding="utf-8"))}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds no grid."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_list_has_every_grid_and_no_sweep(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert SWEEPS
    assert [entry["name"] for entry in listed] == sorted(FILES.keys() - SWEEPS)
    for entry in listed:
        grid = mb.load_grid(FILES[entry["name"]])
        assert (entry["kind"], entry["summary"], entry["trials"]) == ("grid", grid.summary, len(grid.trials))


def test_the_list_for_people_names_the_sweeps_apart(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    out, err = capsys.readouterr()
    assert "quick\n    TELBO, JMVAE, BiVCCA" in out
    for name in SWEEPS:
        assert name in err
        assert name not in out


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_is_printed_to_the_byte(name: str, elsewhere: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["configs", name]) == 0
    assert capfdbinary.readouterr().out == FILES[name].read_bytes()


def test_a_name_is_run_as_its_file(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = []
    for grid in ("quick", str(FILES["quick"])):
        assert main(["run", "--grid", grid, "--dry-run", "--json"]) == 0
        keys.append([trial["key"] for trial in json.loads(capsys.readouterr().out)["trials"]])
    assert keys[0] == keys[1] != []
    sweep = min(SWEEPS)
    assert main(["sweep", "--local", sweep, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"]


def test_a_path_that_exists_goes_first(elsewhere: Path) -> None:
    """But a folder of a grid's name, such as its run, does not hide the grid."""
    (elsewhere / "quick").mkdir()
    assert mb.load_grid("quick").summary
    (elsewhere / "quick").rmdir()
    own = FILES["quick"].read_text(encoding="utf-8").replace("name: quick", "name: mine")
    (elsewhere / "quick").write_text(own, encoding="utf-8")
    assert mb.load_grid("quick").name == "mine"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("quik", ["no such file: quik, and no shipped configuration", "choices: ", "nearest: quick"]),
        ("configs/quick.yaml", ["no such file: configs/quick.yaml", "nearest: quick, which is shipped"]),
        ("sweep_wandb", ["this is a W&B sweep file, which mmvae-bench sweep --local takes"]),
        ("nowhere/else.yaml", ["no such file: nowhere/else.yaml (folder nowhere does not exist)"]),
    ],
)
def test_what_is_not_a_grid_is_explained(given: str, words: list[str], elsewhere: Path) -> None:
    with pytest.raises(ConfigError) as error:
        mb.load_grid(given)
    for part in words:
        assert part in str(error.value)


def test_only_what_the_command_takes_is_offered(elsewhere: Path) -> None:
    for read, given, kind in ((mb.load_grid, "quik", "grid"), (load_sweep, Path("sweep_wandbb"), "sweep")):
        with pytest.raises(ConfigError) as error:
            read(given)
        assert error.value.problems[0].choices == tuple(shipped.shipped(kind))
    assert error.value.problems[0].near == "sweep_wandb"


def test_an_unknown_name_is_bad_input(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "quik"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "unknown configuration 'quik'" in err
    assert "nearest: quick" in err


def test_nothing_about_the_grids_is_written_down_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid that is added or renamed is found under its new name."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    shutil.copy(FILES["quick"], tmp_path / "tour.yaml")
    assert list(shipped.shipped("grid")) == ["tour"]
    assert mb.load_grid("tour").trials


def test_a_wheel_holds_the_configurations(tmp_path: Path) -> None:
    """To the byte, in the folder where the package looks for them, and nowhere else."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "configs", source / "configs")
    unneeded = shutil.ignore_patterns("__pycache__", "*.py")
    shutil.copytree(ROOT / "mmvae_bench", source / "mmvae_bench", symlinks=True, ignore=unneeded)
    (source / "mmvae_bench" / "__init__.py").touch()
    build = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
    command = [*SAFE_PYTHON, "-c", build, str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if name.endswith(".yaml")}
    assert found == {f"mmvae_bench/configs/{name}.yaml": path.read_bytes() for name, path in FILES.items()}
