"""What every process tells those who run it, if asked to: metrics for Prometheus, traces for OpenTelemetry."""

from __future__ import annotations

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TelemetrySettings(BaseSettings):
    """Each field is an environment variable that all processes read: HEARTH_METRICS_PORT, HEARTH_TRACES ...

    What else OpenTelemetry's own variables say (OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER,
    OTEL_EXPORTER_OTLP_HEADERS ...), its library reads itself.
    """

    model_config = SettingsConfigDict(
        env_prefix="HEARTH_", frozen=True, populate_by_name=True, env_ignore_empty=True
    )

    metrics_host: str = "127.0.0.1"
    """The interface that /metrics listens on; 0.0.0.0 for all."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """The port of /metrics, on which a process answers nothing else; 0 takes a free one, unset has none."""
    traces: bool | None = None
    """Whether spans are sent; unset sends them where `otlp_endpoint` is set."""
    otlp_endpoint: str = Field(
        default="",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """A collector that takes OTLP over gRPC, such as http://collector:4317; its own default is http://localhost:4317."""

    @property
    def sends_traces(self) -> bool:
        """Whether spans are made and sent."""
        return bool(self.otlp_endpoint) if self.traces is None else self.traces


def start(process: str, settings: TelemetrySettings | None = None) -> None:
    """Serves metrics and sends traces from now on, as far as the settings say so. `process` is its name in both.

    Called first: channels that are open already carry no trace. Exits with a message where it cannot listen.
    """
    from services.rpc import metrics, traces  # what only tells its settings loads neither

    chosen = settings or TelemetrySettings()
    metrics.serve_metrics(chosen, process)
    traces.start(chosen, process)
