# The pgsched command in an image. It holds no task modules: build yours on it (docs/how-to/deploy-docker.md).
#
#     docker build --tag pgsched .
#
#     FROM pgsched
#     COPY pgsched.yaml ./
#     COPY myapp ./myapp
#     CMD ["worker"]

# With a digest behind it (python:3.13-slim@sha256:…) the base is the same one next year.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build

# Byte code that holds no times: the same files give the same image.
ENV SOURCE_DATE_EPOCH=315532800 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src

# A virtual environment is one folder to copy, and the place where images built on this one install theirs.
# What is needed comes first: a layer that stays while only pgsched changes. Nothing but what `make lock` wrote gets in.
COPY requirements.txt requirements-build.txt ./
RUN python -m venv /build \
    && /build/bin/pip install --require-hashes --only-binary :all: --requirement requirements-build.txt \
    && python -m venv /opt/pgsched \
    && /opt/pgsched/bin/pip install --require-hashes --only-binary :all: --requirement requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY migrations ./migrations
COPY pgsched ./pgsched
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/pgsched/bin/pip install --no-deps /wheels/*.whl


FROM ${PYTHON}

ARG VERSION=unreleased
LABEL org.opencontainers.image.title="pgsched" \
      org.opencontainers.image.description="A PostgreSQL-backed task scheduler, as a standalone daemon" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"

# A name for the number: libpq looks itself up when a DSN names no user. /etc/shadow holds the day of it, hence the time.
ARG SOURCE_DATE_EPOCH=315532800
RUN groupadd --gid 10001 pgsched \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin pgsched

COPY --from=build /opt/pgsched /opt/pgsched

# Unbuffered: what tasks print is seen when they print it. No byte code: the root file system may be read-only.
# The port is for the health check below, on the container's own loopback unless PGSCHED_MONITORING__HOST says 0.0.0.0.
ENV PATH="/opt/pgsched/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PGSCHED_MONITORING__PORT=9187

WORKDIR /app

# A number, not a name: Kubernetes can only check numbers for runAsNonRoot.
USER 10001:10001

# The worker drains at SIGTERM. The exec form makes it process 1, so that it is the one to hear it.
STOPSIGNAL SIGTERM

# Whether it should be started anew: not whether the database is there.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["pgsched", "health", "--live"]

ENTRYPOINT ["pgsched"]
CMD ["--help"]
