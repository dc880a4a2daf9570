"""A tiny model in a folder, and the inference service over what lies there, read anew at each start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hearth.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from services.inference.engine import EngineLimits
from services.inference.host import Identity, ModelHost
from services.inference.hosts import Hosts
from services.inference.load import config_digest, end_tokens, weights_digest
from services.inference.model import load_language_model
from services.inference.sae.base import Sae
from services.inference.servicer import InferenceServicer
from services.inference.tokenizer import Tokenizer
from services.rpc.server import ServerSettings, serve
from tests.autosteer.tiny_platform import write_tokenizer
from tests.cli.fake_server import SERVICE
from tests.cli.loops import loop_in_thread
from tests.inference.tiny import tiny

MODEL, SAE = "tiny", "relu"


def write_model(folder: Path) -> Path:
    """Writes the tiny model with a tokenizer."""
    tiny().plain.save_pretrained(folder)
    return write_tokenizer(folder)


def change_weights(folder: Path) -> None:
    """Changes one matrix a little."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.2.mlp.down_proj.weight"
    tensors[name] = tensors[name] * 1.5
    save_file(tensors, file, {"format": "pt"})


def change_template(folder: Path) -> None:
    """Changes what stands around a message."""
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text("utf-8") + "{# another #}", "utf-8")


def an_sae(change: Callable[[Sae], Sae] = lambda sae: sae) -> Sae:
    """The SAE that is served beside it."""
    return change(tiny().saes[SAE])


@contextmanager
def serving(folder: Path, sae: Sae) -> Iterator[str]:
    """The address of the service, all of it read anew from the folder."""
    torch.set_num_threads(1)
    tokenizer = Tokenizer(folder)
    identity = Identity(
        MODEL,
        weights_digest(folder),
        tokenizer.digest,
        "cpu/here",
        tokenizer.template_digest,
        config_digest(folder),
    )
    model = load_language_model(folder, torch.float32, torch.device("cpu"))
    host = ModelHost(identity, model, tokenizer, [sae], EngineLimits(), end_tokens(folder, tokenizer))
    hosts = Hosts()
    hosts.add(host)
    host.engine.start()
    with loop_in_thread() as wait:
        server = wait(
            serve(
                {SERVICE: lambda s: add_InferenceServiceServicer_to_server(InferenceServicer(hosts), s)},
                ServerSettings(drain_seconds=0),
                handle_signals=False,
            )
        )
        try:
            yield server.address
        finally:
            wait(server.drain())
            host.engine.stop()
