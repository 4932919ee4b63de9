"""The shell around the commands: exit codes, where words go, and no traceback for what a user can mend."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmvae_bench
from mmvae_bench import cli
from mmvae_bench.base.errors import BenchmarkError, ConfigError, Problem

CONTRACT = [
    "run", "train", "evaluate", "imagine", "reconstruct", "complete", "describe", "interpolate", "traverse",
    "analogies", "layers", "neighbours", "confusion", "status", "verify", "report", "compare", "sweep", "list", "data",
    "schema", "leaderboard", "export", "configs",
]  # fmt: skip


def test_every_command_of_the_contract_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    listed = re.findall(r"^  (\w+) ", capsys.readouterr().out.partition("Commands:")[2], flags=re.MULTILINE)
    assert listed == [
        "run", "train", "evaluate", "imagine", "reconstruct", "complete", "describe", "interpolate", "traverse",
        "analogies", "layers", "neighbours", "confusion", "status", "verify", "report", "compare", "leaderboard",
        "export", "sweep", "list", "configs", "schema", "data",
    ]  # fmt: skip
    assert sorted(listed) == sorted(CONTRACT)


@pytest.mark.parametrize("command", [*CONTRACT, "data prepare", "data describe", "data preview", "data verify"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command.split(), "--help"]) == 0
    printed = capsys.readouterr()
    assert f"Usage: mmvae-bench {command}" in printed.out
    assert not printed.err


OPTIONS = {
    "run": ["--grid", "--out", "--where", "--dry-run", "--json", "--executor", "--workers", "--retry"],
    "train": ["--spec", "--set", "--set-json", "--wandb", "--out"],
    "sweep": ["--local", "--count", "--out", "--dry-run", "--json", "--workers", "--retry"],
    "evaluate": ["--protocol", "--json"],
    "imagine": ["-n", "--out"],
    "reconstruct": ["--index", "-n", "--out", "--json"],
    "complete": ["--region", "--told", "--index", "-n", "--out", "--json"],
    "describe": ["--index", "--out", "--json"],
    "interpolate": ["--steps", "--out", "--json"],
    "traverse": ["--attribute", "--latent", "--steps", "--out", "--json"],
    "analogies": ["--attribute", "--index", "-n", "--image", "--out", "--json"],
    "layers": ["--index", "-n", "--out", "--seed", "--json"],
    "neighbours": ["-n", "--index", "--mean", "--seed", "--out", "--json"],
    "confusion": ["--attribute", "--level", "--partition", "--json"],
    "status": ["--json"],
    "report": ["--out"],
    "compare": ["--metric", "--where", "--json"],
    "list": ["--json"],
    "data describe": ["--set", "--json"],
}


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_of_the_contract_is_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command.split(), "--help"]) == 0
    options = re.findall(r"(?<![\w-])--?[a-z][\w-]*", capsys.readouterr().out)
    assert set(OPTIONS[command]) <= set(options)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mmvae-bench {mmvae_bench.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run"], "Missing option '--grid'"),
        (["run", "--gird", "x"], "No such option"),
        (["list"], "Missing argument"),
        (["schema", "extra"], "unexpected extra argument"),
        (["run", "--grid", "x", "--workers", "two"], "Invalid value for '--workers'"),
        (["data", "prepair", "mnist_a"], "No such command 'prepair'"),
    ],
)
def test_usage_errors_exit_with_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert not printed.out


@pytest.mark.parametrize(
    ("arguments", "bound"),
    [
        (["imagine", "nowhere", "digit=6", "--out", "x.png", "--seed", str(2**64)], str(2**64 - 1)),
        (["imagine", "nowhere", "digit=6", "--out", "x.png", "--seed", "-1"], "0"),
        (["imagine", "nowhere", "digit=6", "--out", "x.png", "-n", str(10**20)], "10000"),
        (["data", "preview", "mnist_a", "--out", "x.png", "-n", str(10**20)], "1000"),
        (["data", "prepare", "mnist_a", "--workers", "-1"], "0"),
        (["data", "prepare", "mnist_a", "--workers", str(10**20)], "100000"),
        (["run", "--grid", "x.yaml", "--workers", str(10**20)], "at least 1 and at most 100,000"),
        (["run", "--grid", "x.yaml", "--per-device", str(10**20)], "at least 1 and at most 1,000"),
        (["run", "--grid", "x.yaml", "--hang-seconds", "nan"], "at least 0"),
        (["run", "--grid", "x.yaml", "--grace", "-1"], "at least 0"),
        (["sweep", "--local", "x.yaml", "--grace", "nan"], "at least 0"),
        (["sweep", "--local", "x.yaml", "--count", str(10**20)], "at least 1 and at most 100,000"),
        (["run", "--grid", "x.yaml", "--workers", "9" * 5000], "--workers"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(word[:25] for word in value),
)
def test_numbers_out_of_range_are_refused_with_the_range(
    arguments: list[str], bound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert bound in said
    assert arguments[-2] in said


def refuse(*_: object, **__: object) -> None:
    raise OSError(30, "Read-only file system", "/run/lock")


def test_a_folder_that_cannot_be_written_is_one_error_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trials").mkdir()
    monkeypatch.setattr("mmvae_bench.report.trials.open_run", lambda folder: None)
    monkeypatch.setattr("mmvae_bench.report.write.write_report", refuse)
    assert cli.main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: cannot be written: Read-only file system (/run/lock)\n"
        "  Give another folder with --out FOLDER: then the runs are only read.\n"
    )
    monkeypatch.setattr("mmvae_bench.cli.evaluate.read_trial", lambda folder: None)
    monkeypatch.setattr("mmvae_bench.trial.evaluate_trial", refuse)
    assert cli.main(["evaluate", str(tmp_path)]) == 2
    assert "Copy the folder, or give --protocol NAME: then it is only read." in capsys.readouterr().err


def fails(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def stand_in(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", stand_in)
    return cli.main([])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BenchmarkError("the file [bold] is not\nright"), 2, "error: the file [bold] is not\nright\n"),
        (ConfigError([Problem("wrong", ("a", 1), "3", line=7)], "x"), 2, "error: x:7: a[1]: wrong\n  given: 3\n"),
        (PermissionError(13, "Permission denied", "/root/x"), 2, "error: /root/x: Permission denied\n"),
        (NotADirectoryError(20, "Not a directory", "file/x"), 2, "error: file/x: Not a directory\n"),
        (OSError(28, "No space left on device", "/runs/x"), 1, "error: /runs/x: No space left on device\n"),
        (OSError(30, "Read-only file system", "/runs/x"), 2, "error: /runs/x: Read-only file system\n"),
        (OSError("words"), 1, "error: words\n"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("words"), 1, ""),
    ],
)
def test_how_errors_end(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fails(monkeypatch, error) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", message)


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        fails(monkeypatch, ZeroDivisionError())


def test_errors_show_a_traceback_to_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cli.TRACEBACK_VARIABLE, "1")
    with pytest.raises(ConfigError):
        fails(monkeypatch, ConfigError("wrong"))


def test_an_interrupt_in_a_command_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmvae_bench.specs.grid.grid_schema", interrupted)
    assert cli.main(["schema"]) == 130


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m mmvae_bench schema"
    done = subprocess.run(["bash", "-c", f"{command} | head -n 1"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "nowhere"],
        ["imagine", "nowhere", "digit=6", "--out", "x.png"],
        ["reconstruct", "nowhere", "--out", "x.png"],
        ["complete", "nowhere", "--region", "left", "--out", "x.png"],
        ["describe", "nowhere"],
        ["interpolate", "nowhere", "digit=6", "digit=7", "--out", "x.png"],
        ["traverse", "nowhere", "digit=6", "--out", "x.png"],
        ["analogies", "nowhere", "--attribute", "digit", "--out", "x.png"],
        ["neighbours", "nowhere", "--out", "x.png"],
        ["confusion", "nowhere"],
        ["status", "nowhere"],
        ["report", "nowhere"],
    ],
    ids=" ".join,
)
def test_a_folder_that_is_not_there(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: nowhere")
    assert not printed.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("start", ["module", "script"])
def test_both_ways_to_start_it(start: str) -> None:
    script = Path(sys.executable).with_name("mmvae-bench")
    command = [sys.executable, "-m", "mmvae_bench"] if start == "module" else [str(script)]
    done = subprocess.run([*command, "list", "nothing"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown kind of part 'nothing'")
    assert not done.stdout


def test_python_gives_the_same_names_without_torch() -> None:
    code = (
        "import sys, mmvae_bench as mb\n"
        "trials = mb.expand(mb.load_grid(sys.argv[1]))\n"
        "assert trials and mb.__version__\n"
        "assert {'expand', 'load_grid', 'run_trial', 'load', '__version__'} <= set(dir(mb))\n"
        "assert 'torch' not in sys.modules and 'pytorch_lightning' not in sys.modules\n"
    )
    config = Path(__file__).parents[2] / "configs" / "quick.yaml"
    subprocess.run([sys.executable, "-c", code, str(config)], check=True, timeout=120)
    assert callable(mmvae_bench.run_trial)
    assert callable(mmvae_bench.load)


def test_there_is_nothing_else_in_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        mmvae_bench.__getattr__("no_such_name")


@pytest.mark.parametrize("group", ["", "data"])
def test_what_a_command_does_is_said_in_full_at_eighty_columns(
    group: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([*group.split(), "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2].strip().splitlines()
    assert len(listed) > 5
    assert [line for line in listed if line.endswith("...") or not re.match(r"\s*\w+ +\S.*\.$", line)] == []
