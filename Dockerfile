# One image for every program of docker-compose.yml.
FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless make procps \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /candlecast
COPY requirements.lock pyproject.toml Makefile README.md ./
COPY conf conf
COPY ingest ingest
COPY model model
COPY spark spark
COPY store store
COPY stream stream
COPY jobs jobs
COPY dashboard dashboard
COPY sql sql
RUN make install
ENV PATH="/candlecast/.venv/bin:$PATH"
