"""What an auto-steer job asks for and what comes of it: plain values. progress.py has what it says while it runs.

`codec.to_json` and `codec.from_json` turn each of them into JSON and back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from services.steering.conditions import FeatureKey
from services.steering.edits import Edit


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads: a chat, or plain text where `messages` is empty."""

    messages: tuple[Message, ...] = ()
    text: str = ""

    @classmethod
    def ask(cls, question: str) -> Prompt:
        """A chat of one question."""
        return cls((Message("user", question),))

    @property
    def question(self) -> str:
        """What is asked: the last user message, or the text."""
        said = [message.content for message in self.messages if message.role == "user"]
        return said[-1] if said else self.text


class Tier(StrEnum):
    """How much is tried; tiers.py holds the numbers."""

    QUICK = "quick"
    DEFAULT = "default"
    THOROUGH = "thorough"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be tried, and for how long."""

    tier: Tier = Tier.DEFAULT
    seconds: float | None = None
    """The job ends within so many seconds of work and says what was cut short; None: the tier's own limit."""


@dataclass(frozen=True, slots=True)
class JudgeChoice:
    """Who judges."""

    name: str = "offline"
    """A name of the registry: `offline`, `openai` (a chat endpoint with a rubric) or `http` (the user's own scorer)."""
    endpoint: str = ""
    """Base URL of the OpenAI-compatible API, or URL of the scorer."""
    model: str = ""
    """The model that the endpoint is asked for."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What is wanted."""

    behavior: str = ""
    """In words; may be empty where examples are given."""
    positive: tuple[Prompt, ...] = ()
    """Texts that show it."""
    negative: tuple[Prompt, ...] = ()
    """Texts that do not."""
    prompts: tuple[Prompt, ...] = ()
    """Prompts to tune and validate on; drafted where there are none."""
    model: str = ""
    """Empty means the only one served."""
    sae: str = ""
    """Empty means the model's only one."""
    max_features: int = 3
    """Edits of the result at most, 1 to 5."""
    max_trials: int = 0
    """Trials of the search at most; 0: the tier's number."""
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    """The same seed gives the same trials."""
    judge: JudgeChoice = field(default_factory=JudgeChoice)
    temperature: float = 0.7
    """Of every generation."""
    max_tokens: int = 0
    """Tokens of a sample; 0: the tier's number."""


class Stage(StrEnum):
    """The stages of a job, in order."""

    DRAFT = "draft"
    RETRIEVE = "retrieve"
    CAUSAL = "causal"
    SCREEN = "screen"
    CEILING = "ceiling"
    SEARCH = "search"
    VALIDATE = "validate"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A feature that may bring the behaviour about, and what is known of it so far."""

    feature: FeatureKey
    label: str
    sources: tuple[str, ...]
    """How it was found: `search`, `contrast`, `neighbor`."""
    score: float
    """By which the last stage ranked it."""
    density: float = 0.0
    """Share of tokens on which it is active."""
    similarity: float | None = None
    """Of its label to the behaviour."""
    effect_size: float | None = None
    """Of its activation on positive against negative texts."""
    auroc: float | None = None
    """Of telling positive from negative texts."""
    output_score: float | None = None
    """Nats by which a nudge raises the tokens that it promotes, over others."""
    steerability: float | None = None
    """How far a fluent nudge made texts be about it, where that was tried before."""
    lift: float | None = None
    """Nats a token by which a nudge makes the positive texts likelier than the negative ones."""
    sign: int = 1
    """1: nudged up, -1: down."""
    ceiling: float | None = None
    """The largest strength that stays coherent, as a fraction of the median residual norm."""
    promoted: tuple[str, ...] = ()
    """Tokens that it promotes."""
    top_hit: bool = False
    """Whether it is the first hit of a search for the behaviour: what a person would take by hand."""
    meaning: float = 0.0
    """What it scored before anything was tried."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One text and its scores in 0..1."""

    prompt: str
    """The question that it answers."""
    seed: int
    text: str
    score: float
    """Harmonic mean of the three, 0 if any is 0."""
    adherence: float
    relevance: float
    fluency: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting of edits that the search tried: means over its samples."""

    number: int
    edits: tuple[Edit, ...]
    score: float
    adherence: float
    relevance: float
    fluency: float
    samples: tuple[Sample, ...]
    pruned: bool = False
    """Whether the race left it before all prompts were seen."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % bootstrap interval over prompts."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of answering the held-out prompts."""

    name: str
    """`steered 1` to `steered 3`, `unsteered`, `system prompt`, `random feature`, `wrong sign`."""
    edits: tuple[Edit, ...]
    score: Interval
    adherence: Interval
    relevance: Interval
    fluency: Interval
    samples: tuple[Sample, ...]
    trial: int | None = None
    """The trial whose edits these are."""


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much the best steered arm's score lies above another arm's, prompt by prompt."""

    arm: str
    over: str
    score: Interval


@dataclass(frozen=True, slots=True)
class Validation:
    """All arms on prompts that nothing was tuned on."""

    prompts: tuple[str, ...]
    arms: tuple[Arm, ...]
    differences: tuple[Difference, ...]


class Decision(StrEnum):
    """What to do with the result."""

    USE = "use"
    PROMPT_INSTEAD = "prompt_instead"
    NO_SAFE_STEER = "no_safe_steer"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and why in words."""

    decision: Decision
    reason: str


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """Who judged, and how far it agrees with the gold set."""

    name: str
    agreement: float | None
    """Share of gold pairs that it ranks as people do, ties counted half; None where it was not asked."""
    pairs: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job."""

    best: Trial | None
    pareto: tuple[Trial, ...]
    """Trials that no other one surpasses in adherence, relevance and fluency together."""
    validation: Validation | None
    verdict: Verdict
    judge: JudgeReport
    labels: dict[str, str]
    """Labels of all features of `best` and `pareto`, by `sae/index`."""
    cut_short: tuple[str, ...] = ()
    """What the budget left out, in words."""
    seconds: float = 0.0
    """Time that it worked."""
