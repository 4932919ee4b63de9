"""Exports are uploaded where that is asked for: to a hub of this machine, which speaks as much of the protocol as that
takes."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import yaml

import mmvae_bench as mb
from mmvae_bench.cli import main
from mmvae_bench.specs.trial import TrialSpec

TOKEN = "hf_of_a_test"
SPRITES = ["sprites", "--set", "level=2", "--set", "canvas=16", "--set", "num_images=100"]


@dataclass
class Hub:
    """What it was sent, and what it has."""

    address: str = ""
    private: bool = True
    broken: bool = False
    made: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str | None] = field(default_factory=set)


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def answer(self, document: object, code: int = 200) -> None:
            content = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            repository = self.path.removeprefix("/api/models/").removeprefix("/api/datasets/")
            self.answer({"id": repository, "private": hub.private, "sha": "0" * 40, "siblings": []})

        def do_POST(self) -> None:
            body = self.chunks() if "chunked" in str(self.headers.get("Transfer-Encoding")) else self.whole()
            hub.tokens.add(self.headers.get("Authorization"))
            if hub.broken:
                self.answer({"error": "closed for repairs"}, 403)
            elif self.path == "/api/repos/create":
                hub.made.append(asked := json.loads(body))
                kind = "datasets/" if asked.get("type") == "dataset" else ""
                self.answer({"url": f"{hub.address}/{kind}{asked['organization']}/{asked['name']}"})
            elif "/preupload/" in self.path:
                files = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                         for each in json.loads(body)["files"]]  # fmt: skip
                self.answer({"files": files})
            elif "/commit/" in self.path:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.answer({"commitUrl": f"{hub.address}/me/mine/commit/{'1' * 40}", "commitOid": "1" * 40})
            else:
                self.answer({})  # The hub checks the head of a card, and finds nothing wrong.

        def whole(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def chunks(self) -> bytes:
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

    return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """One that runs, with somebody logged in."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a finished one."""
    spec = {
        "dataset": {"name": "sprites", "level": 2, "canvas": 16, "num_images": 200},
        "backbone": {"name": "patches", "width": 4, "hidden": 8, "latent_size": 2},
        "objective": "jmvae",
        "training": {"steps": 3, "batch_size": 16, "validations": 1},
        "evaluation": {"num_samples": 10, "query_repeats": 1, "levels": [2], "classifier": {"name": "conv_rgb",
                       "steps": 2}},
    }  # fmt: skip
    return str(mb.run_trial(TrialSpec.parse(spec), out=tmp_path_factory.mktemp("run")).directory)


def test_a_model_is_sent_whole_and_stays_private(
    hub: Hub, trial: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    assert main(["export", trial, "--out", str(out), "--upload", "me/mine", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["address"] == f"{hub.address}/me/mine"
    (asked,) = hub.made
    assert (asked["organization"], asked["name"], asked.get("type", "model")) == ("me", "mine", "model")
    assert asked.get("private") is True or asked.get("visibility") == "private"
    assert hub.files == {path.name: path.read_bytes() for path in out.iterdir()}
    assert {"model.safetensors", "spec.json", "README.md"} <= hub.files.keys()
    assert hub.tokens == {f"Bearer {TOKEN}"}
    for name, content in hub.files.items():
        (tmp_path / name).write_bytes(content)
    assert mb.load(tmp_path).imagine("size=big", num_samples=2).shape == (2, 3, 16, 16)


def test_a_dataset_is_sent_with_its_card(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sprites"
    assert main(["data", "export", *SPRITES, "--out", str(out), "--upload", "me/sprites", "--public"]) == 0
    assert f"{hub.address}/datasets/me/sprites" in capsys.readouterr().out
    (asked,) = hub.made
    assert asked["type"] == "dataset"
    assert not asked.get("private")
    assert asked.get("visibility", "public") == "public"
    assert hub.files == {
        path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }
    assert "data/train-00000-of-00001.parquet" in hub.files
    _, head, card = hub.files["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(head) == {"tags": ["multimodal-vae", "sprites"], "license": "mit"}
    passport = json.loads(hub.files["mmvae_bench.json"])
    facts = (
        passport["fingerprint"],
        passport["pixel_hash"],
        "100 of 3 x 16 x 16 bytes",
        "- attribute shape: ",
        f"train {passport['sizes']['train']}, val ",
        "- images: drawn by mmvae-bench (MIT licence)",
    )
    for said in facts:
        assert said in card


def test_nothing_is_added_to_what_everybody_sees_unasked(
    hub: Hub, trial: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.private = False
    assert main(["export", trial, "--out", str(tmp_path / "one"), "--upload", "me/mine"]) == 2
    assert "--upload: is public: add --public" in capsys.readouterr().err
    assert not hub.files
    assert main(["export", trial, "--out", str(tmp_path / "two"), "--upload", "me/mine", "--public"]) == 0
    assert hub.files


def test_what_fails_at_the_hub_leaves_a_whole_export(
    hub: Hub, trial: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.broken, out = True, tmp_path / "model"
    assert main(["export", trial, "--out", str(out), "--upload", "me/mine"]) != 0
    said = capsys.readouterr().err
    assert "me/mine: not uploaded: " in said
    assert f"is whole. To try again: hf upload me/mine {out} . --repo-type model --private\n" in said
    assert mb.load(out).schema.names


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--upload", "mine"], "--upload: no name of a repository of the hub: expected OWNER/NAME"),
        (["--upload", "me/a/b"], "--upload: no name of a repository of the hub: "),
        (["--upload", "me/a b"], "--upload: no name of a repository of the hub: "),
        (["--upload", "me/mine"], "--upload: nobody is logged in to the hub: set HF_TOKEN"),
        (["--public"], "--public: is about what is uploaded"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_made(
    options: list[str],
    said: str,
    trial: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in os.environ if name.startswith(("HF_TOKEN", "HUGGING_FACE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    for words in (["export", trial], ["data", "export", *SPRITES]):
        assert main([*words, "--out", str(tmp_path / "out"), *options]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
