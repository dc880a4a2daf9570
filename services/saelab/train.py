"""Training a BatchTopK SAE on collected activations; resumable, the same result however often it was killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from services.saelab.batch_topk import Gradients, Parameters, Revival, data_init, gradients
from services.saelab.buffer import Buffer
from services.saelab.checkpoint import Checkpoint, load_checkpoint, run_of, save_checkpoint
from services.saelab.density import DensityCap
from services.saelab.errors import SaeLabError
from services.saelab.gauge import READINGS, Gauge
from services.saelab.recipe import Metrics, TrainSettings
from services.saelab.shards import ShardFolder

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Trained:
    """What training gives: parameters in scaled units, and how to come back from them."""

    parameters: Parameters
    thresholds: Float[Tensor, " features"]
    """Of the JumpReLU SAE, in scaled units: the moving average of the smallest chosen, plus each feature's offset."""
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
        self._path = settings.out / CHECKPOINT
        self._folder = ShardFolder(settings.activations)
        trained, self._aside = self._split()
        collected = {key: value for key, value in self._folder.run().items() if key != "tokens"}
        self.run = settings.run() | {"activations": collected, "shards": trained + self._aside}
        self.buffer = Buffer(
            self._folder, trained, settings.batch, settings.shards_in_memory, settings.epochs, settings.seed
        )
        self.curves: list[Metrics] = []
        self.step, self.threshold, self.seconds = 0, 0.0, 0.0
        kept = load_checkpoint(self._path, self.run)
        self.p = self._from_checkpoint(kept) if kept else self._start()
        self._optimiser = torch.optim.Adam(list(self.p.tensors().values()), lr=settings.learning_rate)
        if kept and self.step:
            self._restore_moments(kept)
        self._gauge = self._set_up_gauge()

    def _split(self) -> tuple[list[int], list[int]]:
        """The shards to train on and those set aside; a run keeps the shards it started with."""
        started = run_of(self._path)
        shards = (
            started["shards"] if started else self._folder.indices()[: self.settings.first_shards or None]
        )
        if any(not 0 < size < self.settings.features for size in self.settings.prefixes):
            raise SaeLabError(
                f"prefixes must lie between 0 and {self.settings.features}, the whole dictionary"
            )
        if (aside := self.settings.heldout_shards) and aside >= len(shards):
            raise SaeLabError(f"{aside} of {len(shards)} shards are held out: none is left to train on")
        return shards[: len(shards) - aside], shards[len(shards) - aside :]

    def _set_up_gauge(self) -> Gauge | None:
        if not self._aside:
            return None
        rows = torch.cat([self._folder.read(index).activations for index in self._aside]).float()
        return Gauge(rows.to(self.settings.device) * self.scale)

    @property
    def thresholds(self) -> Float[Tensor, " features"]:
        """The JumpReLU thresholds that the SAE would be saved with, in scaled units."""
        return self.threshold + self.cap.offset

    def measured(self, metrics: Metrics) -> Metrics:
        """The metrics with those of the tokens set aside, where there are any."""
        if self._gauge is None:
            return metrics
        explained, l0 = self._gauge.read(self.p, self.thresholds)
        return replace(metrics, heldout_variance_explained=explained, heldout_l0=l0)

    def _start(self) -> Parameters:
        settings = self.settings
        sample = self.buffer.sample(settings.init_shards)
        d_model = sample.shape[1]
        self.scale = math.sqrt(d_model) / float(sample.norm(dim=1).mean())
        sample *= self.scale
        self.variance = float((sample - sample.mean(0)).square().sum(1).mean())
        self.idle = torch.zeros(settings.features, dtype=torch.int64, device=settings.device)
        self.cap = DensityCap.start(settings.max_density, settings.features, settings.device)
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
        found = gradients(
            p,
            x,
            settings.k,
            0.7 * self.threshold,
            revival,
            prefixes=sorted(settings.prefixes),
            offset=self.cap.offset if settings.max_density else None,
        )
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
        self.cap.update(found.active.columns, tokens, self.threshold)

    def schedule(self, step: int) -> float:
        """The learning rate of a step as a share of the full one."""
        left = (self.buffer.steps - step) / max(1.0, self.settings.decay_share * self.buffer.steps)
        return min(1.0, (step + 1) / max(1, self.settings.warmup_steps), left)

    def save(self) -> None:
        """Writes the checkpoint."""
        tensors = {name: tensor.cpu() for name, tensor in self.p.tensors().items()}
        tensors |= {"idle": self.idle.cpu()}
        if self.cap.cap:
            tensors |= {"density": self.cap.density.cpu(), "offset": self.cap.offset.cpu()}
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
        self.cap = DensityCap.start(self.settings.max_density, self.settings.features, device)
        if self.cap.cap:
            self.cap.density = kept.tensors["density"].to(device)
            self.cap.offset = kept.tensors["offset"].to(device)
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
    reading = every * max(1, trainer.buffer.steps // every // READINGS)
    started = saved = time.monotonic()
    with torch.no_grad():
        while trainer.step < end:
            metrics = trainer.advance()
            if metrics.step % every == 0 or metrics.step == end:
                if metrics.step % reading == 0 or metrics.step == end:
                    metrics = trainer.measured(metrics)
                trainer.curves.append(metrics)
                progress(metrics, trainer.buffer.steps)
            now = time.monotonic()
            if now - saved >= settings.checkpoint_seconds or metrics.step == end:
                trainer.seconds += now - started
                started = saved = now
                trainer.save()
    return Trained(
        trainer.p,
        trainer.thresholds,
        trainer.scale,
        trainer.curves,
        trainer.seconds,
        trainer.step * settings.batch,
        trainer.buffer.tokens,
    )
