"""Low-rank adapters: Hu et al. 2021, arXiv 2106.09685; with `dora`, of directions alone: Liu et al. 2024, 2402.09353.

By peft. The embeddings of new tokens are trained too, row by row, for no low-rank change could tell them apart; an
output layer with weights of its own keeps the rows that they begin with.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from nightforge.config import Config as BaseConfig


class Config(BaseConfig):
    """The size of the adapter, and what it is attached to."""

    rank: int = Field(ge=1, le=4096)
    """Rank of each matrix's change."""
    alpha: float = Field(gt=0, le=65_536)
    """The change counts alpha ÷ rank times; twice the rank is common."""
    dropout: float = Field(ge=0, lt=1)
    """Share of the adapter's inputs that are dropped in training."""
    targets: Literal["all-linear"] | list[str]
    """Every linear layer but the output, or the last parts of the names of those meant, such as q_proj."""
    dora: bool
    """Whether the lengths of the weights' rows are learnt apart from their directions (DoRA); slower."""


SAMPLE = Config(rank=4, alpha=8, dropout=0.0, targets="all-linear", dora=False)


def attach(model: Any, cfg: Config, new_tokens: Sequence[int]) -> Any:
    """The model with adapters that change nothing yet; their weights are drawn from torch's generator."""
    from peft import LoraConfig, get_peft_model

    how = LoraConfig(
        task_type="CAUSAL_LM",
        r=cfg.rank,
        lora_alpha=cfg.alpha,
        lora_dropout=cfg.dropout,
        target_modules=cfg.targets,
        use_dora=cfg.dora,
        trainable_token_indices=list(new_tokens) or None,
    )
    return get_peft_model(model, how)
