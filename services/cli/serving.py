"""Settings of the processes that are started, from options and from the environment."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from services.autosteer.settings import AutoSteerSettings
from services.cli.failures import fail
from services.features.settings import FeaturesSettings
from services.gateway.settings import GatewaySettings
from services.inference.settings import InferenceSettings
from services.rpc.telemetry import TelemetrySettings

S = TypeVar("S", bound=BaseSettings)


def inference_settings(**given: Any) -> InferenceSettings:
    """The inference service's; see `_settings_of`."""
    return _settings_of(InferenceSettings, "--", given)


def features_settings(**given: Any) -> FeaturesSettings:
    """The features process's; see `_settings_of`."""
    return _settings_of(FeaturesSettings, "--features-", given)


def autosteer_settings(**given: Any) -> AutoSteerSettings:
    """Auto-steer's server's and worker's; see `_settings_of`."""
    return _settings_of(AutoSteerSettings, "--autosteer-", given)


def gateway_settings(**given: Any) -> GatewaySettings:
    """The gateway's; see `_settings_of`."""
    return _settings_of(GatewaySettings, "--gateway-", given)


def telemetry_settings(**given: Any) -> TelemetrySettings:
    """What all processes tell of themselves; see `_settings_of`."""
    return _settings_of(TelemetrySettings, "--", given)


def _settings_of(kind: type[S], options: str, given: dict[str, Any]) -> S:
    """The settings: what is given counts, then the process's variables, then the defaults. None is not given.

    `options` is what options begin with that set them, for errors.
    """
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        by_option = given.get(name) is not None
        where = f"{options}{name.replace('_', '-')}" if by_option else variable(kind, name)
        fail(f"{where}: {first['msg']}, not {first['input']!r}.")


def variable(kind: type[BaseSettings], name: str) -> str:
    """The environment variable of a setting."""
    return f"{kind.model_config['env_prefix']}{name.upper()}"


def environment_of(settings: BaseSettings, names: set[str] | None = None) -> dict[str, str]:
    """The variables that give a child process these settings, or those of `names`. Secrets it has from this process."""
    values = settings.model_dump(mode="json", exclude_none=True, include=names)
    return {
        variable(type(settings), name): value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
