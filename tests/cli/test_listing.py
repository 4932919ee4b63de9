"""``list`` and ``schema``: what is registered, as JSON and for people."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmvae_bench.cli import main
from mmvae_bench.metrics.catalogue import METRICS
from mmvae_bench.metrics.protocols import PROTOCOLS
from mmvae_bench.specs.components import backbones, classifiers, datasets, objectives, questions

NAMES = {
    "objectives": objectives.names(),
    "datasets": datasets.names(),
    "backbones": backbones.names(),
    "classifiers": classifiers.names(),
    "protocols": list(PROTOCOLS),
    "metrics": METRICS.built_in(),
    "questions": sorted(questions.built_in()),
}


def listed(kind: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["list", kind, "--json"]) == 0
    printed = capsys.readouterr()
    assert not printed.err
    entries: list[dict[str, Any]] = json.loads(printed.out)
    return entries


@pytest.mark.parametrize("kind", NAMES)
def test_json_is_one_document_with_every_part(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    entries = listed(kind, capsys)
    assert [entry["name"] for entry in entries] == NAMES[kind]
    for entry in entries:
        assert entry["summary"]
        assert entry["reference"]
        for parameter in entry["parameters"]:
            assert {"name", "default", "meaning"} <= set(parameter)
            assert parameter["meaning"]


def test_an_objective_says_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    entries = {entry["name"]: entry for entry in listed("objectives", capsys)}
    assert entries["jvae"]["posteriors"] == ["joint"]
    assert entries["bivcca"]["posteriors"] == ["concept", "image"]
    assert entries["telbo"]["posteriors"] == ["concept", "image", "joint"]
    assert entries["telbo"]["stages"] == ["fit", "unimodal"]
    assert entries["telbo"]["can"] == ["imagine concepts", "describe images", "reconstruct images"]
    assert entries["jvae"]["can"] == ["reconstruct images with their concepts"]
    assert entries["vae"]["can"] == ["reconstruct images"]
    assert entries["vae"]["likelihoods"] == ["image"]
    assert entries["cvae"]["can"] == ["imagine concepts", "reconstruct images with their concepts"]
    for name in ("ssvae", "recursive_ssvae"):
        assert entries[name]["can"] == ["imagine concepts", "describe images", "reconstruct images"]
    assert entries["cvae"]["partial_concepts"] is True
    assert entries["cvae"]["views"] == ["attributes", "strengths"]
    assert entries["q_agg"]["views"] == ["attributes", "text"]
    assert entries["q_agg"]["stages"] == ["fit", "concept", "prior"]
    weights = {item["name"]: item for item in entries["telbo"]["parameters"]}
    assert weights["lambda"] == {
        "name": "lambda",
        "default": 50.0,
        "meaning": "Weight of log p(y|z) in the joint term.",
    }
    assert weights["image_weight"]["default"] == 1.0
    schedule = next(item for item in entries["telbo"]["parameters"] if item["name"] == "schedule")
    assert schedule["choices"] == ["joint", "two_stage"]


def test_a_dataset_says_what_its_concepts_are(capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = (entry for entry in listed("datasets", capsys) if entry["name"] == "mnist_a")
    assert list(entry["attributes"]) == ["digit", "scale", "orientation", "location"]
    assert entry["attributes"]["scale"] == ["big", "small"]


def test_a_metric_says_its_unit_which_way_is_better_and_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    entries = {entry["name"]: entry for entry in listed("metrics", capsys)}
    assert (entries["coverage"]["unit"], entries["coverage"]["better"]) == ("%", "higher")
    assert entries["joint_divergence"]["better"] == "lower"
    assert entries["elbo"]["better"] == "neither"
    assert entries["log_px_given_y"]["unit"] == "nats"
    assert entries["description_accuracy"]["needs"] == ["q(z|x)", "p(y|z)"]
    assert entries["correctness"]["explanation"].startswith("The share of specified attributes")
    assert main(["list", "metrics"]) == 0
    assert "    unit: nats\n    better: neither\n" in capsys.readouterr().out


def test_a_question_says_which_metrics_it_scores(capsys: pytest.CaptureFixture[str]) -> None:
    entries = {entry["name"]: entry for entry in listed("questions", capsys)}
    assert entries["three_cs"]["metrics"] == ["correctness", "coverage", "joint_divergence", "compositionality"]
    assert entries["texts"]["metrics"] == ["correctness", "correctness_words"]


@pytest.mark.parametrize("kind", NAMES)
def test_people_read_the_same(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    entries = listed(kind, capsys)
    assert main(["list", kind]) == 0
    text = capsys.readouterr().out
    for entry in entries:
        assert f"{entry['name']}\n    {entry['summary']}\n    {entry['reference']}\n" in text
        for parameter in entry["parameters"]:
            assert f"    {parameter['name']} = " in text
            assert f": {parameter['meaning']}\n" in f"{text}\n"
        for key in ("posteriors", "likelihoods", "stages", "can", "views", "metrics", "needs"):
            assert not entry.get(key) or f"    {key}: {', '.join(entry[key])}\n" in text
    assert not [line for line in text.splitlines() if line.rstrip().endswith(":")], "a key without a value"
    assert all(line.startswith("    ") or line in ("", *NAMES[kind]) for line in text.splitlines())


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_an_unknown_kind_is_answered_with_the_choices(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "objektives", *flags]) == 2
    printed = capsys.readouterr()
    assert printed.err == (
        "error: unknown kind of part 'objektives'\n"
        "  choices: objectives, datasets, backbones, classifiers, protocols, metrics, questions\n"
        "  nearest: objectives\n"
    )
    assert not printed.out


def test_schema_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr()
    schema = json.loads(printed.out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {f"objective.{name}" for name in NAMES["objectives"]} <= set(schema["$defs"])
    assert not printed.err


def test_many_attributes_with_the_same_values_take_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The papers' worlds have a link to each of 255 papers, faces eighteen attributes."""
    assert main(["list", "datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "    255 attributes, link 0 to link 254: no, yes" in lines
    assert not [line for line in lines if line.startswith("    attribute link ")]
    assert "    attribute Bald: no, yes" in lines
    assert "    attribute scale: big, small" in lines
