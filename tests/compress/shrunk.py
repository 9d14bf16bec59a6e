"""What every pass that takes structure out must show: a plain smaller model that stock transformers loads."""

import tempfile
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from tests.small_lm import Small


def rows(small: Small) -> dict[str, torch.Tensor]:
    """Rows to ask a model with."""
    first = small.given.calibration[0]
    return {"input_ids": first.ids[:8], "attention_mask": first.mask[:8].long()}


@torch.no_grad()
def reloaded(model: Any, small: Small) -> Any:
    """The model as transformers reads it back; it computes what the one in memory does, its cache included."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    asked = rows(small)
    torch.testing.assert_close(again(**asked).logits, model(**asked).logits, rtol=0, atol=1e-6)
    prompt = asked["input_ids"][:1, :4]
    made = [one.generate(prompt, max_new_tokens=8, do_sample=False).tolist() for one in (again, model)]
    assert made[0] == made[1]
    whole = again(torch.tensor(made[0])).logits[0, 3:-1].argmax(-1)  # without a cache
    assert whole.tolist() == made[0][0][4:]
    return again


def size(model: Any) -> int:
    """Numbers that a model holds."""
    return sum(p.numel() for p in model.parameters())
