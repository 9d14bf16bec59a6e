"""What may be watched while a model trains: a watcher is a file of nightforge/watch/, and none may change the run."""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import torch
from pydantic import Field

from nightforge.config import Config
from nightforge.methods import Chosen, Method


class Watcher(Protocol):
    """Looks on during one step in `every`; `start(model, cfg)` of its file makes it, and is called once a run."""

    def before(self) -> None:
        """The step is about to begin: put hooks on, if any are needed."""
        ...

    def graded(self, moving: Sequence[torch.nn.Parameter]) -> None:
        """These are about to move, their gradients are there, clipped; called for each move of each turn."""
        ...

    def read(self) -> dict[str, float]:
        """The step is made, or failed: take the hooks off, and say what was seen, name → figure."""
        ...


class Watching(Config):
    """What is watched of a run."""

    every: int = Field(ge=1)
    """Steps between two looks; the clock is read as often."""
    watchers: list[Annotated[Method, Chosen("watch")]]
    """Watchers, each a file of nightforge/watch/."""

    def start(self, model: Any) -> list[Watcher]:
        """All of them, on a network."""
        return [watcher.module.start(model, watcher.cfg) for watcher in self.watchers]
