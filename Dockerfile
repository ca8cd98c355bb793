# syntax=docker/dockerfile:1
# docker build -t video-events .                       for CPUs
# docker build -t video-events --build-arg EXTRA=gpu . with TensorFlow's CUDA libraries (run with --gpus all)

FROM python:3.11-slim-bookworm AS build
ARG EXTRA=
WORKDIR /src
RUN python -m venv /opt/video-events
COPY pyproject.toml ./
# In a layer of their own, which is kept while the code alone changes.
RUN python -c 'import os, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    extras = [project["optional-dependencies"][name] for name in os.environ["EXTRA"].split(",") if name]; \
    print(*project["dependencies"], *sum(extras, []), sep="\n")' > requirements.txt && \
    /opt/video-events/bin/pip install --no-cache-dir -r requirements.txt
COPY README.md LICENSE ./
COPY service service
COPY models models
RUN /opt/video-events/bin/pip install --no-cache-dir ".${EXTRA:+[$EXTRA]}"

FROM python:3.11-slim-bookworm
RUN useradd --no-log-init --uid 10001 --user-group --create-home --home-dir /var/lib/video-events video-events
COPY --from=build /opt/video-events /opt/video-events
# The loopback of a container is reached by nobody, also where `serve` is given with flags of one's own.
ENV PATH=/opt/video-events/bin:$PATH PYTHONUNBUFFERED=1 VIDEO_EVENTS_HOST=0.0.0.0 \
    VIDEO_EVENTS_DATA=/var/lib/video-events/data VIDEO_EVENTS_LEARNED=/var/lib/video-events/learned
USER 10001:10001
WORKDIR /var/lib/video-events
VOLUME /var/lib/video-events
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import os, urllib.request; port = os.environ.get('VIDEO_EVENTS_PORT', '8000'); \
    urllib.request.urlopen('http://127.0.0.1:' + port + '/healthz', timeout=4)"]
ENTRYPOINT ["video-events"]
CMD ["serve"]
