"""The models that this process serves, from the moment that they are loaded."""

from __future__ import annotations

from services.errors import InvalidField, ModelLoading, ModelNotServed
from services.inference.host import ModelHost

LOADING_RETRY_SECONDS = 2.0


class Hosts:
    """Served models by id."""

    def __init__(self) -> None:
        self._hosts: dict[str, ModelHost] = {}

    def add(self, host: ModelHost) -> None:
        """Serves a model from now on."""
        self._hosts[host.identity.id] = host

    def all(self) -> list[ModelHost]:
        """The models, in the order in which they came. Raises ModelLoading before the first."""
        if not self._hosts:
            raise ModelLoading("the model is still loading", retry_after=LOADING_RETRY_SECONDS)
        return list(self._hosts.values())

    def get(self, model: str) -> ModelHost:
        """The model of that id, or the only one where it is empty. Raises ModelNotServed."""
        hosts = self.all()
        if model in self._hosts:
            return self._hosts[model]
        if model:
            raise ModelNotServed(model, list(self._hosts))
        if len(hosts) > 1:
            raise InvalidField("model", f"several are served; name one of {', '.join(self._hosts)}")
        return hosts[0]
