# syntax=docker/dockerfile:1

# For a build that can be repeated to the byte: --build-arg PYTHON_IMAGE=python:3.12-slim@sha256:…
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv /opt/venv
COPY requirements.txt ./
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
COPY setup.py setup.cfg MANIFEST.in README.md LICENSE ./
COPY prompts ./prompts
COPY codexproxy ./codexproxy
RUN /opt/venv/bin/pip install --no-cache-dir --no-build-isolation --no-deps .

FROM ${PYTHON_IMAGE}
# Named volumes take their owner from these folders.
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin codexproxy \
    && install -d -m 0700 -o codexproxy -g codexproxy /data /logs
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv/codexproxy
COPY wsgi.py gunicorn.conf.py ./
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/data \
    DATA_DIR=/data \
    CODEX_CALLBACK_HOST=0.0.0.0
USER 10001
VOLUME ["/data", "/logs"]
EXPOSE 3000 1455
# Streams get 27 seconds to finish: `docker stop --time 40`, or `stop_grace_period` as in docker-compose.yml.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=5s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '3000') + '/health', timeout=9)"]
CMD ["gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
