"""Every command line on a page is one that the program takes, every grid is valid, every page is in the navigation;
and, where mkdocs is installed (extra docs, part of dev), the site is built without a dead link."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml

from mmvae_bench.cli import app
from mmvae_bench.specs.components import datasets, objectives, of_domain
from mmvae_bench.specs.grid import GridSpec

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCED = re.compile(r"```(\w+)\n(.*?)```", flags=re.DOTALL)
MADE = {"objectives/index.md", "worlds.md", "protocols.md", "metrics.md", "gpu.md", "contributing.md",
        "architecture.md", "changelog.md", "corrections.md"}  # fmt: skip
"""Pages that docs/build_site.py makes."""


def command_lines(page: Path) -> list[str]:
    """In indented blocks and those marked console, continued lines joined, comments and placeholders left out."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(block for kind, block in FENCED.findall(text) if kind == "console")
    indented = [line.strip() for line in FENCED.sub("", text).splitlines() if line.startswith("    ")]
    lines = "\n".join([*indented, *blocks.splitlines()]).replace("\\\n", " ").splitlines()
    lines = [re.sub(r"\s+(#|>) ?.*", "", line) for line in lines]
    inline = re.findall(r"`(mmvae-bench (?:[a-z]+)(?: [^`]*)?)`", FENCED.sub("", text))
    return [line for line in [*lines, *inline] if line.startswith("mmvae-bench ")]


COMMANDS = [(page.name, line) for page in PAGES for line in dict.fromkeys(command_lines(page))]


def test_commands_are_found() -> None:
    pages = {page for page, _ in COMMANDS}
    assert {"first_run.md", "own_data.md", "commands.md", "asking.md", "clusters.md", "trackers.md"} <= pages
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_command_line_is_one_that_the_program_takes(page: str, line: str) -> None:
    words = shlex.split(re.sub(r"\.\.\.", "", line))[1:]
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"{page}: {line}"
        command = command.commands[name]
        if not words and not hasattr(command, "commands"):
            return  # A command that is only named.
    command.make_context(command.name, words)  # type: ignore[attr-defined]  # Raises what the program would print.


GRIDS = [
    (page.name, block)
    for page in PAGES
    for kind, block in FENCED.findall(page.read_text(encoding="utf-8"))
    if kind == "yaml" and "datasets:" in block
]


