"""The recipe of a training run: its settings, and what is measured while it goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """The recipe. The defaults are the one that won on the embedded model."""

    activations: Path
    """Folder of the shards."""
    out: Path
    """Folder of the run: checkpoint, curves."""
    features: int = 4096
    """Size of the dictionary."""
    k: int = 32
    """Active features a token, on average."""
    batch: int = 512
    """Tokens a step. Small batches won: more steps for the same tokens."""
    epochs: int = 1
    """Passes over the activations."""
    learning_rate: float = 6e-4
    """Adam's."""
    warmup_steps: int = 80
    """The learning rate rises over so many steps."""
    decay_share: float = 0.3
    """It falls to zero over this last share of the steps."""
    init_noise: float = 0.2
    """Share of noise in the first decoder rows; the rest is the direction of a random token from the mean."""
    init_shards: int = 4
    """Shards that the start (mean, scale, decoder rows) is computed from."""
    dead_tokens: int = 300_000
    """A feature that was not active over so many tokens is dead: the auxiliary loss acts on it."""
    revival_k: int = 256
    """Dead features that reconstruct each token's error in the auxiliary loss."""
    revival_weight: float = 1 / 32
    """Weight of the auxiliary loss."""
    threshold_decay: float = 0.99
    """Of the moving average of the smallest chosen activation, which becomes the JumpReLU threshold."""
    prefixes: tuple[int, ...] = ()
    """Sizes of the nested dictionaries of a Matryoshka SAE, but for the whole one; none: a plain SAE."""
    max_density: float = 0.0
    """No feature is to be active on a larger share of tokens; 0: no cap. How: services/saelab/density.py."""
    first_shards: int = 0
    """Train on so many first shards of the folder; 0: on all that are there when the run starts."""
    heldout_shards: int = 0
    """Last shards that are not trained on: the curves show how the SAE does on a sample of them."""
    shards_in_memory: int = 80
    """Tokens of so many shards are mixed; 16,384 tokens of 576 dimensions take 19 MB."""
    seed: int = 0
    """Of the start and the order of tokens."""
    device: str = "cpu"
    """Where to compute: cpu, cuda."""
    threads: int = 2
    """CPU threads."""
    checkpoint_seconds: float = 45.0
    """A killed run loses so much at most."""

    def run(self) -> dict[str, Any]:
        """What decides the result."""
        left_out = ("activations", "out", "device", "threads", "checkpoint_seconds")
        settings = {key: value for key, value in asdict(self).items() if key not in left_out}
        return settings | {"prefixes": list(self.prefixes)}  # as it is read back from JSON


@dataclass(frozen=True, slots=True)
class Metrics:
    """One point of the curves, of one training batch."""

    step: int
    loss: float
    """Squared error a token, in scaled units: sqrt(d_model) is the mean norm of x."""
    variance_explained: float
    l0: float
    """Active features a token in this batch under BatchTopK."""
    threshold: float
    """Moving average, in scaled units."""
    dead: float
    """Share of features that are dead."""
    heldout_variance_explained: float | None = None
    """Of tokens that are not trained on, encoded as the saved SAE will: by the threshold. None where not measured."""
    heldout_l0: float | None = None
    """Active features a token there."""
