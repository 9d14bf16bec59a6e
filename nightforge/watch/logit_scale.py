"""How large the outputs are: standard deviation and largest size of the logits.

Logits that grow without end go before a loss that spikes (Wortsman et al. 2023, Small-scale proxies for large-scale
Transformer training instabilities). Looked at are the outputs of the layer that makes them, where the network names one
(`get_output_embeddings`, as transformers do), else those of the network itself.
"""

from collections.abc import Sequence
from typing import Any

import torch

from nightforge.config import Config as BaseConfig

INSIDE = True
"""It needs hooks, which a compiled network does not call."""


class Config(BaseConfig):
    """There is nothing to choose."""


SAMPLE = Config()


class LogitScale:
    """See nightforge.watching.Watcher."""

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
        self.head = model if head is None else head
        self.hook: Any = None
        self.seen: list[torch.Tensor] = []

    def before(self) -> None:
        """Hook on the outputs."""
        self.hook = self.head.register_forward_hook(self._look)

    def graded(self, moving: Sequence[torch.nn.Parameter]) -> None:
        """Nothing is asked of the gradients."""

    def read(self) -> dict[str, float]:
        """`logit_std` and `logit_max` (of the absolute values) of all outputs of the step; nothing if none was seen."""
        if self.hook is not None:
            self.hook.remove()
        seen, self.seen, self.hook = self.seen, [], None
        if not seen:
            return {}
        sums = torch.stack(seen)
        count, total, squares = sums[:, :3].sum(0).tolist()
        mean = total / count
        return {"logit_std": max(0.0, squares / count - mean * mean) ** 0.5, "logit_max": float(sums[:, 3].max())}

    @torch.no_grad()
    def _look(self, module: Any, inputs: Any, output: Any) -> None:
        logits = getattr(output, "logits", output)
        if isinstance(logits, torch.Tensor) and logits.is_floating_point():
            flat = logits.detach().flatten().float()
            sums = torch.stack([flat.sum(), flat.dot(flat), torch.linalg.vector_norm(flat, torch.inf)]).double()
            self.seen.append(torch.cat([sums.new_tensor([flat.numel()]), sums]))


def start(model: Any, cfg: Config) -> LogitScale:
    """Watch the outputs of a network."""
    return LogitScale(model)
