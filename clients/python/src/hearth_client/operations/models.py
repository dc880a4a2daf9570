"""What is served: which SAE the features of a model are those of."""

from __future__ import annotations

from dataclasses import dataclass, field

from hearth_client.channel import metadata
from hearth_client.operations.methods import LIST_MODELS
from hearth_client.operations.steps import Operation, Patience
from hearth_client.v1 import inference_service_pb2 as pb
from hearth_client.variant import Variant


@dataclass(frozen=True, slots=True)
class Target:
    """The model and SAE of a call; empty names mean the only ones."""

    model: str
    sae: str
    has_scales: bool = True
    """Whether the SAE's activation scales are known; otherwise 1.0 raw is used."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a client calls; docs/clients.md of Hearth tells of each."""

    api_key: str = field(default="", repr=False)
    owner: str = ""
    sae: str = ""
    """The SAE whose features are meant; empty means each model's first."""
    deadline: float | None = None
    wait: float = 0.0

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return metadata(self.api_key, self.owner)


@dataclass(slots=True)
class Session:
    """What a client's operations share."""

    patience: Patience = field(default_factory=Patience)
    sae: str = ""
    models: list[pb.Model] = field(default_factory=list)
    """As last listed."""

    def listed(self) -> Operation[list[pb.Model]]:
        """All models that are served."""
        found: list[pb.Model] = []
        request = pb.ListModelsRequest()
        while True:
            page = yield from self.patience.ask(LIST_MODELS, request)
            found += page.models
            if not page.next_page_token:
                self.models[:] = found
                return found
            request.page_token = page.next_page_token

    def target(self, model: str | Variant) -> Operation[Target]:
        """The model and SAE that a call means. Models are listed once, and again for a name that is not known."""
        name = model.base_model if isinstance(model, Variant) else model
        if not self._named(name):
            yield from self.listed()
        saes = [sae for each in self._named(name) for sae in each.saes]
        for sae in saes:
            if sae.id == self.sae or not self.sae:
                return Target(name, sae.id, sae.has_scales)
        return Target(name, self.sae)  # the server says what is wrong with it

    def _named(self, name: str) -> list[pb.Model]:
        return [each for each in self.models if each.id == name or not name]


def as_variant(model: str | Variant) -> Variant:
    """A model with its edits; without any where only its name is given."""
    return model if isinstance(model, Variant) else Variant(model)
