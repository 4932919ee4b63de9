"""The names of the files of a run and of a trial, each defined once."""

from __future__ import annotations

GRID_FILE = "grid.yaml"
RESULTS_FILE = "results.parquet"
QUERIES_FILE = "queries.parquet"
MERGED_FILE = "merged.json"
"""File in the folder of a merged report that names the runs it was made from."""
TRIALS_FOLDER = "trials"
REPORT_FOLDER = "report"
FIGURES_FOLDER = "figures"
PAGE_FILE = "index.html"
REPORT_CHECKSUMS_FILE = "report_checksums.json"
"""File in a run folder: the sha256 of every file that its last report has written, by its path in the folder."""

WEIGHTS_FILE = "model.safetensors"
"""The weights in the folder of an exported model, in whose place a trial's folder has a checkpoint."""
CARD_FILE = "README.md"
"""The card of an exported model or dataset, under the name that model hubs show."""

SPEC_FILE = "spec.json"
EVALUATION_FILE = "evaluation.json"
STATUS_FILE = "status.json"
CHECKPOINT_FILE = "last.ckpt"
TRAINING_LOG = "log.jsonl"
LOG_FILE = "output.log"
RESULT_FILE = "result.json"
SAMPLES_FILE = "samples.png"
PLANE_FILE = "latent_plane.npz"
CHECKSUMS_FILE = "checksums.json"
LOCK_FILE = "lock"
PREVIOUS = ".previous"
"""Ends the names of a result and its checksums while a trial is evaluated again by other code."""
DRIVERS_FILE = "drivers"
HELD_FILE = "held.json"
"""File in a run folder that says which trials its drivers hold back, and why."""
REPORT_LOCK_FILE = "report.lock"
"""Locked by the process that writes the report."""

TRIAL_FILES = frozenset({
    SPEC_FILE, EVALUATION_FILE, STATUS_FILE, CHECKPOINT_FILE, TRAINING_LOG, LOG_FILE, RESULT_FILE, SAMPLES_FILE,
    PLANE_FILE, CHECKSUMS_FILE, LOCK_FILE,
})  # fmt: skip
"""Every file of a trial's folder."""
