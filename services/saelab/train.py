"""Training a BatchTopK SAE on collected activations; resumable, the same result however often it was killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.saelab.batch_topk import Gradients, Parameters, Revival, data_init, gradients
from services.saelab.buffer import Buffer
from services.saelab.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from services.saelab.errors import SaeLabError
from services.saelab.shards import ShardFolder

CHECKPOINT = "checkpoint.safetensors"


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
        return {key: value for key, value in asdict(self).items() if key not in left_out}


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


@dataclass(frozen=True, slots=True)
class Trained:
    """What training gives: parameters in scaled units, and how to come back from them."""

    parameters: Parameters
    threshold: float
    scale: float
    """x = scale * h, so that E|x| = sqrt(d_model)."""
    curves: list[Metrics]
    seconds: float
    """Time spent training, in all runs together."""
    tokens_seen: int
    tokens_distinct: int


Progress = Callable[[Metrics, int], None]
"""Called with the newest metrics and the number of steps there will be."""


class Trainer:
    """A training run between two steps."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        folder = ShardFolder(settings.activations)
        self.run = settings.run() | {"activations": folder.run(), "shards": folder.indices()}
        self.buffer = Buffer(
            folder, settings.batch, settings.shards_in_memory, settings.epochs, settings.seed
        )
        self._path = settings.out / CHECKPOINT
        self.curves: list[Metrics] = []
        self.step, self.threshold, self.seconds = 0, 0.0, 0.0
        kept = load_checkpoint(self._path, self.run)
        parameters = self._from_checkpoint(kept) if kept else self._start()
        self.p = parameters
        self._optimiser = torch.optim.Adam(list(parameters.tensors().values()), lr=settings.learning_rate)
        if kept and self.step:
            self._restore_moments(kept)

    def _start(self) -> Parameters:
        settings = self.settings
        sample = self.buffer.sample(settings.init_shards)
        d_model = sample.shape[1]
        self.scale = math.sqrt(d_model) / float(sample.norm(dim=1).mean())
        sample *= self.scale
        self.variance = float((sample - sample.mean(0)).square().sum(1).mean())
        self.idle = torch.zeros(settings.features, dtype=torch.int64, device=settings.device)
        generator = torch.Generator().manual_seed(settings.seed)
        start = data_init(sample, settings.features, settings.k, settings.init_noise, generator)
        return Parameters(**{name: tensor.to(settings.device) for name, tensor in start.tensors().items()})

    def advance(self) -> Metrics:
        """Takes one step."""
        settings, p = self.settings, self.p
        x = self.buffer.batch(self.step).to(settings.device) * self.scale
        revival = None
        if len(dead := (self.idle >= settings.dead_tokens).nonzero()[:, 0]):
            revival = Revival(dead, settings.revival_k, settings.revival_weight)
        found = gradients(p, x, settings.k, 0.7 * self.threshold, revival)
        if not math.isfinite(found.loss):
            raise SaeLabError(f"the loss is {found.loss} at step {self.step}: lower the learning rate")
        self._update(found)
        self._count(found, len(x))
        self.step += 1
        return Metrics(
            step=self.step,
            loss=found.loss,
            variance_explained=1.0 - found.loss / self.variance,
            l0=len(found.active.values) / len(x),
            threshold=self.threshold,
            dead=len(dead) / settings.features,
        )

    def _update(self, found: Gradients) -> None:
        p, g = self.p, found.parameters
        g.W_dec.sub_(
            (g.W_dec * p.W_dec).sum(1, keepdim=True) * p.W_dec
        )  # Along the row changes only its norm.
        for name, tensor in p.tensors().items():
            tensor.grad = g.tensors()[name]
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * self.schedule(self.step)
        self._optimiser.step()
        p.normalise_decoder()

    def _count(self, found: Gradients, tokens: int) -> None:
        decay = self.settings.threshold_decay
        first = self.threshold == 0.0
        self.threshold = found.smallest if first else decay * self.threshold + (1 - decay) * found.smallest
        self.idle += tokens
        self.idle[found.active.columns] = 0

    def schedule(self, step: int) -> float:
        """The learning rate of a step as a share of the full one."""
        left = (self.buffer.steps - step) / max(1.0, self.settings.decay_share * self.buffer.steps)
        return min(1.0, (step + 1) / max(1, self.settings.warmup_steps), left)

    def save(self) -> None:
        """Writes the checkpoint."""
        tensors = {name: tensor.cpu() for name, tensor in self.p.tensors().items()} | {
            "idle": self.idle.cpu()
        }
        for name, tensor in self.p.tensors().items():
            for key, value in self._optimiser.state.get(tensor, {}).items():
                tensors[f"adam.{name}.{key}"] = value.cpu()
        state = {
            "step": self.step,
            "threshold": self.threshold,
            "seconds": self.seconds,
            "scale": self.scale,
            "variance": self.variance,
            "curves": [asdict(point) for point in self.curves],
        }
        self.settings.out.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self._path, Checkpoint(tensors, state), self.run)

    def _from_checkpoint(self, kept: Checkpoint) -> Parameters:
        device = self.settings.device
        self.step, self.threshold = kept.state["step"], kept.state["threshold"]
        self.seconds, self.scale, self.variance = (
            kept.state[key] for key in ("seconds", "scale", "variance")
        )
        self.curves = [Metrics(**point) for point in kept.state["curves"]]
        self.idle = kept.tensors["idle"].to(device)
        return Parameters(
            **{name: kept.tensors[name].to(device) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
        )

    def _restore_moments(self, kept: Checkpoint) -> None:
        for name, tensor in self.p.tensors().items():
            prefix = f"adam.{name}."
            moments: dict[str, Tensor] = {
                key.removeprefix(prefix): value
                for key, value in kept.tensors.items()
                if key.startswith(prefix)
            }
            self._optimiser.state[tensor] = {
                key: value if key == "step" else value.to(tensor.device) for key, value in moments.items()
            }


def train(
    settings: TrainSettings, progress: Progress = lambda metrics, steps: None, stop_at: int | None = None
) -> Trained:
    """Trains from the last checkpoint, or from the start, to the end (or to a step); the last step is checkpointed.

    Raises CorruptShard, RunMismatch, SaeLabError.
    """
    torch.set_num_threads(settings.threads)
    trainer = Trainer(settings)
    end = min(trainer.buffer.steps, stop_at or trainer.buffer.steps)
    every = max(1, trainer.buffer.steps // 400)
    started = saved = time.monotonic()
    with torch.no_grad():
        while trainer.step < end:
            metrics = trainer.advance()
            if metrics.step % every == 0 or metrics.step == end:
                trainer.curves.append(metrics)
                progress(metrics, trainer.buffer.steps)
            now = time.monotonic()
            if now - saved >= settings.checkpoint_seconds or metrics.step == end:
                trainer.seconds += now - started
                started = saved = now
                trainer.save()
    return Trained(
        trainer.p,
        trainer.threshold,
        trainer.scale,
        trainer.curves,
        trainer.seconds,
        trainer.step * settings.batch,
        trainer.buffer.tokens,
    )
