"""Fits the stored model of CelebA's attribute rows and prints how far it is from the data.

    python benchmarks/fit_attribute_model.py FOLDER [--out mmvae_bench/worlds/attribute_model.json]

FOLDER holds list_attr_celeba.txt and list_eval_partition.txt, plain or with .gz. The negative log-likelihood of a
pairwise model is convex; it is minimised with L-BFGS over the 2^18 states, which takes about half a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from mmvae_bench.base.files import write_text
from mmvae_bench.data.sources.celeba_rows import ATTRIBUTES, read_rows
from mmvae_bench.specs.built_in.datasets import CELEBA18_SCHEMA
from mmvae_bench.worlds.attribute_model import PairwiseModel, above_diagonal

DECIMALS = 5


def fit(frequencies: np.ndarray) -> PairwiseModel:
    """The pairwise model with the given frequencies, Double[A, A]: of pairs, and on the diagonal of each attribute."""
    num = len(frequencies)
    pairs = np.triu_indices(num, 1)

    def unpack(parameters: np.ndarray) -> PairwiseModel:
        return PairwiseModel(parameters[:num], above_diagonal(parameters[num:].tolist(), num))

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        model = unpack(parameters)
        # The probability of the state without any attribute is 1 / Z.
        log_normaliser = -np.log(model.probabilities()[0])
        found = model.pair_frequencies()
        value = log_normaliser - parameters[:num] @ frequencies.diagonal() - parameters[num:] @ frequencies[pairs]
        return value, np.concatenate([(found - frequencies).diagonal(), (found - frequencies)[pairs]])

    odds = frequencies.diagonal() / (1 - frequencies.diagonal())
    start = np.concatenate([np.log(odds), np.zeros(len(pairs[0]))])
    options = {"maxiter": 2000, "maxfun": 4000, "gtol": 1e-7, "ftol": 1e-13, "maxcor": 50}
    return unpack(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x)


def correlations(frequencies: np.ndarray) -> np.ndarray:
    """Pearson's correlation of every pair of attributes: Double[A, A]."""
    mean = frequencies.diagonal()
    deviation = np.sqrt(mean * (1 - mean))
    return (frequencies - np.outer(mean, mean)) / np.outer(deviation, deviation)


def distance(model: PairwiseModel, rows: np.ndarray) -> dict[str, float]:
    """Measures of how far a model is from the data; ``rows``: Byte[N, A]."""
    target = rows.T.astype(float) @ rows / len(rows)
    found = model.pair_frequencies()
    states = (rows.astype(np.int64) << np.arange(rows.shape[1])).sum(1)
    empirical = np.bincount(states, minlength=2 ** rows.shape[1]) / len(rows)
    seen, probabilities = empirical > 0, model.probabilities()
    bald, male = CELEBA18_SCHEMA.names.index("Bald"), CELEBA18_SCHEMA.names.index("Male")
    off_diagonal = ~np.eye(len(target), dtype=bool)
    independent = PairwiseModel(np.log(target.diagonal() / (1 - target.diagonal())), np.zeros_like(target))
    divergence = [
        float((empirical[seen] * np.log(empirical[seen] / other[seen])).sum())
        for other in (probabilities, independent.probabilities())
    ]
    return {
        "largest_marginal_error": float(abs(found - target).diagonal().max()),
        "largest_correlation_error": float(abs(correlations(found) - correlations(target))[off_diagonal].max()),
        "kl_from_rows_nats": divergence[0],
        "kl_from_rows_of_independent_attributes_nats": divergence[1],
        "probability_of_concepts_without_a_row": float(probabilities[~seen].sum()),
        "bald_and_not_male_in_model": float(found[bald, bald] - found[bald, male]),
        "bald_and_not_male_in_rows": float(target[bald, bald] - target[bald, male]),
    }


def main() -> int:
    """Writes the file and prints the distances."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("mmvae_bench/worlds/attribute_model.json"))
    arguments = parser.parse_args()
    rows = read_rows([arguments.folder])
    training = rows.concepts[rows.partition == 0]
    frequencies = training.T.astype(float) @ training / len(training)
    fitted = fit(frequencies)
    pairs = np.triu_indices(len(CELEBA18_SCHEMA), 1)
    biases, couplings = fitted.biases.round(DECIMALS), fitted.couplings[pairs].round(DECIMALS)
    rounded = PairwiseModel(biases, above_diagonal(couplings.tolist(), len(CELEBA18_SCHEMA)))
    record = {
        "attributes": list(CELEBA18_SCHEMA.names),
        "fitted_to": {"rows": len(training), "partition": "train", "md5": ATTRIBUTES.md5},
        "distance": {key: float(f"{value:.3g}") for key, value in distance(rounded, training).items()},
        "biases": biases.tolist(),
        "couplings": couplings.tolist(),
        "frequencies": frequencies.diagonal().round(7).tolist(),
        "pair_frequencies": frequencies[pairs].round(7).tolist(),
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    write_text(arguments.out, "{\n" + lines + "\n}\n")
    json.dump(record["distance"], sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
