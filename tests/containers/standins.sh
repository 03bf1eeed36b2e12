#!/bin/bash
# Builds local stand-ins of the base images that docker-compose.yml and the Dockerfile name, for a
# machine that can run containers but pull none. Root, on Debian. Usage: standins.sh WORK IMAGE ...
# Packages come from where this machine has them from: apt's first source, or DEBIAN_MIRROR; pip's.
set -euo pipefail
work=$1 here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
shift

build() { echo "stand-in for $1 ..."; docker build --quiet --tag "$@" >/dev/null; }

python() {
  local mirror base=$work/python
  mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' | awk 'NR == 1')}
  echo "stand-in for $1 ..."
  [ -e "$base/done" ] || { rm -rf "$base"; debootstrap --variant=minbase \
    --include=ca-certificates,python3.11,python3-venv,netbase,tzdata bookworm "$base" "$mirror" \
    >"$work/debootstrap.log"; rm -rf "$base"/var/cache/apt/* "$base"/var/lib/apt/lists/*; touch "$base/done"; }
  cp /etc/apt/sources.list.d/debian.sources "$base/etc/apt/sources.list.d/" 2>/dev/null && rm -f "$base/etc/apt/sources.list" || :
  echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin"; };' >"$base/etc/apt/apt.conf.d/docker-clean"
  cp /usr/local/share/ca-certificates/*.crt "$base/usr/local/share/ca-certificates/" 2>/dev/null || :
  cp /etc/pip.conf "$base/etc/" 2>/dev/null || :
  chroot "$base" sh -c 'update-ca-certificates; for n in python python3; do ln -sf /usr/bin/python3.11 /usr/local/bin/$n; done' >/dev/null 2>&1
  local certs=/etc/ssl/certs/ca-certificates.crt path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  tar -C "$base" -c . | docker import --change "ENV LANG=C.UTF-8 SSL_CERT_FILE=$certs PIP_CERT=$certs PATH=$path" - "$1" >/dev/null
}

kafka() {
  rm -rf "$work/kafka" && cp -r "$here/kafka" "$work/kafka" && cp -rL "$root/.jars/kafka" "$work/kafka/libs"
  build "$1" "$work/kafka"
}

mlflow() {
  build "$1" - <<DOCKERFILE
FROM $PYTHON
RUN python3 -m venv /opt/mlflow && /opt/mlflow/bin/pip install --quiet --no-cache mlflow==${1##*:v}
ENV PATH=/opt/mlflow/bin:/usr/local/bin:/usr/bin:/bin
DOCKERFILE
}

prometheus() {
  build "$1" - <<DOCKERFILE
FROM $PYTHON
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus wget && rm -rf /var/lib/apt/lists/* \\
 && mkdir -p /prometheus && chown nobody:nogroup /prometheus
USER nobody
WORKDIR /prometheus
VOLUME ["/prometheus"]
ENTRYPOINT ["/usr/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
DOCKERFILE
}

PYTHON=$(sed -n 's/^FROM \(python:[^ ]*\).*/\1/p' "$root/Dockerfile" | head -n 1)
mkdir -p "$work"
for image in "$@"; do
  case $image in
    python:*) python "$image" ;;
    apache/kafka:*) kafka "$image" ;;
    */mlflow:*) mlflow "$image" ;;
    prom/prometheus:*) prometheus "$image" ;;
    *) echo "no stand-in for $image"; exit 3 ;;
  esac
done
