"""Every configuration that is shipped loads, and holds the trials that its comments promise."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import get_args

import pytest

from mmvae_bench.base.canonical import canonical_json
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.components import ObjectiveSpec, datasets, objectives, of_domain
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.specs.missing import imageless_share
from mmvae_bench.specs.supervision import num_supervised
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.specs.yaml_source import read_yaml

CONFIGS = Path(__file__).parents[1] / "configs"
NO_TABLE = {"sprites", "mnist", "mnist_2bit", "dsprites", "lit_faces", "house_numbers", "multi_mnist"}
PUBLISHED = sorted({*datasets.self_contained()} & {*of_domain(datasets, "images")} - NO_TABLE)
"""Those of the tables that ``paper.yaml`` reproduces: no paper has a table of the 3 C's on the others."""
SWEEPS = sorted(CONFIGS.glob("sweep_*.yaml"))
FILES = sorted(set(CONFIGS.glob("*.yaml")) - set(SWEEPS))


KEYS = json.loads((Path(__file__).parent / "specs" / "grid_keys.json").read_text())
"""The key of every trial of every shipped grid, in order: a finished run is known by them."""


def trials(name: str, dataset: str | None = None) -> list[TrialSpec]:
    """The trials of a configuration, or those on one dataset."""
    found = expand(load_grid(CONFIGS / f"{name}.yaml"))
    return [trial for trial in found if dataset in (None, trial.dataset.name)]


def trainable(trial: TrialSpec) -> set[str]:
    """The objectives that can be trained on the images and networks of a trial."""
    found = set()
    for name in of_domain(objectives, "images"):
        objective = objectives.parse(name)
        try:
            objective.check_concepts(trial.dataset)
            objective.check(trial.backbone)
        except ConfigError as error:
            if any(problem.location[0] != "objective" for problem in error.problems):
                continue
        found.add(name)
    return found


