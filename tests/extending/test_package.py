"""The examples of docs/extending.md, installed by pip from the page itself, and packages that are broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
SMALL = {
    "datasets": [{"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3}],
    "backbones": [{"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3}],
    "training": {"steps": 5, "batch_size": 16, "validations": 1},
    "evaluation": {
        "num_samples": 10,
        "query_repeats": 1,
        "num_resamples": 50,
        "protocols": ["paper"],
        "levels": [4],
        "classifier": {"name": "conv_thin", "steps": 5},
    },
}
"""What makes the page's grids small."""
METRIC = "A metric and a protocol"
CATALOGUES = ("metrics", "protocols", "questions")


def page_files(section: str = "An objective") -> dict[str, str]:
    """The files of a section of the page: each is a block of code after a line that ends with its name."""
    (text,) = (part for part in PAGE.split("\n## ") if part.startswith(f"{section}\n"))
    blocks = re.findall(r"`([\w./-]+)`:\n\n```\w+\n(.*?)```", text, flags=re.DOTALL)
    return dict(blocks)


def command(*arguments: str, site: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """mmvae-bench in a process that finds the packages of ``site`` as installed ones."""
    path = os.pathsep.join([str(site), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "MMVAE_BENCH_CACHE": str(cwd / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "mmvae_bench", *arguments],
        cwd=cwd,
        env=environment,
        text=True,
        capture_output=True,
        timeout=500,
    )


def installed(files: dict[str, str], folder: Path) -> Path:
    """A folder into which pip has installed a package of the page, without a network."""
    source, target = folder / "source", folder / "site"
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        if path.suffix == ".py":
            (path.parent / "__init__.py").touch()
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    arguments = ["install", *options, "--target", str(target), str(source)]
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], text=True, capture_output=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The objective of the page, installed."""
    return installed(page_files(), tmp_path_factory.mktemp("reverse-jmvae"))


@pytest.fixture(scope="module")
def metric_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The metric and the protocol of the page, installed."""
    return installed(page_files(METRIC), tmp_path_factory.mktemp("exact-match"))


@pytest.fixture
def broken_site(tmp_path: Path) -> Path:
    """A folder with an installed package whose spec imports what is not there."""
    folder = tmp_path / "broken"
    information = folder / "half_done-0.3.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: half-done\nVersion: 0.3\n")
    groups = [f"[mmvae_bench.{kind}]\nhalf = half_done:HalfSpec\n" for kind in ("objectives", *CATALOGUES)]
    (information / "entry_points.txt").write_text("".join(groups))
    (folder / "half_done.py").write_text("import a_library_that_is_missing\n")
    return folder


def test_the_page_has_whole_packages() -> None:
    files = page_files()
    assert set(files) == {"pyproject.toml", "reverse_jmvae/spec.py", "reverse_jmvae/objective.py", "reverse.yaml"}
    assert "torch" not in files["reverse_jmvae/spec.py"]
    files = page_files(METRIC)
    assert set(files) == {"pyproject.toml", "exact_match/spec.py", "exact_match/question.py", "exact.yaml"}
    assert "torch" not in files["exact_match/spec.py"].replace("without torch", "")


