"""What mkdocs calls while it builds the documentation: pages made from the registries, and links between files.

Nothing of it is committed twice. A page for each objective and the lists of worlds, protocols and metrics come from the
registries, preview sheets are drawn, the results and the pages at the root of the repository are read where they are.
A link to a file that is no page of the site becomes the file's name.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.specs.components import datasets, objectives
from mmvae_bench.specs.listing import describe_kind

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
AT_ROOT = {name: f"{name.removesuffix('.md').lower()}.md"
           for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "CORRECTIONS.md")}  # fmt: skip
MADE_FROM = {
    "benchmarks/GPU.md": "gpu.md", "mmvae_bench/objectives": "objectives/index.md", "mmvae_bench/worlds": "worlds.md",
    "mmvae_bench/metrics/protocols.py": "protocols.md", "mmvae_bench/metrics/entries": "metrics.md",
}  # fmt: skip
"""Pages that are made, by where a link leads that is read in the repository: to what they are made from."""
SMALL: dict[str, dict[str, Any]] = {
    "mnist_a": {"num_sources": 200, "replicas": 2},
    "mnist": {"num_images": 400},
    "mnist_2bit": {"num_images": 400},
    "sprites": {"num_images": 400},
    "dsprites": {"num_images": 1000},
    "lit_faces": {"num_people": 8},
    "house_numbers": {"num_images": 400},
    "multi_mnist": {"num_images": 400},
    "celeba18": {"source": "drawn", "num_images": 200},
    "single_object_clevr": {"num_images": 60, "canvas": 64, "samples": 16},
    "two_object_clevr": {"num_images": 60, "canvas": 64, "samples": 16},
}
"""What makes enough images for a preview; a dataset without an entry has none."""
OF_FILES = ("lfw", "cub")
"""What is made from the user's files alone, and not of the user's own."""
NUM_SHOWN = 16
NO_PREVIEWS = "MMVAE_BENCH_NO_PREVIEWS"
"""If this variable is set, previews are left out: for a quick look at the links."""
POSTERIORS = {"joint": "q(z|x,y)", "image": "q(z|x)", "concept": "q(z|y)"}
LIKELIHOODS = {"image": "p(x|z)", "concept": "p(y|z)"}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Puts a page for each objective into the navigation."""
    for part in config["nav"]:
        if "Objectives" in part:
            part["Objectives"] += [{name: f"objectives/{name}.md"} for name in objectives.built_in()]
        if "Results" in part:
            part["Results"] += [f"results/{path.name}" for path in sorted(RESULTS.glob("*.md"))]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made here."""
    made: dict[str, str | bytes] = {f"objectives/{name}.md": objective_page(name) for name in objectives.built_in()}
    made["objectives/index.md"] = objectives_page()
    pages, sheets = worlds_page()
    made |= {"worlds.md": pages, "protocols.md": protocols_page(), "metrics.md": metrics_page(), **sheets}
    made |= {site: (ROOT / name).read_text(encoding="utf-8") for name, site in AT_ROOT.items()}
    made["gpu.md"] = (ROOT / "benchmarks" / "GPU.md").read_text(encoding="utf-8")
    for path in sorted(RESULTS.rglob("*")):
        if path.suffix in (".md", ".png", ".svg"):
            made[f"results/{path.relative_to(RESULTS).as_posix()}"] = path.read_bytes()
    made |= leaderboard_files()
    for place, content in made.items():
        text = content.decode() if isinstance(content, bytes) and place.endswith(".md") else content
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Points links at pages of the site, and says the name of a file that is none."""
    own = PurePosixPath(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        picture, label, target = found.groups()
        place, mark, anchor = target.partition("#")
        if ":" in place or not place:
            return found.group()
        repository = posixpath.normpath(posixpath.join(posixpath.dirname(repository_path(own)), place))
        wanted = site_path(repository)
        if files.get_file_from_path(str(own.parent / place)) is not None:
            return found.group()
        if files.get_file_from_path(wanted) is not None:
            return f"{picture}[{label}]({posixpath.relpath(wanted, own.parent)}{mark}{anchor})"
        if not (ROOT / repository).exists():
            return found.group()  # A dead link: mkdocs says so.
        return label if label.startswith("`") else f"{label} (`{repository}`)"

    return _outside_code(markdown, lambda text: _LINK.sub(link, text))


def _outside_code(markdown: str, change: Any) -> str:
    parts = re.split(r"(```.*?```|(?:^    [^\n]*\n?)+)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def leaderboard_files() -> dict[str, bytes]:
    """The scores that the leaderboard names as files beside it; the page itself is checked in."""
    from mmvae_bench.report.leaderboard import write_leaderboard

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "leaderboard"
        write_leaderboard(sorted(path.parent for path in RESULTS.glob("*/results.parquet")), out)
        return {f"leaderboard/{path.name}": path.read_bytes() for path in sorted(out.glob("leaderboard.*"))}


def repository_path(site: PurePosixPath) -> str:
    """The file of the repository that a page of the site is, or would be."""
    text = str(site)
    named = {value: key for key, value in AT_ROOT.items()} | {"gpu.md": "benchmarks/GPU.md"}
    return named.get(text) or (f"benchmarks/{text}" if text.startswith("results/") else f"docs/{text}")


def site_path(repository: str) -> str:
    """The page of the site that a file of the repository is, or would be."""
    if repository in MADE_FROM:
        return MADE_FROM[repository]
    if repository.startswith("benchmarks/results"):
        return repository.removeprefix("benchmarks/")
    return AT_ROOT.get(repository, repository.removeprefix("docs/"))


def objectives_page() -> str:
    """All objectives in one table."""
    entries = {entry["name"]: entry for entry in describe_kind("objectives")}
    lines = ["# Objectives", "", "Every objective is a file of formulas on the same networks. What one cannot be asked",
             "is left out of its results, with the reason.", "",
             "| objective | | imagines | describes | reconstructs | y can be a caption |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for name in objectives.built_in():
        entry = entries[name]
        can = " ".join(entry["can"])
        marks = ["yes" if word in can else "–" for word in ("imagine", "describe", "reconstruct")]
        marks.append("yes" if "text" in entry["views"] else "–")
        lines.append(f"| [{name}]({name}.md) | {_cell(entry['summary'])} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


def objective_page(name: str) -> str:
    """One objective: what it is, its loss, what it can and cannot do, its settings."""
    spec = objectives.get(name)
    (entry,) = (each for each in describe_kind("objectives") if each["name"] == name)
    module = spec.implementation.partition(":")[0]
    about, losses = source_texts(ROOT / f"{module.replace('.', '/')}.py")
    explained = " ".join((spec.__doc__ or "").split())
    lines = [f"# {name}", "", *_head(entry), explained, "", "## Loss", "", about, ""]
    for function, text in losses.items():
        lines += [f"`{function}`: {text}", ""]
    lines += ["## What it can and cannot do", ""]
    lines += [f"- it can {ability}" for ability in entry["can"]]
    lines += [f"- posteriors: {', '.join(POSTERIORS[each] for each in entry['posteriors']) or 'none'}"]
    lines += [f"- decoders: {', '.join(LIKELIHOODS[each] for each in entry['likelihoods']) or 'none'}"]
    lines += [f"- it lacks {sign}" for each, sign in POSTERIORS.items() if each not in entry["posteriors"]]
    if "concept" in entry["posteriors"] and not entry["partial_concepts"]:
        lines += ["- q(z|y) needs every attribute: it cannot imagine a concept that leaves some open"]
    if spec.text_obstacle is not None:
        lines += [f"- y cannot be a caption: {spec.text_obstacle}"]
    if len(entry["stages"]) > 1:
        lines += [f"- stages of training: {', '.join(entry['stages'])}, depending on its settings"]
    lines += ["", "## Settings", "", *_settings(entry), "", f"The code is in `{module.replace('.', '/')}.py`.", ""]
    return "\n".join(lines)


def source_texts(path: Path) -> tuple[str, dict[str, str]]:
    """The docstring of a module, and what each of its functions with a formula says before its arguments; with the
    joint bound where the module uses it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    shared = path.parent / "common" / "elbo.py"
    used = {name.name for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "common.elbo"
            for name in node.names}  # fmt: skip
    losses = dict(_formulas(tree))
    if "joint_terms" in used:
        losses["joint_elbo"] = dict(_formulas(ast.parse(shared.read_text(encoding="utf-8"))))["joint_elbo"]
    return _shown(ast.get_docstring(tree) or ""), losses


def _formulas(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        text = (ast.get_docstring(node) or "") if isinstance(node, ast.FunctionDef) else ""
        if "``" in text:
            yield node.name, _shown(re.split("\n\n(?:Args:|>>>)", text)[0])  # type: ignore[union-attr]


def worlds_page() -> tuple[str, dict[str, bytes]]:
    """Every dataset with its attributes, settings and a preview sheet, and the sheets."""
    lines = ["# Worlds", "", "What models are trained on. `mmvae-bench data preview NAME --out FILE.png` draws such"]
    lines += ["a sheet. A stand-in never passes for the real thing: `source` is in every row of the results.", ""]
    sheets: dict[str, bytes] = {}
    for entry in describe_kind("datasets"):
        name = entry["name"]
        if name not in datasets.built_in():
            continue
        lines += [f"## {name}", "", *_head(entry)]
        sheet = preview(name) if name in SMALL else None
        if isinstance(sheet, bytes):
            sheets[f"previews/{name}.png"] = sheet
            lines += [f"![Images of {name} with their concepts](previews/{name}.png)", ""]
        elif name in SMALL:
            lines += [f"No preview was drawn where this page was built: {sheet}", ""]
        elif datasets.get(name).domain != "images":
            lines += ["[Graphs](graphs.md) says more.", ""]
        elif name in OF_FILES:
            lines += ["[Layered images](layers.md) says which files of yours it is made from.", ""]
        else:
            lines += ["[Your own data](own_data.md) says how.", ""]
        attributes = entry.get("attributes", {})
        if datasets.get(name).domain == "papers":
            lines.append("- **an attribute for each training paper**: whether there is a link to it, no or yes")
            attributes = {}
        for attribute, values in attributes.items():
            shown = ", ".join(values) if len(values) <= 12 else f"{values[0]} to {values[-1]}, {len(values)} values"
            lines.append(f"- **{_plain(attribute)}**: {_plain(shown)}")
        lines += ["", *_settings(entry), ""]
    return "\n".join(lines), sheets


def preview(name: str) -> bytes | str:
    """A preview sheet, or why there is none."""
    from mmvae_bench.data import commands

    if os.environ.get(NO_PREVIEWS):
        return f"{NO_PREVIEWS} is set"
    try:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "sheet.png"
            commands.preview(datasets.parse({"name": name, **SMALL[name]}), out=out, num_images=NUM_SHOWN, workers=0)
            return out.read_bytes()
    except (BenchmarkError, ImportError) as error:
        return str(error).splitlines()[0]


def protocols_page() -> str:
    """The protocols, and how each turns samples into scores."""
    lines = (ROOT / "docs" / "protocols.in.md").read_text(encoding="utf-8").splitlines()
    for entry in describe_kind("protocols"):
        lines += [f"## {entry['name']}", "", *_head(entry), *_settings(entry), ""]
    return "\n".join(lines)


def metrics_page() -> str:
    """Every metric: its unit, which way is better, what it needs, what it means."""
    lines = ["# Metrics", "", "What `metric` in `results.parquet` can be.", ""]
    for entry in describe_kind("metrics"):
        needs = ", ".join(f"`{each}`" for each in entry["needs"]) or "nothing of the model"
        about = f"**{_plain(entry['label'])}**, in {entry['unit']}; better: {entry['better']}. Needs {needs}."
        lines += [f"## {entry['name']}", "", about, "", _plain(entry["explanation"]), ""]
        lines += [f"*{_plain(entry['reference'])}*", ""] if entry["reference"] else []
    return "\n".join(lines)


def _head(entry: dict[str, Any]) -> list[str]:
    """What a part is, and where it comes from."""
    return [f"{entry['summary'][:1].upper()}{entry['summary'][1:]}.", "", f"*{entry['reference']}*", ""]


def _settings(entry: dict[str, Any]) -> Iterator[str]:
    if entry["parameters"]:
        yield "| setting | default | |"
        yield "|---|---|---|"
    for each in entry["parameters"]:
        default = "required" if each.get("required") else f"`{each['default']}`"
        yield f"| `{each['name']}` | {_cell(default)} | {_cell(each['meaning'])} |"


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|").replace("\n", " ")


def _plain(text: str) -> str:
    """Text whose stars and brackets are themselves."""
    return re.sub(r"([*\[\]<>])", r"\\\1", text)


def _shown(text: str) -> str:
    """A docstring as Markdown: roles become code."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)
