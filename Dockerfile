# Three images from one file:
#   docker build -t userip .                          the service (the last stage, and the default); no torch in it
#   docker build -t userip-train --target train .     everything offline: simulate, prepare, train, publish
#   docker build -t userip-bench --target bench .     the load tests, with a redis-server
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/userip
ENV PATH=/opt/userip/bin:$PATH
# The requirements first: a change of the code does not install them again.
COPY requirements/base.txt requirements/build.txt requirements/
RUN pip install --require-hashes -r requirements/base.txt -r requirements/build.txt
# All that .dockerignore lets through: the rooms, and src/userip, which links to them.
COPY . .
# With the pinned setuptools: an isolated build would fetch one, unchecked.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .
RUN pip install --no-deps --no-index --find-links /wheel userip

# Not on top of the code, and a layer of its own: a change of the code neither installs nor moves torch again.
FROM python:${PYTHON}-slim-bookworm AS build-train
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/userip
ENV PATH=/opt/userip/bin:$PATH
COPY requirements/base.txt requirements/train.txt requirements/torch.txt requirements/
RUN pip install --require-hashes -r requirements/base.txt -r requirements/train.txt
# The CPU build of torch, at the pinned version. For a GPU: --build-arg TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --index-url "$TORCH_INDEX" -r requirements/torch.txt

FROM python:${PYTHON}-slim-bookworm AS train
RUN useradd --uid 10001 --create-home userip && install -d -o userip -g userip /runs
COPY --from=build-train /opt/userip /opt/userip
ENV PATH=/opt/userip/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
COPY --from=build /wheel /wheel
RUN pip install --no-deps --no-index --find-links /wheel userip
COPY deploy/train-and-publish.sh /usr/local/bin/train-and-publish
USER userip
WORKDIR /runs
VOLUME /runs
ENTRYPOINT ["userip"]
CMD ["--help"]

# On top of the train image, not copied again: torch would be in it twice.
FROM train AS bench
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o userip -g userip /report
WORKDIR /src
COPY requirements/load.txt requirements/
RUN pip install --require-hashes -r requirements/load.txt
WORKDIR /runs
USER userip
VOLUME /report
CMD ["bench", "--out", "/report"]

FROM python:${PYTHON}-slim-bookworm AS service
RUN useradd --uid 10001 --no-create-home userip
COPY --from=build /opt/userip /opt/userip
# Nothing is written outside /tmp: run it with a read-only root and a tmpfs there.
ENV PATH=/opt/userip/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    USERIP_HOST=0.0.0.0 USERIP_PORT=8000 USERIP_RELEASE_DIR=/release
USER userip
WORKDIR /tmp
EXPOSE 8000
# Alive, not ready: a service whose bank is away still answers, and must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-c", "import os, urllib.request as web; web.urlopen('http://127.0.0.1:' + os.environ['USERIP_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["userip", "serve"]
