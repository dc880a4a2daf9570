"""What Hearth adds to a worker of vLLM: hooks on its blocks, and calls that the engine makes to all workers.

vLLM mixes this class into its own worker (`worker_extension_cls`), for one GPU or many. After a block the residual
stream is the same on every worker of a tensor-parallel group, so that each edits its own copy alike and nothing is
sent. With pipeline parallelism a worker edits the blocks that it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from vllm.distributed.parallel_state import get_pp_group, get_tp_group
from vllm.model_executor.models.utils import PPMissingLayer

from services.inference.layers import decoder_layers
from services.inference.sae.base import Sae
from services.inference.vllm.desk import Desk, Run, hollow
from services.inference.vllm.drawing import Draw
from services.inference.vllm.orders import News, Stage, order_of


class SteeringWorker:
    """Methods that `collective_rpc` calls by name."""

    model_runner: Any
    device: torch.device
    _hearth_desk: Desk | None = None

    def hearth_hook(self) -> Stage:
        """Puts hooks on all blocks that this worker holds, once."""
        model: Any = self.model_runner.get_model()
        if not hasattr(model, "config"):
            model.config = self.model_runner.model_config.hf_config
        blocks = decoder_layers(model)
        held = [n for n, block in enumerate(blocks) if not isinstance(block, PPMissingLayer)]
        for number in held:
            blocks[number].register_forward_hook(_Hook(self, number))
        model.register_forward_pre_hook(lambda *_: self._hearth_begin())
        self._hearth_receive()
        self.hearth_serve([], {})
        return Stage(
            get_tp_group().rank_in_group, get_pp_group().rank_in_group, tuple(held), str(self.device)
        )

    def _hearth_receive(self) -> None:
        """Makes what a stage receives the last one's output in. vLLM makes it in a warm-up run, which its CPU worker
        leaves out where nothing is compiled."""
        runner = self.model_runner
        if not get_pp_group().is_first_rank and runner.intermediate_tensors is None:
            runner.intermediate_tensors = runner.get_model().make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=runner.model_config.dtype, device=self.device
            )

    def hearth_serve(self, saes: Sequence[Sae], medians: dict[int, float]) -> None:
        """Takes SAEs; those of blocks that another worker holds are kept without their numbers."""
        model: Any = self.model_runner.get_model()
        blocks = decoder_layers(model)
        mine = {
            sae.id: hollow(sae)
            if isinstance(blocks[sae.layer], PPMissingLayer)
            else replace(sae, weights=sae.weights.to(self.device))
            for sae in saes
        }
        self._hearth_desk = Desk(mine, medians, self.device)

    def hearth_news(self, asked: list[str], ended: list[str]) -> dict[str, News]:
        """News of these requests, and the last of those that end. Of a tensor-parallel group one worker tells."""
        assert self._hearth_desk is not None
        found = self._hearth_desk.news(asked, ended)
        for draw in self._hearth_draws():
            for name in [name for name in draw.kept if name in ended]:
                found.setdefault(name, News()).logits = draw.kept.pop(name).cpu()
        return found if get_tp_group().rank_in_group == 0 else {}

    def _hearth_draws(self) -> list[Draw]:
        return [each for each in self.model_runner.input_batch.logitsprocs.all if isinstance(each, Draw)]

    def _hearth_begin(self) -> None:
        """Reads the layout of the pass that is about to run."""
        desk, runner = self._hearth_desk, self.model_runner
        assert desk is not None
        batch, requests = runner.input_batch, runner.requests
        desk.keep_only(requests.keys())
        starts, runs = runner.query_start_loc.np, []
        for number, key in enumerate(batch.req_ids[: batch.num_reqs]):
            if not desk.knows(key):
                params = requests[key].sampling_params
                order = None if params is None else order_of(params.extra_args)
                if order is None or (order.steering is None and not order.captures):
                    continue
                desk.enter(key, order)
            row, end = int(starts[number]), int(starts[number + 1])
            runs.append(Run(key, row, end - row, int(batch.num_computed_tokens_cpu[number])))
        desk.begin(runs)


class _Hook:
    """The forward hook of one block."""

    def __init__(self, worker: SteeringWorker, layer: int) -> None:
        self._worker, self._layer = worker, layer

    def __call__(self, _block: nn.Module, _inputs: Any, output: Any) -> None:
        desk = self._worker._hearth_desk
        assert desk is not None
        parts: tuple[Any, ...] = tuple(output) if isinstance(output, (tuple, list)) else (output,)
        hidden: Tensor = parts[0]
        added = [each for each in parts[1:2] if isinstance(each, Tensor) and each.shape == hidden.shape]
        desk.at_block(self._layer, hidden, added[0] if added else None)
