# One image, two stages: wheels are built where a compiler may be, and installed where none is.
FROM python:3.11-slim-bookworm AS build

WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
# dkimpy, pyspf and authres are source distributions only: their wheels are made here.
RUN pip wheel --require-hashes --wheel-dir /wheels -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY mailrelay ./mailrelay
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm

# Compiled here, as the user it runs as could not keep it: a start, and each command, would compile all anew.
ENV PYTHONUNBUFFERED=1
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps /wheels/*.whl \
    && useradd --system --uid 10025 --home-dir /data --shell /usr/sbin/nologin mailrelay \
    && install -d -o mailrelay -g mailrelay -m 0700 /data
COPY config/docker.yaml /etc/mailrelay/mailrelay.yaml

USER 10025:10025
WORKDIR /data
VOLUME /data
EXPOSE 2525 2587 2465 8025 8026 9025
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["mailrelay", "check", "--ready", "--config", "/etc/mailrelay/mailrelay.yaml"]
ENTRYPOINT ["mailrelay"]
CMD ["run", "--config", "/etc/mailrelay/mailrelay.yaml"]
