# One image for every part: `baton api`, `baton worker`, `baton issuer`, `baton secrets`.

# A release names it by its digest, too: CONTRIBUTING.md, Release.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS install
WORKDIR /src
# What Baton is built on, apart from Baton itself: a change of code does not install it again.
# Each is the one that was locked, byte for byte: `make lock` chooses them.
COPY requirements.lock ./
RUN python -m venv /opt/baton \
 && /opt/baton/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY worker worker
# The programs of the virtual environment run without pip.
RUN /opt/baton/bin/pip install --no-cache-dir --no-build-isolation --no-deps . \
 && /opt/baton/bin/pip uninstall --yes --quiet pip setuptools

FROM ${PYTHON}
# What a worker runs: git for the checkout, bubblewrap around everything, make for most builds.
# Of no version: Debian mends theirs, and keeps no older ones.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends bubblewrap git make openssh-client \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
# A volume that is new takes over the owner and the mode of the directory below it.
RUN useradd --uid 10001 --no-log-init --home-dir /var/lib/baton --no-create-home \
      --shell /usr/sbin/nologin baton \
 && install -d -o baton -g baton -m 700 /var/lib/baton/keys /var/lib/baton/secrets \
      /var/lib/baton/secrets/server /var/lib/baton/secrets/worker \
 && install -d -o baton -g baton -m 755 /var/lib/baton/secrets/redis \
 && install -d -o baton -g baton -m 711 /var/lib/baton/workspaces
COPY --from=install /opt/baton /opt/baton
ENV PATH=/opt/baton/bin:$PATH PYTHONUNBUFFERED=1
# By number, so that an orchestrator sees that it is not root.
USER 10001:10001
WORKDIR /var/lib/baton
ENTRYPOINT ["baton"]
CMD ["--help"]

# Last, as they change with each commit.
ARG PYTHON
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Baton" \
      org.opencontainers.image.description="An asynchronous build service: its API, its workers and an issuer for development" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.url="https://baton.example/" \
      org.opencontainers.image.documentation="https://baton.example/docs/" \
      org.opencontainers.image.source="https://baton.example/source" \
      org.opencontainers.image.base.name="${PYTHON}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
