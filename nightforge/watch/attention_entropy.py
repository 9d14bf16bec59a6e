"""How spread attention is: the mean entropy of its weights, in nats, of each layer.

Entropy that falls to zero goes before a run that diverges (Zhai et al. 2023, Stabilizing Transformer Training by
Preventing Attention Entropy Collapse). Torch's fused attention does not give its weights, so they are computed a second
time: during the step that is looked at, a torch function mode sees every call of `scaled_dot_product_attention`, which
attention of transformers, diffusers and torch itself ends in, after positions and norms were applied. Attention of
another kind (eager, flash-attn), or inside a compiled network, is not seen. Queries of padding count too.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch.overrides import TorchFunctionMode

from nightforge.config import Config as BaseConfig

INSIDE = True
"""It needs hooks, which a compiled network does not call."""


class Config(BaseConfig):
    """How much is looked at."""

    rows: int = Field(ge=1)
    """First rows of a batch that are looked at; weights take rows × heads × length² numbers."""


SAMPLE = Config(rows=4)


class AttentionEntropy(TorchFunctionMode):
    """See nightforge.watching.Watcher."""

    def __init__(self, model: Any, cfg: Config) -> None:
        super().__init__()
        # the class's name is what transformers, diffusers and torch have in common
        self.modules = {n: m for n, m in model.named_modules() if "Attention" in type(m).__name__}
        self.rows, self.within, self.on = cfg.rows, "attention", False
        self.hooks: list[Any] = []
        self.seen: dict[str, list[torch.Tensor]] = {}

    def before(self) -> None:
        """See every call of a torch function from here on."""
        self.hooks = [m.register_forward_pre_hook(self._enters(name)) for name, m in self.modules.items()]
        self.__enter__()  # type: ignore[no-untyped-call]
        self.on = True

    def graded(self, moving: Sequence[torch.nn.Parameter]) -> None:
        """Nothing is asked of the gradients."""

    def read(self) -> dict[str, float]:
        """`attention_entropy/` of each attention module, and `attention_entropy_share/` of that of equal weights."""
        if self.on:
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        for hook in self.hooks:
            hook.remove()
        seen, self.seen, self.hooks, self.on = self.seen, {}, [], False
        sums = {name: torch.stack(several).sum(0).tolist() for name, several in seen.items()}
        figures = {f"attention_entropy/{name}": nats / queries for name, (nats, _, queries) in sums.items()}
        return figures | {
            f"attention_entropy_share/{name}": nats / most if most else 1.0 for name, (nats, most, _) in sums.items()
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every torch function is called as it is; attention is looked at first."""
        if func is torch.nn.functional.scaled_dot_product_attention:
            self.seen.setdefault(self.within, []).append(self._entropy(*args, **kwargs or {}))
        return func(*args, **kwargs or {})

    def _enters(self, name: str) -> Any:
        def enter(module: Any, inputs: Any) -> None:
            self.within = name

        return enter

    @torch.no_grad()
    def _entropy(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        """(Σ nats, Σ nats if all weights that may be were equal, queries); the arguments are torch's own."""
        query, key = query[: self.rows].float(), key[: self.rows].float()
        if key.shape[-3] != query.shape[-3]:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            scores.masked_fill_(
                torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1), -math.inf
            )
        if attn_mask is not None:
            attn_mask = attn_mask[: self.rows] if attn_mask.ndim == scores.ndim else attn_mask
            scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        weights = scores.softmax(-1)
        choices = (scores > -1e30).sum(-1)  # masks of transformers are the least number of a type
        nats = torch.special.entr(weights).sum(-1)
        real = (choices > 0) & nats.isfinite()
        return torch.stack([nats[real].sum(), choices[real].log().sum(), real.sum()]).double()


def start(model: Any, cfg: Config) -> AttentionEntropy:
    """Watch the attention of a network."""
    return AttentionEntropy(model, cfg)
