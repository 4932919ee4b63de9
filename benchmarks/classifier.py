"""Training steps and classified images per second of the observation classifiers, on one CPU thread.

    python benchmarks/classifier.py [--canvas 32 40 64] [--seconds 5]
    python benchmarks/classifier.py --train '{"canvas": 40, "replicas": 20}' [--classifier '{"name": "conv_thin"}']

Measured in processor time, so that other processes on the machine matter little. ``--train`` fits a classifier to
MNIST-A and reports its accuracy on held-out images of ``iid``, the split on which it is always evaluated, and of
``iid_disjoint``, in which no source digit occurs in both training and held-out images.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation import classifier_training
from mmvae_bench.evaluation.classifier import IMAGES_AT_ONCE
from mmvae_bench.specs.built_in.classifiers import TrainedClassifierSpec
from mmvae_bench.specs.built_in.datasets import MNIST_A_SCHEMA
from mmvae_bench.specs.components import classifiers, datasets


def classifier_spec(value: object) -> TrainedClassifierSpec:
    """Parses the spec of a classifier that is trained."""
    spec = classifiers.parse(value)
    assert isinstance(spec, TrainedClassifierSpec)
    return spec


def seconds_each(work: Callable[[], object], seconds: float) -> float:
    """The median processor time of a call, over at least three calls after a warm-up call."""
    work()
    times: list[float] = []
    ends = time.process_time() + seconds
    while len(times) < 3 or time.process_time() < ends:
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def speed(name: str, canvas: int, seconds: float) -> dict[str, Any]:
    """Rates of training steps and of classification, on sparse random images."""
    spec = classifier_spec(name)
    network = spec.build(schema=MNIST_A_SCHEMA, image_shape=(1, canvas, canvas)).to(memory_format=torch.channels_last)
    images = (torch.rand(spec.batch_size, 1, canvas, canvas) > 0.95).float()
    concepts = torch.stack([torch.randint(size, (spec.batch_size,)) for size in MNIST_A_SCHEMA.sizes], 1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        loss = classifier_training.cross_entropy(network(images), concepts)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def classify() -> None:
        with torch.no_grad():
            network(more)

    more = (torch.rand(IMAGES_AT_ONCE, 1, canvas, canvas) > 0.95).float()
    a_step = seconds_each(step, seconds)
    network.eval()
    return {
        "classifier": name,
        "canvas": canvas,
        "batch_size": spec.batch_size,
        "steps_per_second": round(1 / a_step, 1),
        "images_per_second": round(IMAGES_AT_ONCE / seconds_each(classify, seconds)),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def accuracy(dataset: dict[str, Any], classifier: dict[str, Any]) -> list[dict[str, Any]]:
    """Accuracy per attribute on held-out images, with and without images of the same source digits in training."""
    data: ConceptDataModule = datasets.parse({"name": "mnist_a"} | dataset).build()
    data.prepare_data()
    data.setup()
    spec, rows = classifier_spec(classifier), []
    for split in ("iid", "iid_disjoint"):
        begun = time.process_time()
        with mock.patch.object(classifier_training, "SPLIT", split):
            trained = classifier_training.train(spec, data)
        found = {name: round(value, 4) for name, value in trained.accuracy.items()}
        rows.append(
            {
                "dataset": data.spec.parameters(),
                "split": split,
                "classifier": spec.canonical(),
                "training_images": len(data.rows("train", split=split)),
                "held_out_images": len(trained.held_out.concepts),
                "seconds": round(time.process_time() - begun, 1),
                "accuracy": found,
                "mean_accuracy": round(trained.mean_accuracy, 4),
            }
        )
    return rows


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--canvas", type=int, nargs="+", default=[32, 40, 64])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--train", type=json.loads, metavar="JSON", help="settings of MNIST-A to train on")
    parser.add_argument("--classifier", type=json.loads, metavar="JSON", default={"name": "conv_thin"})
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.train is not None:
        results = accuracy(arguments.train, arguments.classifier)
    else:
        names = ("conv_published", "conv_thin")
        results = [speed(name, canvas, arguments.seconds) for name in names for canvas in arguments.canvas]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, 1 thread"
    sys.stdout.write(json.dumps({"torch": torch.__version__, "machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
