"""Learnt factors on keys, values and the feed-forward layer: (IA)³, Liu et al. 2022, arXiv 2205.05638; by peft.

The smallest of adapters: a factor a feature. New tokens keep the embeddings that they begin with.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from nightforge.config import Config as BaseConfig


class Config(BaseConfig):
    """What is scaled."""

    targets: list[str] = Field(min_length=1)
    """Last parts of the names of the layers whose outputs are scaled, such as k_proj and v_proj."""
    feedforward: list[str]
    """Those whose inputs are scaled, such as down_proj."""


SAMPLE = Config(targets=["k_proj", "v_proj"], feedforward=["down_proj"])


def attach(model: Any, cfg: Config, new_tokens: Sequence[int]) -> Any:
    """The model with all factors at one."""
    from peft import IA3Config, get_peft_model

    how = IA3Config(
        task_type="CAUSAL_LM", target_modules=cfg.targets + cfg.feedforward, feedforward_modules=cfg.feedforward
    )
    return get_peft_model(model, how)
