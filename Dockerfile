# Two images: SIZE=run for all programs but those that need the extra `train`, SIZE=train for these.
ARG SIZE=run

# Java with what Spark uses of it: 80 MB instead of Debian's 220.
FROM python:3.11-slim-bookworm AS java
RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jdk-headless ca-certificates-java \
 && jlink --compress=2 --strip-java-debug-attributes --no-header-files --no-man-pages \
    --add-modules java.se,jdk.crypto.ec,jdk.incubator.vector,jdk.jfr,jdk.management,jdk.net,jdk.security.auth,jdk.unsupported,jdk.zipfs \
    --output /opt/java \
 && cp -L /etc/ssl/certs/java/cacerts /opt/java/lib/security/cacerts \
 && /opt/java/bin/java -Xshare:dump

FROM python:3.11-slim-bookworm AS run
COPY --from=java /opt/java /opt/java
RUN apt-get update \
 && apt-get install -y --no-install-recommends procps \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 candlecast \
 && install -d -o candlecast /candlecast /candlecast/warehouse
USER candlecast
WORKDIR /candlecast
ENV PATH="/candlecast/.venv/bin:/opt/java/bin:$PATH" JAVA_HOME=/opt/java PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
# What the locks name, in layers of its own: an edited line of code does not install it again.
COPY --chown=candlecast requirements.lock requirements-install.lock ./
COPY --chown=candlecast conf/install.sh conf/
RUN sh conf/install.sh python3 requirements.lock && find .venv -type d -name tests -prune -exec rm -r {} +

FROM run AS jars
COPY --chown=candlecast conf conf
COPY --chown=candlecast jobs/__init__.py jobs/
COPY --chown=candlecast jobs/machine jobs/machine
COPY --chown=candlecast jobs/terminal jobs/terminal
RUN python -m jobs.machine.jars

FROM run AS train
COPY --chown=candlecast requirements-train.lock ./
RUN sh conf/install.sh python3 requirements-train.lock && find .venv -type d -name tests -prune -exec rm -r {} +

FROM ${SIZE}
COPY --from=jars --chown=candlecast /candlecast/.jars .jars
COPY --chown=candlecast . .
RUN uv pip install --quiet --no-deps --no-build-isolation --editable . \
 && python -m jobs.machine.jars && python -m jobs.machine.prepared
