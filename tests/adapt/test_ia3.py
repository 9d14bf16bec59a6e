"""Factors: as many as features are scaled."""

from nightforge.adapt import ia3
from nightforge.train import causal_lm
from tests import adapter_contracts


def test_parameters_by_hand() -> None:
    shape = causal_lm.SAMPLE
    adapted = ia3.attach(adapter_contracts.base(), ia3.SAMPLE, [])
    per_layer = 2 * shape.kv_heads * shape.hidden // shape.heads + shape.ffn
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == shape.layers * per_layer
