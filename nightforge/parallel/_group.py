"""What every way of training in several processes has: how many there are, and how losses reach their wrapper."""

from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig


class Config(BaseConfig):
    """The processes of one machine."""

    processes: int = Field(ge=1, le=1024)
    """Processes that the stage starts on this machine; where torchrun has started it, torchrun's number holds."""
    restarts: int = Field(ge=0, le=1000)
    """How often all are started again, from the last checkpoint, after one of them has died."""


class Losses(torch.nn.Module):
    """A network whose forward pass is a loss, so that a wrapper sees one call whatever parts of it the loss calls."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, loss: Callable[..., Any], *arguments: Any) -> Any:
        """loss(*arguments), whose first is the network, or what it was compiled to."""
        return loss(*arguments)


def blocks(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The repeated layers of a network: the members of its outermost lists, or its children where it has none."""
    lists = [(name, m) for name, m in model.named_modules() if isinstance(m, torch.nn.ModuleList)]
    outer = [m for name, m in lists if not any(name.startswith(f"{other}.") for other, _ in lists)]
    return [block for several in outer for block in several] or list(model.children())
