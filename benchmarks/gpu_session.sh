#!/usr/bin/env bash
# One piece of work on a machine that is available for minutes at a time and reaches no registry (see GPU.md).
#
#   OUT=results bash benchmarks/gpu_session.sh rates   [STEP_RATE OPTIONS]   step rates in each precision, and compiled
#   OUT=results bash benchmarks/gpu_session.sh profile [STEP_RATE OPTIONS]   where the time of a step goes
#   OUT=results bash benchmarks/gpu_session.sh trial   [RUN OPTIONS]         trials of a grid, resumed by the same command
#
# The results are in $OUT: machine.txt, Markdown, and for trials an archive of the small files, in at most five parts.
# Variables: LIMIT (seconds in total, 540), GRID (configs/paper.yaml), RUN (the run folder, runs/gpu), CARRIED (a folder
# with wheels/ and MNIST's files, runs/carried), SITE (where the wheels are unpacked), PART (size of a part of the
# archive, 15M), COMMIT (recorded in machine.txt), PYTHON, and those of the project itself.
# Exit code: that of the command; 124 if it was stopped at the limit, and the same command then continues from there.
set -euo pipefail
OUT=$(realpath --canonicalize-missing "${OUT:?a folder for the results}")
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
LIMIT=${LIMIT:-540}
GRID=${GRID:-configs/paper.yaml}
RUN=${RUN:-runs/gpu}
CARRIED=${CARRIED:-runs/carried}
SITE=${SITE:-runs/site}
export MMVAE_BENCH_CACHE=${MMVAE_BENCH_CACHE:-$PWD/runs/cache} MMVAE_BENCH_DATA=${MMVAE_BENCH_DATA:-$PWD/$CARRIED}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR=$PWD/runs/inductor
export PYTHONPATH=$PWD/$SITE:$PWD${PYTHONPATH:+:$PYTHONPATH}
PART=${PART:-15M}
RESERVE=30 # seconds at the end for saving and packing

setup() {
    mkdir -p "$OUT"
    mkdir -p "$SITE"
    if compgen -G "$CARRIED/wheels/*.whl" >/dev/null && [ ! -e "$SITE/.ready" ]; then
        "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$SITE" "$CARRIED"/wheels/*.whl
        touch "$SITE/.ready"
    fi
    "$PYTHON" -m mmvae_bench list objectives >/dev/null
    {
        date --utc
        uname -srm
        nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
        "$PYTHON" -c 'import sys, torch; print("Python", sys.version.split()[0], "torch", torch.__version__)'
        echo "commit ${COMMIT:-unknown}"
    } >"$OUT/machine.txt" 2>&1
}

# Runs a command in the remaining time: then SIGTERM, on which trials save and stop, then SIGKILL.
timed() {
    local left=$((LIMIT - SECONDS - RESERVE))
    if [ "$left" -lt 10 ]; then
        echo "no time left for: $*" >&2
        return 124
    fi
    timeout --signal=TERM --kill-after=20 "$left" "$@"
}

rates() {
    local code=0 file=$OUT/step_rate.md
    : >"$file"
    for settings in "--precision float32 --rounds 3" "--precision tf32 --rounds 3" "--precision bfloat16 --rounds 3" \
        "--precision tf32 --compile" "--precision bfloat16 --compile"; do
        # shellcheck disable=SC2086 # the settings must split into words
        timed "$PYTHON" benchmarks/step_rate.py --grid "$GRID" --source digits $settings \
            --warm-up 20 --steps 200 "$@" >>"$file" || code=$?
        echo >>"$file"
    done
    cat "$file"
    return "$code"
}

profile() {
    local code=0
    : >"$OUT/profile.md"
    for precision in float32 tf32 bfloat16; do
        timed "$PYTHON" benchmarks/step_rate.py --grid "$GRID" --source digits --precision "$precision" --profile \
            --warm-up 20 --steps 20 "$@" >>"$OUT/profile.md" || code=$?
    done
    cat "$OUT/profile.md"
    return "$code"
}

trial() {
    local code=0
    timed "$PYTHON" -m mmvae_bench run --grid "$GRID" --out "$RUN" "$@" --json >"$OUT/events.jsonl" || code=$?
    "$PYTHON" -m mmvae_bench status "$RUN" --json >"$OUT/status.json" || true
    pack || code=1
    return "$code"
}

# The results and pictures of the trials, not their weights.
pack() {
    rm -f "$OUT"/trials.tar.gz.*
    (
        cd "$RUN"
        find grid.yaml trials -type f \( -name grid.yaml -o -name '*.json' -o -name log.jsonl -o -name output.log \
            -o -name samples.png \) -print0 | tar --create --gzip --null --files-from=-
    ) | split --bytes="$PART" --numeric-suffixes --suffix-length=1 - "$OUT/trials.tar.gz."
    if [ "$(find "$OUT" -name 'trials.tar.gz.*' | wc -l)" -gt 5 ]; then
        echo "the results are larger than five parts of $PART" >&2
        return 1
    fi
}

piece=${1:?rates, profile or trial}
shift
case $piece in
    rates | profile | trial) ;;
    *)
        echo "unknown piece '$piece': choose rates, profile or trial" >&2
        exit 2
        ;;
esac
setup
code=0
case $piece in
    rates) rates "$@" || code=$? ;;
    profile) profile "$@" || code=$? ;;
    trial) trial "$@" || code=$? ;;
esac
echo "$piece: exit code $code after $SECONDS s; see $OUT" >&2
exit "$code"
