# The pgsched command in an image. It holds no task modules: build yours on it (docs/how-to/deploy-docker.md).
#
#     docker build --tag pgsched .
#
#     FROM pgsched
#     COPY pgsched.yaml ./
#     COPY myapp ./myapp
#     CMD ["worker"]

ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY migrations ./migrations
COPY pgsched ./pgsched

# A virtual environment is one folder to copy, and the place where images built on this one install theirs.
RUN python -m venv /opt/pgsched \
    && /opt/pgsched/bin/pip install --no-cache-dir --disable-pip-version-check .


FROM python:${PYTHON_VERSION}-slim

ARG VERSION=unreleased
LABEL org.opencontainers.image.title="pgsched" \
      org.opencontainers.image.description="A PostgreSQL-backed task scheduler, as a standalone daemon" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"

# A name for the number: libpq looks itself up when a DSN names no user.
RUN groupadd --gid 10001 pgsched \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin pgsched

COPY --from=build /opt/pgsched /opt/pgsched

# Unbuffered: what tasks print is seen when they print it. No byte code: the root file system may be read-only.
ENV PATH="/opt/pgsched/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

# A number, not a name: Kubernetes can only check numbers for runAsNonRoot.
USER 10001:10001

# The worker drains at SIGTERM. The exec form makes it process 1, so that it is the one to hear it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["pgsched"]
CMD ["--help"]
