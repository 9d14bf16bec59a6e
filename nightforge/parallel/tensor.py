"""Tensor parallel: the matrices of every layer are shared out, and all processes of a group see the same batch.

Shoeybi et al. 2019, "Megatron-LM" (arXiv 1909.08053): the first matrices of attention and of the feed-forward layer by
their columns, the second by their rows, so that a layer sums over the processes twice. Embedding and head are shared
out by vocabulary. What is left (norms) every process has. Groups among each other are fully sharded data parallel.
"""

from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, distribute_module
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from nightforge.errors import ConfigError
from nightforge.parallel import _group, _shards
from nightforge.ranks import Ranks


class Config(_group.Config):
    """How many share a matrix."""

    size: int = Field(ge=1, le=64)
    """Processes that share a layer; those that `processes` has more are data parallel groups of so many."""


SAMPLE = Config(processes=2, restarts=0, size=1)
COLUMNS, ROWS = {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}, {"o_proj", "down_proj"}
TABLES, HEADS = {"embed_tokens"}, {"lm_head"}


class Everywhere(ParallelStyle):
    """The module's parameters and its work are the same in all processes."""

    def _apply(self, module: torch.nn.Module, device_mesh: DeviceMesh) -> torch.nn.Module:
        return distribute_module(
            module,
            device_mesh,
            None,
            _given,  # type: ignore[arg-type]  # it may return what it was given
            lambda _, made, mesh: made.to_local(),
        )


def _given(module: torch.nn.Module, given: Any, mesh: DeviceMesh) -> tuple[DTensor, ...]:
    return tuple(DTensor.from_local(x, mesh, [Replicate()], run_check=False) for x in given)


def spread(model: Any, turns: int, cfg: Config) -> Ranks:
    """Share out a transformer whose layers are named like Llama's.

    Raises:
        ConfigError: the number of processes, or of heads, is no multiple of `size`, or a layer has another name.
    """
    of = torch.distributed.get_world_size()
    if of % cfg.size:
        raise ConfigError(f"train.parallel.size: expected a divisor of the {of} processes, got {cfg.size}.")
    device = next(model.parameters()).device.type
    shape = (of // cfg.size, cfg.size)
    mesh = init_device_mesh(device, shape, mesh_dim_names=("data", "tensor"))
    plan = _plan(model, cfg.size)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    parallelize_module(model, mesh["tensor"], plan)
    if tied:  # each of the two was shared out by itself
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
    if shape[0] == 1:
        for parameter in model.parameters():
            parameter.register_hook(partial(_like, parameter))
        return Ranks(0, 1)
    return _shards.shard(model, mesh["data"])


def _like(parameter: DTensor, gradient: DTensor) -> DTensor:
    """A gradient, shared out as its parameter is; an embedding's comes as partial sums."""
    return gradient.redistribute(placements=parameter.placements)


def _plan(model: Any, size: int) -> dict[str, ParallelStyle]:
    """The style of each module that has parameters of its own."""
    config = getattr(model, "config", None)
    heads = [getattr(config, name, 0) for name in ("num_attention_heads", "num_key_value_heads")]
    if not all(heads) or any(count % size for count in heads):
        raise ConfigError(
            f"train.parallel.size: expected a divisor of the numbers of query heads and of key heads, got {size} for "
            f"{heads[0]} and {heads[1]}. Lower it, or choose train.parallel: {{name: fsdp}}."
        )
    plan: dict[str, ParallelStyle] = {}
    for path, module in model.named_modules():
        name = path.rpartition(".")[2]
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        if name in COLUMNS:
            plan[path] = ColwiseParallel()
        elif name in ROWS:
            plan[path] = RowwiseParallel()
        elif name in TABLES:
            plan[path] = RowwiseParallel(input_layouts=Replicate())
        elif name in HEADS:
            plan[path] = ColwiseParallel(output_layouts=Replicate())
        elif name.endswith("norm") and ".self_attn." not in path:
            plan[path] = Everywhere()
        else:
            raise ConfigError(
                f"train.parallel: name: tensor shares out layers that are named like Llama's, and knows none like "
                f"{path}. Choose {{name: fsdp}}, which needs no names."
            )
    return plan