def test_the_shipped_configurations_are_there() -> None:
    assert {"all_objectives", "ci", "paper", "quick", "select_mnist_a", "small_mnist", "small_worlds"} <= {
        path.stem for path in FILES
    }


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_shipped_sweep(path: Path) -> None:
    """What it optimises is a number that its trials log, of the validation part, and its command is the contract's."""
    import yaml

    from mmvae_bench.specs.sweeps import TEMPLATE

    sweep = yaml.safe_load(path.read_text())
    assert sweep["command"] == list(TEMPLATE)
    assert sweep["metric"] == {"name": "val/paper/correctness/level_4", "goal": "maximize"}
    assert "val" in sweep["parameters"]["evaluation.partitions"]["value"]
    # W&B reads YAML 1.1, this project 1.2: both must see the same.
    assert sweep == read_yaml(path).value
    assert path.read_text().startswith("#"), "a configuration says what it is for"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_keys_of_a_shipped_grid_are_what_they_were(path: Path) -> None:
    """A changed key would train a finished trial again and orphan its folder: raise SPEC_VERSION where it must be."""
    assert [trial.key for trial in load_grid(path).trials] == KEYS[path.name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_configuration(path: Path) -> None:
    grid = load_grid(path)
    assert grid.name == path.stem
    assert grid.summary
    assert len({trial.key for trial in grid.trials}) == len(grid.trials) > 0
    assert path.read_text().startswith("#"), "a configuration says what it is for"


@pytest.mark.parametrize(
    ("name", "source", "split"), [("tour", "digits", "iid_disjoint"), ("small_mnist", "mnist", "iid")]
)
def test_the_small_tables_compare_the_same_three_objectives(name: str, source: str, split: str) -> None:
    found = trials(name, "mnist_a")
    assert Counter((trial.objective.name, trial.dataset.split) for trial in found) == Counter(
        (objective, part) for objective in ("telbo", "jmvae", "bivcca") for part in (split, "comp")
    )
    assert {trial.dataset.source for trial in found} == {source}


def test_the_small_tables_differ_in_source_split_and_training_alone() -> None:
    """And in the replicas of a digit: MNIST has 39 times as many digits."""
    tour, small = trials("tour", "mnist_a"), trials("small_mnist")
    for one, other in zip(tour, small, strict=True):
        assert one.objective == other.objective
        assert one.backbone == other.backbone
        changed = {"source": "mnist", "replicas": 10, "split": other.dataset.split}
        assert one.dataset.model_copy(update=changed) == other.dataset


def test_the_first_table_has_five_objectives_three_seeds_and_one_world() -> None:
    """A middle level of sprites, iid and comp; judged by means, with curves of the scores."""
    found = trials("quick")
    asked = Counter((trial.objective.name, trial.dataset.split) for trial in found)
    names = ("telbo", "jmvae", "bivcca", "cvae", "mvae")
    assert asked == {(name, split): 3 for name in names for split in ("iid", "comp")}
    assert {trial.seed for trial in found} == {0, 1, 2}
    assert {trial.dataset.name for trial in found} == {"sprites"}
    assert {trial.dataset.level for trial in found} == {4}
    assert all(trial.evaluation.curve_points >= 8 for trial in found)


def test_selection_on_sprites_gives_every_objective_the_same_number_of_tries() -> None:
    """Every objective that there is and that can imagine, four each, on the validation part."""
    found = trials("select_sprites")
    able = {name for name in trainable(found[0]) if "concept" in objectives.parse(name).posteriors}
    assert Counter(trial.objective.name for trial in found) == dict.fromkeys(able, 4)
    assert {trial.evaluation.partitions[0] for trial in found} == {"val"}
    assert len({(trial.backbone, trial.dataset, trial.training, trial.evaluation) for trial in found}) == 1


def test_scales_are_selected_at_the_settings_of_the_leaderboard() -> None:
    """Three for every objective that can imagine, the leaderboard's own among them, on the validation part."""
    found, ranked = trials("select_scale"), trials("sprites")[0]
    board = {
        canonical_json(trial.objective.canonical())
        for trial in trials("sprites")
        if trial.dataset == ranked.dataset and "concept" in trial.objective.posteriors
    }
    scales = Counter((canonical_json(trial.objective.canonical()), trial.backbone.likelihood_scale) for trial in found)
    assert scales == {(objective, scale): 1 for objective in board for scale in (0.25, 0.5, 1)}
    assert ranked.backbone in {trial.backbone for trial in found}
    tried = trials("select_sprites")[0]
    assert {(trial.dataset, trial.training, trial.evaluation) for trial in found} == {
        (tried.dataset, tried.training, tried.evaluation)
    }


def test_backbones_that_could_learn_the_digit_differ_in_nothing_but_steps() -> None:
    """Fewer steps for the slower ones: as many seconds, of which the results tell."""
    first, *others = [
        trial for trial in trials("long_mnist_a") if trial.objective == trials("long_mnist_a")[0].objective
    ]
    assert [trial.backbone.name for trial in (first, *others)] == ["patches", "mlp", "mnist_a_thin"]
    assert {trial.training.steps for trial in others} == {12_000}
    for trial in others:
        assert trial.training.model_copy(update={"steps": first.training.steps}) == first.training
        assert (trial.dataset, trial.evaluation, trial.seed) == (first.dataset, first.evaluation, first.seed)


def test_new_small_results_have_no_test_digit_in_training_and_say_something_of_objectives() -> None:
    """The published split has the source of nearly every test digit in training: it is for reproductions."""
    old = [trial for trial in trials("small_mnist") if trial.dataset.split == "iid"]
    new = trials("small_mnist_disjoint")
    assert [trial.model_copy(update={"dataset": old[0].dataset, "seed": 0}) for trial in new[::3]] == old
    assert {trial.dataset.split for trial in new} == {"iid_disjoint"}
    assert Counter(trial.seed for trial in new) == {0: 3, 1: 3, 2: 3}


def test_scan_is_also_trained_with_its_published_latent_size() -> None:
    """32 (Higgins et al. 2017), next to one with the latent size of all others, in the same tables."""
    found = [trial for trial in trials("paper", "mnist_a") if trial.objective.name == "scan" and trial.objective.dae]
    sizes = Counter((trial.dataset.split, trial.objective.parameters().get("latent_size")) for trial in found)
    assert sizes == {(split, size): 1 for split in ("iid", "comp") for size in (None, 32)}
    assert len({(trial.objective.beta_x, trial.objective.beta_y, trial.objective.alpha) for trial in found}) == 1


def test_the_leaderboard_has_every_objective_at_the_settings_that_were_tried() -> None:
    """Levels 2 to 5, both views, five seeds; of an objective that can imagine, a setting of select_sprites.yaml."""
    found = trials("sprites")
    assert {trial.objective.name for trial in found} == trainable(found[0])
    assert {trial.seed for trial in found} == {0, 1, 2, 3, 4}
    views = {(trial.dataset.level, trial.dataset.chosen_view) for trial in found}
    assert views == {(level, view) for level in (2, 3, 4, 5) for view in ("attributes", "text")}
    tried = {canonical_json(trial.objective.canonical()) for trial in trials("select_sprites")}
    for trial in found:
        if trial.dataset.chosen_view == "attributes" and "concept" in trial.objective.posteriors:
            assert canonical_json(trial.objective.canonical()) in tried


def test_no_comparison_gives_one_objective_other_means_than_another() -> None:
    """On one dataset, all objectives of the small tables share networks, training and questions."""
    for name in ("quick", "tour", "small_mnist", "small_worlds", "select_mnist_a", "sprites_small", "select_sprites"):
        means: dict[object, set[object]] = defaultdict(set)
        by_dataset: dict[object, Counter[str]] = defaultdict(Counter)
        for trial in trials(name):
            means[trial.dataset].add((trial.backbone, trial.training, trial.evaluation))
            by_dataset[trial.dataset][trial.objective.name] += 1
        assert all(len(each) == 1 for each in means.values())
        assert len({tuple(sorted(counts.items())) for counts in by_dataset.values()}) == 1


def test_the_tour_and_the_full_table_have_every_world() -> None:
    assert {trial.dataset.name for trial in trials("tour")} == {"mnist_a", "celeba18", "two_object_clevr"}
    assert {trial.dataset.name for trial in trials("paper")} == set(PUBLISHED)
    for dataset, backbone in (("celeba18", "celeba18"), ("two_object_clevr", "two_object_resnet")):
        found = [trial for trial in trials("paper", dataset) if trial.dataset.chosen_view == "attributes"]
        assert {trial.backbone.name for trial in found} == {backbone}
        assert {trial.dataset.split for trial in found} == {"iid", "comp"}


def test_the_small_table_of_sprites_is_judged_by_means_over_seeds() -> None:
    """Five objectives, two levels, two splits, three seeds; one likelihood of fixed scale on one thin network."""
    found = trials("sprites_small")
    asked = Counter((trial.objective.name, trial.dataset.level, trial.dataset.split) for trial in found)
    names = ("telbo", "jmvae", "bivcca", "cvae", "mvae")
    assert asked == {(name, level, split): 3 for name in names for level in (3, 5) for split in ("iid", "comp")}
    assert {trial.seed for trial in found} == {0, 1, 2}
    (backbone,) = {trial.backbone for trial in found}
    assert (backbone.name, backbone.width, backbone.likelihood, backbone.likelihood_scale) == (
        "rgb_thin",
        8,
        "normal",
        0.5,
    )
    assert {trial.training.steps for trial in found} == {3000}


def test_selection_asks_the_published_grids_on_validation() -> None:
    """The grids of Vedantam et al. (2018) for lambda, gamma, alpha and mu."""
    found = trials("select_mnist_a")
    asked = Counter(
        (trial.objective.name, *(v for k, v in sorted(trial.objective.parameters().items()) if isinstance(v, float)))
        for trial in found
    )
    wanted = [("telbo", gamma, weight) for gamma in (1, 50) for weight in (1, 10, 50)]
    wanted += [("jmvae", alpha, weight) for alpha in (0.1, 1) for weight in (10, 50)]
    wanted += [("bivcca", weight, mu) for weight in (10, 50) for mu in (0.3, 0.7)]
    assert asked == Counter(wanted)
    assert {trial.evaluation.partitions for trial in found} == {("val", "test")}


def _published(trial: TrialSpec) -> bool:
    """Of the published table: its three objectives, trained as they were."""
    names = ("telbo", "jmvae", "bivcca")
    return trial.objective.name in names and trial.objective.parameters().get("schedule") != "two_stage"


def test_the_paper_table_has_the_published_settings() -> None:
    """PROTOCOL: steps in thousands by objective and split, lambda 50, Adam 1e-4, batch 64, the released networks."""
    steps = {
        ("telbo", "iid"): 250,
        ("jmvae", "iid"): 266,
        ("bivcca", "iid"): 214,
        ("telbo", "comp"): 120,
        ("jmvae", "comp"): 184,
        ("bivcca", "comp"): 137,
    }
    found = [trial for trial in trials("paper", "mnist_a") if _published(trial)]
    assert {(trial.objective.name, trial.dataset.split): trial.training.steps / 1000 for trial in found} == steps
    for trial in found:
        assert trial.objective.parameters()["lambda"] == 50
        assert (trial.training.learning_rate, trial.training.batch_size) == (1e-4, 64)
        assert trial.backbone.name == "mnist_a_released"
        assert (trial.dataset.source, trial.dataset.canvas, trial.dataset.split_seed) == ("mnist", 64, 42)
        assert trial.evaluation.protocols == ("official", "paper", "corrected")
        assert (trial.evaluation.num_samples, trial.evaluation.query_repeats) == (100, 2)
    parameters = [trial.objective.parameters() for trial in found if trial.dataset.split == "iid"]
    assert [item.get("gamma") for item in parameters] == [1, 50, None, None]
    assert [item.get("alpha") for item in parameters] == [None, None, 1, None]
    assert [item.get("mu") for item in parameters] == [None, None, None, 0.7]


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_the_full_matrix_has_every_objective_that_a_dataset_can_do(dataset: str) -> None:
    """In each of its views but the scores of Attribute2Image, which three of them take. What can be done is what a
    trial's checks accept, on the networks that the matrix gives."""
    found = trials("paper", dataset)
    view = datasets.get(dataset).model_fields.get("view")
    views = set(get_args(view.annotation) if view else ["attributes"]) - {"strengths"}
    assert {trial.dataset.chosen_view for trial in found} == views
    alike: dict[tuple[str, str], list[TrialSpec]] = defaultdict(list)
    for trial in found:
        alike[trial.dataset.split, trial.dataset.chosen_view].append(trial)
    for split, members in alike.items():
        common = members[0].canonical()
        assert {canonical_json(trial.backbone.canonical()) for trial in members} == {canonical_json(common["backbone"])}
        held = {(trial.objective.name, form) for trial in members for form in _forms(trial.objective)}
        for name in of_domain(objectives, "images"):
            for form in _forms(objectives.parse(name), default=False):
                asked = {"name": name, **dict([form])} if form else {"name": name}
                try:
                    TrialSpec.parse({**common, "objective": asked})
                except ConfigError as error:
                    # More subsets than memory holds, or captions that may not be masked: another value is to be chosen,
                    # and the matrix may do so. No other value makes a text, or concepts of this dataset, what an
                    # objective can take.
                    refused = any(problem.location[0] == "dataset" for problem in error.problems)
                    if refused or not any(problem.near for problem in error.problems):
                        continue
                assert (name, form) in held, f"{split}: {name} {form or ''} is missing"


def _forms(objective: ObjectiveSpec, *, default: bool = True) -> list[tuple[str, object] | None]:
    """The ways in which an objective may take its modalities: its own, or every one that there is."""
    key = "modalities"
    field = type(objective).model_fields.get(key)
    if field is None:
        return [None]
    return [(key, getattr(objective, key))] if default else [(key, choice) for choice in get_args(field.annotation)]


def test_the_full_matrix_is_expanded_in_no_time() -> None:
    """Processor time, so that other work on the machine does not count: 0.1 s measured, 2 s promised."""
    started = time.process_time()
    load_grid(CONFIGS / "paper.yaml")
    assert time.process_time() - started < 2


def test_the_weights_of_the_aggregate_posteriors_are_those_of_their_paper() -> None:
    """Cremer and Kushman 2018: w_x and w_y by dataset, 400,000 steps of batch 20 at 4e-4 on scenes, latent 50."""
    for dataset, weights in {"two_object_clevr": (0.02, 200), "celeba18": (0.1, 100), "mnist_a": (1, 50)}.items():
        found = [trial for trial in trials("paper", dataset) if trial.objective.name in ("vlvae", "q_true", "q_agg")]
        parameters = [trial.objective.parameters() for trial in found]
        assert {(each["image_weight"], each["concept_weight"]) for each in parameters} == {weights}
        assert all(each["prior_flow"] for each in parameters)
    scenes = trials("paper", "two_object_clevr")
    asked = {(trial.training.steps, trial.training.learning_rate, trial.training.batch_size) for trial in scenes}
    assert asked == {(400_000, 4e-4, 20)}
    assert {trial.backbone.latent_size for trial in scenes} == {50}


def test_the_tables_of_the_aggregate_posteriors_are_of_texts() -> None:
    """As in the paper: texts of scenes and of faces, q(z|y) of whole ones, scored on val with ten samples per bound."""
    found = [trial for trial in trials("aggregate_posteriors") if trial.dataset.name != "single_object_clevr"]
    assert Counter((trial.dataset.name, trial.objective.name) for trial in found) == Counter(
        {(dataset, name): 1 for dataset in ("two_object_clevr", "celeba18") for name in ("q_true", "q_agg")}
        | {("two_object_clevr", "vlvae"): 1}
    )
    for trial in found:
        assert trial.dataset.chosen_view == "text"
        assert (trial.evaluation.partitions, trial.evaluation.likelihood_samples) == (("val",), 10)
        assert trial.objective.parameters().get("mask_probability", 0) == 0


def test_the_ablations_are_one_change_at_a_time() -> None:
    """Of TELBO and JMVAE as they were selected, with the same means and seeds; and further splits, two questions."""
    found = trials("ablations")
    changes: dict[tuple[str, str], set[frozenset[tuple[str, object]]]] = defaultdict(set)
    plain = {name: objectives.parse(name).parameters().keys() for name in ("telbo", "jmvae")}
    for trial in found:
        if trial.objective.name in plain:
            parameters = trial.objective.parameters()
            changed = frozenset((key, parameters[key]) for key in parameters.keys() - plain[trial.objective.name])
            changes[trial.objective.name, trial.dataset.split].add(changed)
    alone, beside = frozenset({("universal_expert", False)}), frozenset({("concept_fusion", "concatenation")})
    assert changes["telbo", "iid"] == {frozenset(), alone, beside}
    assert changes["jmvae", "iid"] == {frozenset(), alone, beside, frozenset({("joint_encoder", False)})}
    assert changes["telbo", "comp"] == changes["jmvae", "comp"] == {frozenset()}
    tried = {canonical_json(trial.objective.canonical()) for trial in trials("select_sprites")}
    for trial in found:
        kept = {key: value for key, value in trial.objective.parameters().items() if key in plain.get("telbo", ())}
        if trial.objective.name == "telbo":
            assert canonical_json(objectives.parse({"name": "telbo", **kept}).canonical()) in tried
    assert len({trial.dataset.split_seed for trial in found if trial.dataset.split == "comp"}) == 4
    assert {question.name for question in found[0].evaluation.questions} >= {"imputation", "query_statistics"}
    assert len({(trial.training, trial.evaluation) for trial in found}) == 1


def test_equal_steps_with_images_are_equal() -> None:
    """1,000 of every trial, also of those with steps on labels alone; objectives and all else are as in curves.yaml."""
    found = trials("curves_equal_steps")
    for trial in found:
        missing = trial.training.missing_images
        share = imageless_share(missing, trial.objective) if missing else 0.0
        assert share == (missing.fraction if missing else 0)
        assert trial.training.steps - num_supervised(trial.training.steps, share) == 1000
    curves = trials("curves")
    learns_from_labels = [trial.objective for trial in curves if trial.objective.imageless_obstacle is None]
    assert {trial.objective for trial in found} == set(learns_from_labels)
    complete = [trial for trial in found if trial.training.missing_images is trial.training.supervision is None]
    assert {trial.key for trial in complete} <= {trial.key for trial in curves}
    assert len({(trial.dataset, trial.backbone, trial.evaluation, trial.seed) for trial in found + curves}) == 1


def test_words_and_links_of_both_graphs_are_asked_alike() -> None:
    """They differ in the graph, and in VGAE's step, which is on all training papers."""
    one, other = trials("words_and_links"), trials("words_and_links_citeseer")
    assert [trial.dataset.name for trial in (*one, *other)] == ["cora_papers"] * 20 + ["citeseer_papers"] * 20
    for here, there in zip(one, other, strict=True):
        size = there.training.batch_size
        assert size == (there.dataset.nodes_per_step() if there.objective.name == "vgae" else 128)
        alike = {
            "dataset": here.dataset,
            "training": there.training.model_copy(update={"batch_size": here.training.batch_size}),
        }
        assert there.model_copy(update=alike) == here


def test_ci_runs_every_objective_once_on_little() -> None:
    found = trials("ci")
    assert {trial.objective.name for trial in found} == trainable(found[0])
    assert all(trial.training.steps <= 50 and trial.dataset.num_sources <= 200 for trial in found)


def test_all_objectives_names_every_objective_and_each_of_its_forms() -> None:
    """Both forms of each fusion, inference and bound, on one dataset with one training."""
    found = trials("all_objectives")
    by_name = defaultdict(list)
    for trial in found:
        by_name[trial.objective.name].append(trial.objective.parameters())
    assert set(by_name) == trainable(found[0])
    for name in by_name:
        for form in ("modalities", "inference", "bound", "dae", "prior", "schedule"):
            field = objectives.get(name).model_fields.get(form)
            if field is None or name in ("q_true", "q_agg"):  # VLVAE shows both ways of inference
                continue
            choices = {True, False} if field.annotation is bool else set(get_args(field.annotation))
            assert {parameters[form] for parameters in by_name[name]} == choices, (name, form)
    assert len({(trial.dataset, trial.backbone, trial.training, trial.evaluation) for trial in found}) == 1


def test_alpha_is_selected_again_at_the_networks_of_the_paper() -> None:
    """On validation alone, with a value beyond the edge; networks, pixels and labelled images are siddharth_mnist's."""
    found, first = trials("select_siddharth_mnist_wide"), trials("select_siddharth_mnist")
    asked = Counter(
        (trial.objective.parameters()["alpha"], trial.training.supervision.labels_per_class)
        for trial in found
        if trial.training.supervision is not None
    )
    before = {trial.objective.parameters()["alpha"] for trial in first}
    assert asked == {(alpha, labels): 1 for alpha in (*before, 4 * max(before)) for labels in (10, 100)}
    assert {trial.evaluation.partitions for trial in found} == {("val",)}
    same = {"steps": 0, "validations": 1}
    long = {trial.training.model_copy(update=same) for trial in trials("siddharth_mnist")}
    assert {trial.training.model_copy(update=same) for trial in found} <= long
    assert {(trial.dataset, trial.backbone) for trial in found} == {
        (trial.dataset, trial.backbone) for trial in trials("siddharth_mnist")
    }


def test_a_plane_with_and_without_annotations() -> None:
    """Vedantam et al. 2018, A.3: two latents, a beta-VAE with the beta chosen there, and JVAE; three seeds of each."""
    found = trials("mnist_2bit")
    assert {(trial.dataset.name, trial.dataset.source, trial.backbone.latent_size) for trial in found} == {
        ("mnist_2bit", "mnist", 2)
    }
    assert set(Counter((trial.objective.name, *trial.objective.parameters().items()) for trial in found).values()) == {
        3
    }
    assert {trial.objective.parameters()["beta"] for trial in found if trial.objective.name == "beta_vae"} == {1, 10}
    assert {trial.objective.name for trial in found} == {"beta_vae", "jvae"}


def test_the_distance_is_looked_for_by_one_change_at_a_time() -> None:
    """The first trial is the long one's start, with its labelled images; another differs in one or two settings."""
    plain, *others = trials("siddharth_distance")
    (long,) = (
        trial
        for trial in trials("siddharth_mnist")
        if (trial.seed, trial.training.supervision) == (0, plain.training.supervision)
    )
    shorter = long.training.model_copy(update={"steps": 6_000, "validations": 6})
    assert long.model_copy(update={"training": shorter, "evaluation": plain.evaluation}) == plain
    changes = []
    for trial in others:
        changed = {
            key: value
            for key, value in trial.objective.parameters().items()
            if value != plain.objective.parameters()[key]
        }
        if trial.training.augmentation is None:
            changed["augmentation"] = None
        assert trial.training.supervision is not None
        if (labels := trial.training.supervision.labels_per_class) != 10:
            changed["labels"] = labels
        changes.append(changed)
    assert changes == [
        {"estimator": "concrete"},
        {"estimator": "exact"},
        {"gamma": 0.02},
        {"estimator": "concrete", "gamma": 0.02},
        {"supervised": "printed"},
        {"augmentation": None},
        {"labels": 100},
        {"supervised": "printed", "labels": 100},
    ]
    assert {trial.evaluation.partitions for trial in (plain, *others)} == {("val", "test")}
