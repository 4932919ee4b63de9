"""Finding a variant that works, with libraries that are missing, broken or fatal."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.worlds.clevr import variant
from mmvae_bench.worlds.clevr.variant import LLVM_VARIABLE, Variant, llvm_candidates, newest_first, probe, resolve

ABORTING = "import os; os.abort()"


@pytest.fixture(autouse=True)
def _nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(variant, "has_cuda", lambda: False)
    variant._resolve.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Lets another program answer for every probe."""
    monkeypatch.setattr(variant, "PROBE", (sys.executable, "-c", program))


def test_without_mitsuba_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(variant, "version", missing)
    for wanted in ("auto", "scalar"):
        with pytest.raises(BenchmarkError, match=r"pip install 'mmvae-bench\[clevr\]'"):
            resolve(wanted)


def test_a_mitsuba_that_does_not_import_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variant, "version", lambda name: "3.9.1")
    monkeypatch.setitem(sys.modules, "drjit", None)  # Python's way to say that a module cannot be imported.
    with pytest.raises(BenchmarkError, match=r"Mitsuba 3\.9\.1 is .*drjit.* install --force-reinstall 'mmvae"):
        Variant("scalar").activate()


def test_a_library_that_is_none_is_named_and_auto_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    library = tmp_path / "libLLVM.so"
    library.write_text("no library")
    monkeypatch.setenv(LLVM_VARIABLE, str(library))
    with pytest.raises(BenchmarkError) as caught:
        resolve("llvm")
    assert str(library) in str(caught.value)
    assert LLVM_VARIABLE in str(caught.value)
    assert "variant=auto" in str(caught.value)
    with caplog.at_level(logging.WARNING):
        assert resolve("auto") == Variant("scalar")
    assert str(library) in caplog.text


def test_an_abort_ends_the_probe_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, ABORTING)
    monkeypatch.setenv(LLVM_VARIABLE, "/nowhere/libLLVM.so")
    with pytest.raises(BenchmarkError, match="killed by signal 6"):
        resolve("llvm")
    assert resolve("auto") == Variant("scalar")


def test_a_long_reason_ends_with_a_whole_word_and_the_advice_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    words = " ".join(f"word{number}" for number in range(200))
    pretend(monkeypatch, f"raise SystemExit('{words}')")
    monkeypatch.setenv(LLVM_VARIABLE, "/nowhere/libLLVM.so")
    with pytest.raises(BenchmarkError, match="libllvm19") as caught:
        resolve("llvm")
    said = str(caught.value).split("(", 1)[1].split(")", 1)[0].split()
    assert said[-1] == "..."
    assert set(said[:-1]) <= set(words.split())
    assert Variant("llvm", "/l/2").llvm == "/l/2"


@pytest.mark.parametrize("library", sorted(Path("/").glob("usr/lib/*-linux-gnu/libLLVM-1[456].so.1")))
def test_old_libraries_of_this_machine_are_survived(library: Path) -> None:
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    # Some processors can run them. None may end this process, and what fails says why.
    failure = probe(Variant("llvm", str(library)))
    assert failure is None or failure.startswith(("killed by signal", "exit code"))


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("import time; time.sleep(60)", "no answer"),
        ("raise SystemExit('broken')", r"exit code 1 \(broken\)"),
        ("print('something')", "exit code 0"),
    ],
)
def test_whatever_is_no_clear_answer_is_a_failure(program: str, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, program)
    monkeypatch.setattr(variant, "PROBE_SECONDS", 1)
    monkeypatch.setenv(LLVM_VARIABLE, "/nowhere/libLLVM.so")
    with pytest.raises(BenchmarkError, match=failure):
        resolve("llvm")


def test_the_first_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"import os, sys; sys.stdout.write('ok') if os.environ['{LLVM_VARIABLE}'] == '/l/2' else os.abort()"
    pretend(monkeypatch, program)
    monkeypatch.setattr(variant, "llvm_candidates", lambda given: ["/l/1", "/l/2", "/l/3"])
    monkeypatch.delenv(LLVM_VARIABLE, raising=False)
    assert resolve("auto") == Variant("llvm", "/l/2")
    # Remembered for the process, and over processes.
    pretend(monkeypatch, ABORTING)
    assert resolve("auto") == Variant("llvm", "/l/2")
    variant._resolve.cache_clear()
    monkeypatch.setattr(variant, "llvm_candidates", lambda given: ["/l/2"])
    assert resolve("llvm") == Variant("llvm", "/l/2")


def test_cuda_comes_first_where_there_is_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "print('ok')")
    monkeypatch.setattr(variant, "has_cuda", lambda: True)
    assert resolve("auto") == Variant("cuda")
    assert Variant("cuda").name == "cuda_ad_rgb"


def test_a_success_is_forgotten_with_its_library_or_a_damaged_record(tmp_path: Path) -> None:
    library = tmp_path / "libLLVM.so"
    library.write_text("one")
    variant.remember("llvm_ad_rgb", str(library), "3")
    assert variant.worked_here("llvm_ad_rgb", str(library), "3")
    assert not variant.worked_here("llvm_ad_rgb", str(library), "4")
    assert not variant.worked_here("llvm_ad_rgb", None, "3")
    for record in (tmp_path / "cache").rglob("*.json"):
        record.write_text("{")
    assert not variant.worked_here("llvm_ad_rgb", str(library), "3")
    variant.remember("llvm_ad_rgb", str(library), "3")
    library.write_text("another")
    assert not variant.worked_here("llvm_ad_rgb", str(library), "3")


def test_libraries_are_ordered_by_version_once_each(tmp_path: Path) -> None:
    for name in ("libLLVM-9.so.1", "libLLVM.so.19.1", "libLLVM-14.0.6.so", "libLLVM.so.20.1", "libLLVMSupport.so.99"):
        (tmp_path / name).touch()
    (tmp_path / "libLLVM-19.so").symlink_to(tmp_path / "libLLVM.so.19.1")
    found = newest_first(tmp_path.iterdir())
    names = ["libLLVM.so.20.1", "libLLVM.so.19.1", "libLLVM-14.0.6.so", "libLLVM-9.so.1"]
    assert found == [str(tmp_path / name) for name in names]
    assert llvm_candidates("/given") == ["/given"]


def test_the_real_probe_finds_scalar_working() -> None:
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    assert probe(Variant("scalar")) is None
