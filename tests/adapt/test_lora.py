"""Low-rank adapters: of a rank, on the layers that are named, and new tokens learn beside them."""

import pytest
import torch

from nightforge.adapt import lora
from nightforge.train import causal_lm
from tests import adapter_contracts


@pytest.mark.parametrize("dora", [False, True])
def test_new_tokens_are_trained_and_no_others(dora: bool) -> None:
    cfg = lora.SAMPLE.model_copy(update={"dora": dora})
    adapter_contracts.check_adapter(lora, cfg, [4, 40])


def test_the_untied_output_of_a_new_token_is_as_it_was() -> None:
    torch.manual_seed(5)
    model = causal_lm.build(causal_lm.SAMPLE.model_copy(update={"tied": False}), adapter_contracts.WORDS)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    adapted = lora.attach(model, lora.SAMPLE, [4])
    assert torch.equal(adapted.merge_and_unload().state_dict()["lm_head.weight"], before["lm_head.weight"])


def test_parameters_by_hand() -> None:
    cfg = lora.SAMPLE.model_copy(update={"targets": ["q_proj"]})
    adapted = lora.attach(adapter_contracts.base(), cfg, [])
    shape = causal_lm.SAMPLE
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trained == shape.layers * cfg.rank * 2 * shape.hidden
