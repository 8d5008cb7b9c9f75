# The agent as an image: see docs/image.md. Any base with Python 3.11 or newer, its venv module, glibc and CA
# certificates will do; nothing is installed but wheels whose hashes stand in requirements/.
ARG BASE_IMAGE=python:3.13-slim


FROM ${BASE_IMAGE} AS builder

# Hashes of what builds the wheel stand in dev.txt. Only a recent pip takes hashes from constraints, and which
# one the base comes with is not known: the pinned one is installed first.
WORKDIR /build
COPY requirements/ requirements/
ARG EXTRAS=otel
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all:
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    python3 -m venv tools \
    && sed -n '/^pip==/,/[^\\]$/p' requirements/dev.txt > pip.txt \
    && tools/bin/pip install -r pip.txt \
    && tools/bin/pip install -c requirements/dev.txt hatchling \
    && python3 -m venv --without-pip /opt/action-agent \
    && tools/bin/pip --python /opt/action-agent/bin/python install --no-compile -r requirements/${EXTRAS:-runtime}.txt

# Bytecode that is valid whatever times the files get: nothing can write it later, and layers may be rewritten.
COPY pyproject.toml README.md LICENSE ./
COPY agent/ agent/
RUN export PIP_REQUIRE_HASHES=0 PIP_NO_INDEX=1 PIP_NO_DEPS=1 \
    && tools/bin/pip wheel --no-build-isolation --wheel-dir wheels . \
    && tools/bin/pip --python /opt/action-agent/bin/python install --no-compile wheels/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/action-agent/lib


FROM ${BASE_IMAGE}

# The name is for ssh, git and others that ask who they are. State belongs to the root group too, for platforms
# that choose the user (OpenShift). /tmp is a volume like it, so that a read-only root needs no further options.
RUN groupadd --gid 10001 agent \
    && useradd --uid 10001 --gid agent --no-log-init --no-create-home --home-dir /tmp --shell /usr/sbin/nologin agent \
    && install --directory --owner=10001 --group=0 --mode=0770 /var/lib/action-agent \
    && install --directory --mode=0755 /etc/action-agent

COPY --from=builder /opt/action-agent /opt/action-agent

# Tries what was built, and leaves the bytecode of the standard library's modules that slim bases come without.
RUN /opt/action-agent/bin/action-agent schema > /dev/null

ENV PATH=/opt/action-agent/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AGENT_STATE_DIR=/var/lib/action-agent

# Routes, scripts and .env are looked for here. Made above: not every builder makes it, and later it may be too late.
WORKDIR /etc/action-agent

VOLUME ["/tmp", "/var/lib/action-agent"]
EXPOSE 8080
USER 10001:10001
ENTRYPOINT ["action-agent"]
CMD ["run"]

ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Action agent for Port" \
      org.opencontainers.image.description="Runs Port's self-service actions inside your network" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
