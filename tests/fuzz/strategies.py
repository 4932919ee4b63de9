"""Values that nobody asked for, and good configurations with something wrong in them."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml
from hypothesis import strategies as st

WORDS = (
    "name", "datasets", "backbones", "objectives", "training", "seeds", "evaluation", "include", "exclude", "summary",
    "dataset", "backbone", "objective", "seed", "version", "mnist_a", "mnist_a_thin", "mnist_a_paper", "telbo", "jvae",
    "jmvae", "bivcca", "lambda", "lambda_", "alpha", "gamma", "mu", "schedule", "two_stage", "unimodal_steps", "canvas",
    "source", "digits", "mnist", "split", "comp", "iid", "split_seed", "replicas", "num_sources", "latent_size",
    "width", "hidden", "steps", "batch_size", "learning_rate", "precision", "bfloat16", "num_threads", "validations",
    "compile", "levels", "partitions", "test", "val", "num_samples", "protocols", "official", "paper", "query_repeats",
    "classifier", "conv_thin", "num_resamples", "teblo", "objectvie", "", " ", "<<", "null", "~", "true", "no", ".inf",
    ".nan", "1e400", "-0", "1_000", "0o17", "0x" + "f" * 5000, "9" * 5000, "2024-01-01", "!!python/object:os.system",
    "&a", "*a", "\u0000", "\ud800", "\u202e", "ö", "{", "]", "'", '"', "- -", ": :", "#", "%", "a\nb", "..", "../x",
    "1" + "0" * 400, "-1e400", "-.inf", "1e308", "9007199254740993", "\x1b[2J", "\x1b]0;x\x07", "\x7f", "\x85",
)  # fmt: skip
"""Keys and values of configurations, what YAML and JSON treat specially, and what breaks careless code."""

words = st.sampled_from(WORDS)
numbers = st.one_of(
    st.integers(-3, 300),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**40, 10**400, 1e-4, 0.5, -0.0, 1e308, 5e-324]),
    st.floats(),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, words, st.text(max_size=8))
likely = st.one_of(
    st.integers(0, 100),
    st.sampled_from([1e-3, 0.5, 2.0, None, True, "telbo", "jvae", "mnist_a_thin", "iid", "comp", "test", [4], [1, 2]]),
)
"""What may well be right."""
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(words, st.text(max_size=5)), inner, max_size=3),
    ),
    max_leaves=6,
)
values = st.one_of(likely, junk).map(copy.deepcopy)

GRID: dict[str, Any] = {
    "name": "fuzz",
    "summary": "a grid",
    "datasets": [{"name": "mnist_a", "canvas": 32, "split": "iid"}, {"name": "mnist_a", "canvas": 32, "split": "comp"}],
    "backbones": ["mnist_a_thin", {"name": "mnist_a_thin", "width": 4, "hidden": 8}],
    "objectives": ["jvae", {"name": "telbo", "lambda": 10, "schedule": "two_stage"}, {"name": "jmvae", "alpha": 0.5}],
    "training": {"steps": 10, "batch_size": 4, "learning_rate": 1e-3, "precision": "float32"},
    "seeds": [0, 1],
    "evaluation": {
        "protocols": ["official"],
        "levels": [1, 4],
        "num_samples": 10,
        "classifier": {"name": "conv_thin", "steps": 10},
    },
    "include": [{"objectives": ["bivcca"], "seeds": [7]}],
    "exclude": [{"objective": "jvae", "dataset.split": "comp", "seed": 1}],
}
TRIAL: dict[str, Any] = {
    "dataset": {"name": "mnist_a", "canvas": 32},
    "backbone": "mnist_a_thin",
    "objective": {"name": "telbo", "lambda": 10},
    "training": {"steps": 10},
    "seed": 3,
    "evaluation": {"num_samples": 10},
}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places inside of a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in [(*path, key), *paths(item, (*path, key))]]


@st.composite
def mutated(draw: st.DrawFn, good: dict[str, Any]) -> Any:
    """A good configuration after up to three accidents."""
    whole: Any = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, 3))):
        places = paths(whole)
        if not places:
            return whole
        *parents, last = draw(st.sampled_from(places))
        owner = whole
        for key in parents:
            owner = owner[key]
        match draw(st.sampled_from(["replace", "delete", "rename", "list", "move", "add", "repeat"])):
            case "replace":
                owner[last] = draw(values)
            case "delete":
                del owner[last]
            case "rename" if isinstance(owner, dict):
                owner[draw(st.one_of(words, st.text(max_size=5)))] = owner.pop(last)
            case "list":
                owner[last] = [owner[last]]
            case "move":
                source: Any = whole
                for key in draw(st.sampled_from(places)):
                    source = source[key]
                owner[last] = copy.deepcopy(source)
            case "add" if isinstance(owner[last], dict):
                owner[last][draw(words)] = draw(values)
            case "add" | "repeat" if isinstance(owner, list):
                owner.append(draw(st.one_of(values, st.just(copy.deepcopy(owner[last])))))
    return whole


@st.composite
def grid_texts(draw: st.DrawFn) -> str:
    """A mutated grid, written as YAML or JSON, after up to two accidents with its text."""
    return draw(texts_of(GRID))


@st.composite
def texts_of(draw: st.DrawFn, good: dict[str, Any]) -> str:
    """A mutated file, written as YAML or JSON, after up to two accidents with its text."""
    grid = draw(mutated(good))
    if draw(st.booleans()):
        text = yaml.safe_dump(grid, default_flow_style=draw(st.booleans()), allow_unicode=draw(st.booleans()))
    else:
        text = json.dumps(grid, indent=draw(st.sampled_from([None, 2])))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 5)))
        text = text[:start] + draw(st.one_of(words, st.text(max_size=3))) + text[stop:]
    return text


yaml_pieces = st.one_of(
    words,
    st.text(max_size=6),
    st.sampled_from(
        ["\n", "\n  ", "\n- ", ": ", "- ", ", ", "[", "]", "{", "}", "|\n ", ">-\n ", "&x ", "*x", "<<: *x", "!!set ",
         "? ", "---\n", "...\n", "%YAML 1.1\n", "\t", "'", '"', "\\", "\\ud800", "\\x00", "#", "\ufeff", "\x85", "\r"]
    ),
)  # fmt: skip


def _multiplied(kind: str, levels: int, width: int) -> str:
    """A value whose every level repeats the one before several times."""
    first, again = ("{x: 1}", "{{<<: [{}]}}") if kind == "merges" else ("[1]", "[{}]")
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{i}: &a{i} " + again.format(", ".join([f"*a{i - 1}"] * width)) for i in range(1, levels)]
    return "\n".join(lines)


bombs = st.one_of(
    st.builds(_multiplied, st.sampled_from(["merges", "aliases"]), st.integers(2, 12), st.integers(1, 12)),
    st.builds(_multiplied, st.sampled_from(["merges", "aliases"]), st.integers(90, 400), st.just(1)),
    st.builds(
        lambda pair, levels, closed: "seeds: " + pair[0] * levels + (pair[1] * levels if closed else ""),
        st.sampled_from(["[]", "{}", ("- ", ""), ("{a: ", "}"), ("? ", "")]),
        st.sampled_from([50, 99, 101, 331, 2000, 50_000]),
        st.booleans(),
    ),
    st.builds("{}{}{}".format, st.sampled_from(["seeds: [", "{a: [", ""]), st.just("1, ") | st.just("- 1\n"),
              st.just("")).flatmap(lambda text: st.sampled_from([10_000, 300_000, 1_500_000]).map(text.__mul__)),
)  # fmt: skip
"""Texts that grow when they are read."""
yaml_texts = st.one_of(*[st.lists(yaml_pieces, max_size=25).map("".join)] * 9, bombs)
"""Text made of the pieces of YAML, and some that grows."""

SWEEP: dict[str, Any] = {
    "method": "grid",
    "run_cap": 5,
    "command": ["${env}", "mmvae-bench", "train", "--set", "training.steps=10", "--set-json", "${args_json}"],
    "parameters": {
        "dataset.name": {"value": "mnist_a"},
        "dataset.canvas": {"value": 32},
        "backbone": {"parameters": {"name": {"value": "mnist_a_thin"}, "width": {"distribution": "q_uniform", "min": 4,
                                                                              "max": 16, "q": 4}}},
        "objective.name": {"values": ["jmvae", "telbo"]},
        "training.learning_rate": {"values": [1e-3, 1e-4]},
        "seed": {"min": 0, "max": 3},
    },
}  # fmt: skip
