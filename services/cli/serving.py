"""Settings of the inference process, from options and from the environment."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from services.cli.failures import fail
from services.inference.settings import InferenceSettings

PREFIX = "HEARTH_INFERENCE_"


def settings_of(**given: Any) -> InferenceSettings:
    """The settings: what is given counts, then HEARTH_INFERENCE_* variables, then the defaults. None is not given."""
    try:
        return InferenceSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        where = f"--{name.replace('_', '-')}" if given.get(name) is not None else f"{PREFIX}{name.upper()}"
        fail(f"{where}: {first['msg']}, not {first['input']!r}.")


def environment_of(settings: InferenceSettings) -> dict[str, str]:
    """The variables that give a child process these settings."""
    values = settings.model_dump(mode="json", exclude_none=True)
    return {
        f"{PREFIX}{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
