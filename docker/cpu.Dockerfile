# mmvae-bench on a CPU. From the repository root: docker build --file docker/cpu.Dockerfile --tag mmvae-bench:cpu .

FROM python:3.11.13-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY configs configs
COPY mmvae_bench mmvae_bench
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11.13-slim-bookworm
# A package index with CPU builds of torch and torchvision, which are much smaller. Empty: the default builds.
ARG CPU_WHEEL_INDEX=

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1 \
    MMVAE_BENCH_CACHE=/cache \
    MMVAE_BENCH_DATA=/data \
    MPLCONFIGDIR=/tmp/matplotlib

# libEGL and libGL are for drawn faces; with LLVM, scenes are rendered several times faster than without.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        "libegl1=1.6.0-1" "libgl1=1.6.0-1" "libllvm19=1:19.1.7-3~deb12u1" \
    && rm -rf /var/lib/apt/lists/*

# Writable by any user, so that `--user` works too.
RUN useradd --create-home --uid 1000 bench \
    && install --directory --mode 1777 /cache /data /bench/runs

# The dependencies and the renderers, in a layer that changes only when they do. torch and torchvision must be resolved
# together: a CPU build of one does not import with a default build of the other.
RUN --mount=type=bind,source=pyproject.toml,target=/build/pyproject.toml \
    --mount=type=bind,source=requirements.lock,target=/build/requirements.lock \
    python -c "import tomllib; project = tomllib.load(open('/build/pyproject.toml', 'rb'))['project']; \
        extras = project['optional-dependencies']; \
        print(*project['dependencies'], *extras['clevr'], *extras['faces'], sep='\n')" \
        > /tmp/requirements.txt \
    && pip install --no-cache-dir --constraint /build/requirements.lock --requirement /tmp/requirements.txt \
        ${CPU_WHEEL_INDEX:+--extra-index-url "${CPU_WHEEL_INDEX}"} \
    && rm /tmp/requirements.txt \
    && python -c "import mitsuba, skia" \
    && python -c "import sys, torch, torchvision; sys.exit('not a CPU build' if sys.argv[1] and torch.version.cuda else 0)" \
        "${CPU_WHEEL_INDEX}"

COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl

WORKDIR /bench
COPY configs configs
VOLUME ["/bench/runs", "/cache", "/data"]
USER 1000
ENTRYPOINT ["mmvae-bench"]
CMD ["--help"]

# The commit the image is built from, for its label.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mmvae-bench" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}"
