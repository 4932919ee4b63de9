"""The compose file and the images that it names."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from mmvae_bench.specs.grid import load_grid

from .dockerfile import ROOT, last_stage, named, read

FILE = ROOT / "docker" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())

every_service = pytest.mark.parametrize("service", COMPOSE["services"].values(), ids=COMPOSE["services"])


def test_one_service_an_image() -> None:
    assert {name: value["build"]["dockerfile"] for name, value in COMPOSE["services"].items()} == {
        "cpu": "docker/cpu.Dockerfile",
        "gpu": "docker/cuda.Dockerfile",
    }
    assert len({service["image"] for service in COMPOSE["services"].values()}) == 2


@every_service
def test_what_it_builds_is_there_and_knows_the_arguments(service: dict[str, Any]) -> None:
    context = (FILE.parent / service["build"]["context"]).resolve()
    assert context == ROOT
    stage = last_stage(read(context / service["build"]["dockerfile"]))
    declared = {instruction.text.partition("=")[0] for instruction in named(stage, "ARG")}
    assert set(service["build"]["args"]) == declared


@every_service
def test_every_volume_of_the_image_is_mounted(service: dict[str, Any]) -> None:
    stage = last_stage(read(ROOT / service["build"]["dockerfile"]))
    (volumes,) = named(stage, "VOLUME")
    sources, targets = zip(*(volume.rsplit(":", 1) for volume in service["volumes"]), strict=True)
    assert sorted(targets) == sorted(json.loads(volumes.text))
    by_name = {re.sub(r"\$\{\w+:-(\w+)\}", r"\1", source) for source in sources}
    assert {name for name in by_name if "/" not in name} == set(COMPOSE["volumes"])


@every_service
def test_its_command_runs_a_grid_that_is_in_the_image(service: dict[str, Any]) -> None:
    run, option, grid = service["command"]
    assert (run, option) == ("run", "--grid")
    assert load_grid(ROOT / grid).trials


@every_service
def test_it_runs_without_rights_and_has_time_to_save(service: dict[str, Any]) -> None:
    assert service["user"].endswith(":-1000:1000}")
    assert service["cap_drop"] == ["ALL"]
    assert service["init"] is True
    assert service["stop_grace_period"] == "2m"


def test_only_the_gpu_service_asks_for_a_gpu() -> None:
    asked = {name: service.get("deploy") for name, service in COMPOSE["services"].items()}
    assert asked["cpu"] is None
    (device,) = asked["gpu"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_its_variables_are_explained() -> None:
    explained = (ROOT / "docker" / "README.md").read_text()
    for name in set(re.findall(r"\$\{(\w+)", FILE.read_text())):
        assert f"`{name}`" in explained, name
