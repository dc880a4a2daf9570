"""The client for programs without an event loop; `async_client.py` is the same with one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

import grpc

from hearth_client import operations as op
from hearth_client.answers import (
    Attribution,
    AutoCondition,
    AutoSteered,
    ChatMessage,
    Contrast,
    Inspection,
    Prompt,
    SavedVariant,
)
from hearth_client.channel import Mesh
from hearth_client.chat import Chat
from hearth_client.features import Feature, FeatureGroup
from hearth_client.running import Runner, Stubs
from hearth_client.v1.feature_service_pb2 import FeatureFilter
from hearth_client.v1.inference_service_pb2 import Model
from hearth_client.variant import Variant


class Features:
    """The catalogue of features, and where they are active."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def search(
        self, query: str, model: str | Variant = "", top_k: int = 10, *, which: FeatureFilter | None = None
    ) -> FeatureGroup:
        """Features by meaning and by word, best first; `which` leaves out those that do not count."""
        return self._runner.run(op.search(self._runner.session, query, model, top_k, which))

    def rerank(
        self, features: Iterable[Feature], query: str, model: str | Variant = "", top_k: int = 10
    ) -> FeatureGroup:
        """Features in order of how well their labels fit a query."""
        return self._runner.run(op.rerank(self._runner.session, features, query, model, top_k))

    def neighbors(
        self, features: Feature | Iterable[Feature], model: str | Variant = "", top_k: int = 10
    ) -> FeatureGroup:
        """Features that push the model in directions similar to one, or to the centre of several."""
        return self._runner.run(op.neighbors(self._runner.session, _several(features), model, top_k))

    def lookup(self, indices: Iterable[int], model: str | Variant = "") -> dict[int, Feature]:
        """Features by their index in the SAE."""
        return self._runner.run(op.lookup(self._runner.session, indices, model))

    def inspect(
        self,
        messages: Prompt,
        model: str | Variant = "",
        features: Feature | Iterable[Feature] = (),
        *,
        top_k: int = 0,
    ) -> Inspection:
        """Which features are active at each token: all, or those given; with `top_k`, the strongest of each token."""
        return self._runner.run(op.inspect(self._runner.session, messages, model, _several(features), top_k))

    def contrast(
        self,
        dataset_1: Sequence[Sequence[ChatMessage]],
        dataset_2: Sequence[Sequence[ChatMessage]],
        model: str | Variant = "",
        top_k: int = 5,
    ) -> Contrast:
        """Features that tell two sets of chats apart; unpacks into those of the first and those of the second."""
        return self._runner.run(op.contrast(self._runner.session, dataset_1, dataset_2, model, top_k))

    def attribute(
        self, messages: Prompt, index: int, model: str | Variant = "", *, top_k: int = 0
    ) -> Attribution:
        """Features that made the token at `index` likely; negative ones count from the end."""
        return self._runner.run(op.attribute(self._runner.session, messages, index, model, top_k))


class Variants:
    """Variants that are kept on the server, each its owner's alone."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def create(self, name: str, variant: Variant, description: str = "") -> SavedVariant:
        """Saves a variant under a name that is not taken."""
        return self._runner.run(op.create_variant(self._runner.session, name, variant, description))

    def get(self, name: str = "", *, id: str = "") -> SavedVariant:  # noqa: A002
        """A variant, by name or by id."""
        return self._runner.run(op.get_variant(self._runner.session, name, id))

    def list(self, *, deleted: bool = False) -> list[SavedVariant]:
        """All of the owner's, newest first."""
        return self._runner.run(op.list_variants(self._runner.session, deleted))

    def update(self, saved: SavedVariant, variant: Variant) -> SavedVariant:
        """Puts another variant in the place of one, unless somebody changed it since it was read."""
        return self._runner.run(op.update_variant(self._runner.session, saved, variant))

    def delete(self, saved: SavedVariant) -> SavedVariant:
        """Puts a variant aside, unless somebody changed it since it was read."""
        return self._runner.run(op.delete_variant(self._runner.session, saved))


class Client:
    """A client of a mesh. It connects at the first call, may be shared by threads, and is closed after use.

    `api_key` is sent as a bearer token; `owner` says on whose behalf calls are made where no key does. `deadline` is in
    seconds, for each call; each method has its own unless it is given. `wait` is in seconds too: so long a call is
    tried again that the server refuses with a time to come back (a full queue, a used quota); then its error is raised.
    """

    def __init__(
        self,
        api_key: str = "",
        *,
        mesh: Mesh | None = None,
        owner: str = "",
        sae: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        deadline: float | None = None,
        wait: float = 0.0,
    ) -> None:
        self._bind(Runner(mesh or Mesh(), credentials, op.Options(api_key, owner, sae, deadline, wait)))

    def _bind(self, runner: Runner) -> None:
        self._runner = runner
        self.chat, self.features, self.variants = Chat(runner), Features(runner), Variants(runner)

    @property
    def stubs(self) -> Stubs:
        """gRPC's own stubs, for what this client does not wrap; send `metadata` and a timeout with each call."""
        return self._runner.stubs

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return self._runner.options.metadata

    def with_options(
        self, *, deadline: float | None = None, wait: float | None = None, sae: str | None = None
    ) -> Self:
        """The same client with other options; it shares the connection."""
        made = copy.copy(self)
        made._bind(self._runner.having(deadline=deadline, wait=wait, sae=sae))
        return made

    def models(self) -> list[Model]:
        """The models that are served, with their SAEs."""
        return self._runner.run(self._runner.session.listed())

    def autosteer(
        self,
        specification: str,
        model: str | Variant = "",
        *,
        tier: op.Tier = "quick",
        max_features: int | None = None,
        budget: float | None = None,
        seed: int | None = None,
        on_event: op.Told | None = None,
    ) -> AutoSteered:
        """Edits that make the model behave as described, with a verdict; `budget` is in seconds.

        `on_event` is told what happens meanwhile. The job ends with the call: Ctrl-C cancels it.
        """
        return self._runner.run(
            op.autosteer(
                self._runner.session,
                specification,
                model,
                tier=tier,
                max_features=max_features,
                budget=budget,
                seed=seed,
                on_event=on_event,
            )
        )

    def autoconditional(
        self,
        specification: str,
        model: str | Variant = "",
        *,
        max_features: int | None = None,
        seed: int | None = None,
    ) -> AutoCondition:
        """A condition that holds where a text is about something, and how well it does on other texts."""
        return self._runner.run(
            op.autoconditional(
                self._runner.session, specification, model, max_features=max_features, seed=seed
            )
        )

    def close(self) -> None:
        """Ends the connection, and calls that still run."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _several(features: Feature | Iterable[Feature]) -> Iterable[Feature]:
    return (features,) if isinstance(features, Feature) else features