def test_an_installed_objective_is_listed_trained_and_reported(site: Path, tmp_path: Path) -> None:
    listed = command("list", "objectives", "--json", site=site, cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    (entry,) = (entry for entry in json.loads(listed.stdout) if entry["name"] == "reverse_jmvae")
    assert entry["reference"] == "your paper, Eq. 3"
    assert entry["can"] == ["imagine concepts", "describe images", "reconstruct images"]
    assert [parameter["name"] for parameter in entry["parameters"]] == ["lambda", "alpha"]

    asked = yaml.safe_load(page_files()["reverse.yaml"])
    assert [item["name"] if isinstance(item, dict) else item for item in asked["objectives"]] == [
        "reverse_jmvae",
        "jmvae",
    ]
    (tmp_path / "reverse.yaml").write_text(yaml.safe_dump(asked | SMALL))
    run = command("run", "--grid", "reverse.yaml", "--where", "objective=reverse_jmvae", site=site, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    (trial,) = (tmp_path / "runs" / "reverse" / "trials").iterdir()
    result = json.loads((trial / "result.json").read_text())
    assert result["spec"]["objective"] == {"name": "reverse_jmvae", "lambda": 50.0, "alpha": 0.5}
    log = (trial / "log.jsonl").read_text()
    assert "image/kl_to_joint" in log
    assert "concept/kl_to_joint" in log
    report = command("report", "runs/reverse", site=site, cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    table = (tmp_path / "runs" / "reverse" / "report" / "table.md").read_text()
    assert re.search(r"^\|.*reverse_jmvae", table, flags=re.MULTILINE)
    assert "reverse_jmvae: alpha 0.5, lambda 50" in table


def test_an_installed_objective_is_tested_from_its_own_folder(site: Path, tmp_path: Path) -> None:
    """Without a name, the parts of other packages are."""
    words = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--pyargs",
        "mmvae_bench.conformance",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=500)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^1[0-9] passed", done.stdout, flags=re.MULTILINE)


def test_a_run_is_still_readable_without_the_package(site: Path, tmp_path: Path) -> None:
    """What the grid then lacks is an error that names it and what there is."""
    (tmp_path / "reverse.yaml").write_text(page_files()["reverse.yaml"])
    with_it = command("run", "--grid", "reverse.yaml", "--dry-run", site=site, cwd=tmp_path)
    assert with_it.returncode == 0, with_it.stderr
    without = command("run", "--grid", "reverse.yaml", "--dry-run", site=tmp_path, cwd=tmp_path)
    assert without.returncode == 2
    assert "unknown objective 'reverse_jmvae'" in without.stderr
    assert "jmvae" in without.stderr.split("choices:")[1]


def test_a_broken_package_is_named_and_the_built_in_parts_work(broken_site: Path, tmp_path: Path) -> None:
    listed = command("list", "objectives", "--json", site=broken_site, cwd=tmp_path)
    assert listed.returncode == 0
    names = [entry["name"] for entry in json.loads(listed.stdout)]
    assert "telbo" in names
    assert "half" not in names
    complaint = (
        "objective 'half' from package half-done 0.3 cannot be used: importing half_done:HalfSpec, which it registers "
        "in mmvae_bench.objectives, raised ModuleNotFoundError: No module named 'a_library_that_is_missing'"
    )
    assert listed.stderr.startswith(f"warning: {complaint}")
    assert listed.stderr.count("\n") == 1

    grid = yaml.safe_load(page_files()["reverse.yaml"])
    for objective, code in (("jmvae", 0), ("half", 2)):
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid | {"objectives": [objective]}))
        done = command("run", "--grid", "grid.yaml", "--dry-run", site=broken_site, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert (complaint in done.stderr) == (code == 2)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", CATALOGUES)
def test_a_broken_entry_costs_a_catalogue_nothing_else(kind: str, broken_site: Path, tmp_path: Path) -> None:
    broken, whole = (command("list", kind, "--json", site=site, cwd=tmp_path) for site in (broken_site, tmp_path))
    assert (broken.returncode, broken.stdout) == (0, whole.stdout)
    assert broken.stderr.startswith(f"warning: {kind[:-1]} 'half' from package half-done 0.3 cannot be used: importing")
    assert "No module named 'a_library_that_is_missing'" in broken.stderr
    assert (whole.stderr, broken.stderr.count("\n")) == ("", 1)


def test_a_grid_that_names_a_broken_protocol_or_question_says_why(broken_site: Path, tmp_path: Path) -> None:
    grid = yaml.safe_load(page_files(METRIC)["exact.yaml"])
    for evaluation in ({"protocols": ["half"]}, {"questions": {"half": None}}):
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid | {"evaluation": evaluation}))
        done = command("run", "--grid", "grid.yaml", "--dry-run", site=broken_site, cwd=tmp_path)
        assert done.returncode == 2
        assert "'half' from package half-done 0.3 cannot be used" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_installed_metric_and_protocol_are_listed_measured_and_reported(metric_site: Path, tmp_path: Path) -> None:
    entries = {}
    for kind in ("metrics", "protocols", "questions"):
        listed = command("list", kind, "--json", site=metric_site, cwd=tmp_path)
        assert (listed.returncode, listed.stderr) == (0, "")
        entries |= {(kind, entry["name"]): entry for entry in json.loads(listed.stdout)}
    assert entries["metrics", "exact_match"]["needs"] == ["q(z|y)", "p(x|z)"]
    assert entries["protocols", "five"]["reference"] == "your paper, section 4"
    assert entries["questions", "exact_match"]["metrics"] == ["exact_match"]
    assert [each["name"] for each in entries["questions", "exact_match"]["parameters"]] == ["num_images"]

    asked = yaml.safe_load(page_files(METRIC)["exact.yaml"])
    evaluation = asked["evaluation"]
    assert evaluation == {"protocols": ["paper", "five"], "questions": {"exact_match": {"num_images": 5}}}
    (tmp_path / "exact.yaml").write_text(
        yaml.safe_dump(asked | SMALL | {"evaluation": SMALL["evaluation"] | evaluation})
    )
    run = command("run", "--grid", "exact.yaml", site=metric_site, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    folder = tmp_path / "runs" / "exact"
    results = {
        result["spec"]["objective"]["name"]: result
        for result in (json.loads(path.read_text()) for path in folder.glob("trials/*/result.json"))
    }
    scores = results["jmvae"]["scores"]
    (exact,) = (score for score in scores if score["metric"] == "exact_match")
    (right,) = (
        score
        for score in scores
        if (score["metric"], score["protocol"], score["attribute"]) == ("correctness", "five", None)
    )
    assert (exact["level"], exact["num_samples"], exact["num_queries"]) == (4, 5, 240)
    assert right["num_samples"] == 5
    # Of the same five images: all of a concept is right at most as often as its attributes are.
    assert all(both <= one for both, one in zip(exact["per_query"], right["per_query"], strict=True))
    assert exact["ci_low"] <= exact["value"] <= exact["ci_high"]
    assert results["jmvae"]["evaluation"]["questions"] == {"exact_match": {"num_images": 5}}
    assert results["jvae"]["left_out"] == {"exact_match": "jvae has no q(z|y) to imagine concepts with"}

    report = command("report", "runs/exact", site=metric_site, cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    rows = pd.read_parquet(folder / "results.parquet").query("metric == 'exact_match'")
    assert rows["value"].tolist() == [exact["value"]]
    assert "five" in set(pd.read_parquet(folder / "results.parquet")["protocol"])
    table = (folder / "report" / "table.md").read_text()
    assert re.search(r"^\|.*exact match", table, flags=re.MULTILINE)
    assert "five" in table


def test_what_a_grid_names_of_a_missing_package_is_an_error_with_the_choices(tmp_path: Path) -> None:
    (tmp_path / "exact.yaml").write_text(page_files(METRIC)["exact.yaml"])
    without = command("run", "--grid", "exact.yaml", "--dry-run", site=tmp_path, cwd=tmp_path)
    assert without.returncode == 2
    assert (
        "evaluation.protocols[1]: not one of the choices\n  given: 'five'\n  choices: official, paper" in without.stderr
    )
    assert "evaluation.questions.exact_match: unknown question 'exact_match'" in without.stderr
