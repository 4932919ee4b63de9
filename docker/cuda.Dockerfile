# mmvae-bench on an NVIDIA GPU. From the repository root: docker build --file docker/cuda.Dockerfile --tag mmvae-bench:cuda .
#
# The default build of torch includes CUDA, so the base image needs none; the driver comes from the host, through the
# NVIDIA container toolkit.

FROM python:3.11.13-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY configs configs
COPY mmvae_bench mmvae_bench
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11.13-slim-bookworm
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1 \
    MMVAE_BENCH_CACHE=/cache \
    MMVAE_BENCH_DATA=/data \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility

# The compiler builds the kernels of `training: {compile: true}`. libEGL and libGL are for drawn faces. LLVM renders
# scenes when the GPU cannot (that takes OptiX, hence `graphics` among the capabilities above).
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        "g++=4:12.2.0-3" "libegl1=1.6.0-1" "libgl1=1.6.0-1" "libllvm19=1:19.1.7-3~deb12u1" \
    && rm -rf /var/lib/apt/lists/*

# Writable by any user, so that `--user` works too.
RUN useradd --create-home --uid 1000 bench \
    && install --directory --mode 1777 /cache /data /bench/runs

# The dependencies and the renderers, in a layer that changes only when they do.
RUN --mount=type=bind,source=pyproject.toml,target=/build/pyproject.toml \
    --mount=type=bind,source=requirements.lock,target=/build/requirements.lock \
    python -c "import tomllib; project = tomllib.load(open('/build/pyproject.toml', 'rb'))['project']; \
        extras = project['optional-dependencies']; \
        print(*project['dependencies'], *extras['clevr'], *extras['faces'], sep='\n')" \
        > /tmp/requirements.txt \
    && pip install --no-cache-dir --constraint /build/requirements.lock --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt \
    && python -c "import mitsuba, skia" \
    && python -c "import sys, torch, torchvision; sys.exit(0 if torch.version.cuda else 'not a CUDA build')"

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
