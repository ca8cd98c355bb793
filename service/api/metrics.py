"""Figures for Prometheus, one registry per app."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.clips.records import ClipState
from service.event_log import LoggedMessage
from service.histogram import Histogram as Counted
from service.types import StreamState

if TYPE_CHECKING:
    from service.api.state import Services


class Metrics:
    """What is counted as it happens; the rest is read off when asked for (``_Observed``)."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each, for nobody
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "video_events_http_requests",
            "Requests answered; WS are WebSockets, taken (101) or refused.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "video_events_http_request_seconds",
            "Time to answer a request.",
            ("route",),
            registry=self.registry,
        )
        self.messages = Counter(
            "video_events_messages", "Messages in the life of events.", ("phase",), registry=self.registry
        )
        self.refused = Counter(
            "video_events_uploads_refused",
            "Uploads that were not taken.",
            ("status",),
            registry=self.registry,
        )

    def count(self, logged: LoggedMessage) -> None:
        """A listener of the event log."""
        self.messages.labels(logged.message.phase.value).inc()

    def observe(self, services: Services) -> None:
        self.registry.register(_Observed(services))


class _Observed(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        clips = self._services.clips.all()
        by_state = GaugeMetricFamily("video_events_clips", "Clips by state.", labels=["state"])
        for state in ClipState:
            by_state.add_metric([state.value], sum(clip.state is state for clip in clips))
        yield by_state
        yield from self._streams()
        yield from self._inference()
        yield from self._webhooks()
        for name, text, value in (
            ("clip_bytes", "Bytes that clips take.", sum(clip.size for clip in clips)),
            (
                "clip_fps",
                "Frames per second of running clips.",
                sum(clip.fps or 0.0 for clip in clips if clip.state is ClipState.RUNNING),
            ),
            ("log_position", "Newest position of the event log.", self._services.feed.last),
            ("subscribers", "Open subscriptions to events and labels.", self._services.subscribers.taken),
            ("viewers", "Who watches live pictures.", self._services.viewers.taken),
            ("model_ready", "Whether the model is loaded and warm.", self._services.inference.is_ready),
        ):
            yield GaugeMetricFamily(f"video_events_{name}", text, value=float(value))
        yield CounterMetricFamily(
            "video_events_subscriber_catch_ups",
            "Times a subscriber read on from the log.",
            value=float(self._services.feed.catch_ups),
        )

    def _inference(self) -> Iterator[Metric]:
        admission, figures = self._services.streams.admission, self._services.inference.statistics
        values = [
            ("demand", "Classifications per second that all streams want.", admission.demand),
            ("promised", "Classifications per second that streams have a claim to.", admission.promised),
        ]
        inference = self._services.inference
        values += [
            ("standby_ready", "Whether another process would take over at once.", inference.has_standby),
        ]
        if admission.capacity is not None:
            values.append(
                ("capacity", "Inputs per second that the network takes, as measured.", admission.capacity)
            )
        if figures:
            values += [
                ("clients", "Streams and clips that the network serves.", figures.clients),
                ("depth", "Inputs that wait for the network.", figures.depth),
            ]
        for name, text, value in values:
            yield GaugeMetricFamily(f"video_events_inference_{name}", text, value=float(value))
        yield CounterMetricFamily(
            "video_events_inference_restarts",
            "Times that a process of the network died or hung.",
            value=float(inference.restarts),
        )
        if not figures:
            return
        for name, text, count in (
            ("refused", "Clients for which the network had no place.", figures.refused),
            ("lost_inputs", "Inputs that waited when their client went away.", figures.lost_inputs),
            ("retried_inputs", "Inputs handed in anew after a process had failed.", figures.retried_inputs),
        ):
            yield CounterMetricFamily(f"video_events_inference_{name}", text, value=float(count))
        for name, text, histogram in (
            ("batch_seconds", "Time that a batch takes.", figures.batch_seconds),
            ("live_wait_seconds", "Time from a stream's call to its batch.", figures.live_wait_seconds),
            ("upload_wait_seconds", "Time from a clip's call to its batch.", figures.upload_wait_seconds),
        ):
            yield HistogramMetricFamily(
                f"video_events_inference_{name}", text, _buckets(histogram), histogram.total
            )

    def _webhooks(self) -> Iterator[Metric]:
        hooks = self._services.webhooks.counts
        for figure, text in (
            ("delivered", "Messages that were taken."),
            ("failed", "Attempts at a delivery that failed."),
            ("dead", "Messages that were given up."),
            ("forgotten", "Messages deleted from the log before they could be sent."),
        ):
            counter = CounterMetricFamily(f"video_events_webhook_{figure}", text, labels=["webhook"])
            for name, counts in hooks.items():
                counter.add_metric([name], float(getattr(counts, figure)))
            yield counter
        position = GaugeMetricFamily(
            "video_events_webhook_position", "Up to where in the log it is done.", labels=["webhook"]
        )
        for name, counts in hooks.items():
            position.add_metric([name], float(counts.position))
        yield position

    def _streams(self) -> Iterator[Metric]:
        streams = [(stream.definition.name, stream.status) for stream in self._services.streams.all()]
        state = GaugeMetricFamily(
            "video_events_stream_state", "1 for the state that a stream is in.", labels=["stream", "state"]
        )
        for name, status in streams:
            for one in StreamState:
                state.add_metric([name, one.value], status.state is one)
        yield state
        for figure, text in (
            ("fps", "Frames that arrive per second."),
            ("classified_fps", "Frames classified per second."),
            ("inference_seconds", "Mean time that a classification takes."),
            ("frame_age", "Seconds from the capture of a frame to its label."),
            ("asked_rate", "Classifications per second that the stream wants."),
            ("granted_rate", "Classifications per second that it may have at present."),
        ):
            family = GaugeMetricFamily(f"video_events_stream_{figure}", text, labels=["stream"])
            for name, status in streams:
                value = getattr(status, figure)
                if value is not None:
                    family.add_metric([name], float(value))
            yield family
        for figure, text in (
            ("frames", "Frames that have arrived."),
            ("dropped", "Frames that came too fast to be classified or shown."),
            ("restarts", "Times that the stream's process ended and was started again."),
            ("classified", "Frames that went through the network."),
            ("reused", "Frames not classified, because they look like the last one that was."),
        ):
            counter = CounterMetricFamily(f"video_events_stream_{figure}", text, labels=["stream"])
            for name, status in streams:
                counter.add_metric([name], float(getattr(status, figure)))
            yield counter
        depth = GaugeMetricFamily(
            "video_events_stream_queue_depth", "Steps of events that wait for the disk.", labels=["stream"]
        )
        latency = HistogramMetricFamily(
            "video_events_stream_label_seconds",
            "Time from the capture of a frame to its label.",
            labels=["stream"],
        )
        for stream in self._services.streams.all():
            depth.add_metric([stream.definition.name], float(stream.queue_depth))
            histogram = stream.latency.histogram()
            latency.add_metric([stream.definition.name], _buckets(histogram), histogram.total)
        yield depth
        yield latency

    def describe(self) -> list[Metric]:
        return []


def _buckets(counted: Counted) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them."""
    bounds = (*map(str, counted.bounds), "+Inf")
    return list(zip(bounds, accumulate(map(float, counted.counts)), strict=True))
