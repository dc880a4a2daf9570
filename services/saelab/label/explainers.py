"""A registry of what gives features their labels. Each is a file of its own that registers itself here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from services.saelab.errors import SaeLabError
from services.saelab.journal import Journal
from services.saelab.label.workbench import Workbench
from services.saelab.label_table import LONGEST, NO_SOURCE, UNLABELLED, Label, shortened


@dataclass(frozen=True, slots=True)
class ExplainerSettings:
    """Which explainer, and what it needs."""

    name: str = "offline"
    model: str = ""
    """Of a model or an endpoint: which one."""
    url: str = ""
    """Of an endpoint: its base, such as http://127.0.0.1:8000/v1."""
    key: str = ""
    """Of an endpoint: what it asks for; never stored."""
    titles: Path | None = None
    """Offline: folder of the corpus whose encyclopaedia gives titles; None for none."""
    concurrency: int = 8
    """Questions asked side by side."""
    deadline: float = 60.0
    """Seconds that an answer may take."""
    retries: int = 4
    """So often a question is asked again when the endpoint is busy or breaks off."""


class Explainer(Protocol):
    """Gives labels."""

    @property
    def source(self) -> str:
        """What the labels name as their source."""
        ...

    def explain(self, features: Sequence[int]) -> Iterator[Label]:
        """A label for each feature, in any order; one with an empty text where there is nothing to go by."""
        ...


Factory = Callable[[Workbench, ExplainerSettings], Explainer]
EXPLAINERS: dict[str, Factory] = {}


def explainer(name: str) -> Callable[[Factory], Factory]:
    """Registers an explainer. Raises ValueError where the name is taken."""
    if name in EXPLAINERS:
        raise ValueError(f"explainer {name!r} is registered already")

    def register(factory: Factory) -> Factory:
        EXPLAINERS[name] = factory
        return factory

    return register


def make_explainer(bench: Workbench, settings: ExplainerSettings) -> Explainer:
    """The explainer of that name. Raises SaeLabError, listing the choices."""
    if settings.name not in EXPLAINERS:
        raise SaeLabError(f"no explainer {settings.name!r}; known: {', '.join(sorted(EXPLAINERS))}")
    return EXPLAINERS[settings.name](bench, settings)


def explain_all(bench: Workbench, made: Explainer, features: Sequence[int]) -> list[Label]:
    """A label for each of the features, in order; those that a killed run gave are not made again.

    Raises RunMismatch where the journal is of a run with other settings.
    """
    name = "".join(sign if sign.isalnum() else "-" for sign in made.source)
    run = {"source": made.source, "weights": bench.sae.weights_digest, **bench.settings.run()}
    journal = Journal(bench.settings.work / f"labels-{name}.jsonl", run)
    try:
        labels = {label.index: label for label in map(_label, journal.rows)}
        missing = [feature for feature in features if feature not in labels]
        bench.report("features labelled", len(features) - len(missing), len(features))
        for done, label in enumerate(made.explain(missing), len(features) - len(missing) + 1):
            journal.add([asdict(label) | {"created": label.created.isoformat()}])
            labels[label.index] = label
            bench.report("features labelled", done, len(features))
    finally:
        journal.close()
    return [labels[feature] for feature in features]


def _label(row: dict[str, Any]) -> Label:
    return Label(**row | {"created": datetime.fromisoformat(row["created"])})


def now() -> datetime:
    """The time, as labels have it."""
    return datetime.now(UTC).replace(microsecond=0)


def unexplained(feature: int, evidence: str, description: str) -> Label:
    """What stands in place of a label where there is too little to go by."""
    text = UNLABELLED + shortened(evidence, LONGEST - len(UNLABELLED))
    return Label(feature, text, description, NO_SOURCE, created=now())
