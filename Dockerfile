# One image for all three: `baton api`, `baton issuer`, `baton worker`.
FROM python:3.11-slim-bookworm AS install
WORKDIR /src
COPY pyproject.toml README.md ./
COPY app app
COPY worker worker
RUN python -m venv /opt/baton && /opt/baton/bin/pip install --no-cache-dir .

FROM python:3.11-slim-bookworm
# What a worker runs: git for the checkout, bubblewrap around everything, make for most builds.
RUN apt-get update \
 && apt-get install -y --no-install-recommends bubblewrap git make openssh-client \
 && rm -rf /var/lib/apt/lists/*
COPY --from=install /opt/baton /opt/baton
RUN useradd --system --uid 10001 --home-dir /var/lib/baton --create-home baton \
 && install -d -o baton -m 700 /var/lib/baton/secrets /var/lib/baton/keys
ENV PATH=/opt/baton/bin:$PATH PYTHONUNBUFFERED=1
USER baton
WORKDIR /var/lib/baton
ENTRYPOINT ["baton"]
CMD ["--help"]