@pytest.mark.parametrize(("page", "block"), GRIDS)
def test_a_grid_is_valid(page: str, block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as this installation goes: in place of what a page installs or stores stands something else."""
    plain = yaml.safe_load(block)
    plain["objectives"] = [each for each in plain["objectives"] if not _foreign(each)] or ["jmvae"]
    stored = {"attributes": [["wet", ["no", "yes"]]], "shape": [3, 16, 16], "num_images": 1000, "binary": False}
    plain["datasets"] = [each | stored if isinstance(each, dict) and each["name"] == "arrays" else each
                         for each in plain["datasets"]]  # fmt: skip
    if "exact_match" in block:
        plain.pop("evaluation")
    assert GridSpec.parse(plain).trials


def _foreign(objective: object) -> bool:
    return (objective["name"] if isinstance(objective, dict) else objective) not in objectives.built_in()


def test_blocks_of_python_can_be_parsed_and_import_what_there_is() -> None:
    blocks = [block for page in PAGES for kind, block in FENCED.findall(page.read_text(encoding="utf-8"))
              if kind == "python"]  # fmt: skip
    assert len(blocks) > 8
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("mmvae_bench"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)


LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OUTSIDE_CODE = re.compile(r"```.*?```|(?:^    [^\n]*\n?)+|`[^`\n]*`", flags=re.DOTALL | re.MULTILINE)
READ_IN_THE_REPOSITORY = [*PAGES, *sorted(ROOT.glob("*.md")), *sorted((ROOT / "benchmarks").rglob("*.md"))]


def dead_links(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead to no file, or to no heading of it."""
    dead = []
    for target in LINK.findall(OUTSIDE_CODE.sub("", text)):
        place, _, anchor = target.partition("#")
        if ":" in place:
            continue
        there = page.parent / place if place else page
        own = there.read_text(encoding="utf-8") if anchor and there.is_file() else ""
        headings = re.findall(r"^#+ (.*)$", own, re.MULTILINE)
        anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
        if not there.exists() or (anchor and anchor not in anchors):
            dead.append(target)
    return dead


@pytest.mark.parametrize("page", READ_IN_THE_REPOSITORY, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_leads_to_a_file_of_the_repository(page: Path) -> None:
    """Pages are read there too, where those that the site is made with do not exist."""
    assert not dead_links(page, page.read_text(encoding="utf-8"))


def test_a_dead_link_is_found() -> None:
    text = "[a](graphs.md) [b](gpu.md) ![c](nowhere.png) [d](https://x.org) [e](graphs.md#graphs) `[x](code.md)`\n"
    text += "\n    [y](code.md)\n\n[f](graphs.md#trees) [g](#h)"
    assert dead_links(ROOT / "docs" / "index.md", text) == ["gpu.md", "nowhere.png", "graphs.md#trees", "#h"]


def navigation(entries: object) -> list[str]:
    """The pages in the navigation of mkdocs.yml."""
    if isinstance(entries, str):
        return [entries]
    parts = entries.values() if isinstance(entries, dict) else entries
    return [page for part in parts for page in navigation(part)]  # type: ignore[union-attr]


def test_every_page_is_in_the_navigation_once() -> None:
    listed = navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    written = [page.name for page in PAGES if not page.name.endswith(".in.md")]
    written += [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.html")]
    assert sorted(listed) == sorted([*written, *MADE])


@pytest.fixture(scope="module")
def site() -> ModuleType:
    """What makes the pages."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra docs)")
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def test_a_page_of_every_objective_has_a_formula_and_all_settings(site: ModuleType) -> None:
    for name in objectives.built_in():
        page = site.objective_page(name)
        loss = page.partition("## Loss")[2].partition("## What")[0]
        assert re.search(r"`[^`]*(log p|KL|mean)[^`]*`", loss, flags=re.DOTALL), name
        spec = objectives.get(name)
        assert spec.reference in page
        for key, field in spec.model_fields.items():
            assert key == "name" or f"| `{field.alias or key}` |" in page
    assert "it lacks q(z|y)" in site.objective_page("jvae")
    assert "cannot be a caption: " in site.objective_page("cvae")


def test_every_dataset_has_a_preview_or_is_the_users(site: ModuleType) -> None:
    of_images = set(of_domain(datasets, "images"))  # A graph is no picture.
    assert set(site.SMALL) == set(datasets.self_contained()) & set(datasets.built_in()) & of_images
    for name, settings in site.SMALL.items():
        datasets.parse({"name": name, **settings})


def test_links_lead_to_pages_or_name_a_file(site: ModuleType) -> None:
    class Page:
        class file:
            src_uri = "scaling.md"

    class Pages:
        def get_file_from_path(self, path: str) -> object:
            return path if path in ("extending.md", "results/driver.md", "worlds.md", "gpu.md") else None

    def shown(text: str) -> str:
        return str(site.on_page_markdown(text, Page, None, Pages()))

    assert shown("[a](../benchmarks/results/driver.md#x)") == "[a](results/driver.md#x)"
    assert shown("[a](extending.md) [b](https://x.org/y)") == "[a](extending.md) [b](https://x.org/y)"
    assert shown("[the grid](../configs/quick.yaml)") == "the grid (`configs/quick.yaml`)"
    assert shown("[made](../mmvae_bench/worlds)") == "[made](worlds.md)"
    assert shown("[made](../benchmarks/GPU.md)") == "[made](gpu.md)"
    assert shown("[dead](nowhere.md)") == "[dead](nowhere.md)"
    assert shown("    [code](../configs/quick.yaml)\n") == "    [code](../configs/quick.yaml)\n"


def test_every_page_of_results_is_in_their_index_once_and_only_pages_that_exist() -> None:
    results = ROOT / "benchmarks" / "results"
    index = (results / "README.md").read_text(encoding="utf-8").partition("## What was measured")[2]
    listed = re.findall(r"\]\((\w+\.md)\)", index)
    assert sorted(listed) == sorted(path.name for path in results.glob("*.md") if path.name != "README.md")
    for target in re.findall(r"\]\(([^)#:]+)\)", (results / "README.md").read_text(encoding="utf-8")):
        assert (results / target).exists(), target


def test_the_site_is_built_without_a_dead_link(site: ModuleType, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1", site.NO_PREVIEWS: "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "mopoe" in (tmp_path / "site" / "objectives" / "mopoe.html").read_text(encoding="utf-8")
