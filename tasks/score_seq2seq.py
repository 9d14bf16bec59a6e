"""What the responses of an encoder-decoder cost, by torch or by graphs; tasks/score.py runs it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nightforge import methods, seq2seq_models
from nightforge.scoring import Encoded
from tasks.score import PROBE_TOKENS, Reader


def opened(model: Path) -> Reader:
    """A model folder of either loader."""
    loaded = seq2seq_models.load(model)
    family = methods.load("train", loaded.card["family"])

    def nats(documents: Sequence[Encoded], batch_size: int) -> NDArray[np.float64]:
        found: NDArray[np.float64] = family.nats(loaded.model, documents, batch_size, loaded.context)
        return found

    @torch.inference_mode()
    def logits(document: Encoded) -> NDArray[np.float32]:
        begin = len(document.condition)
        given = torch.tensor([document.condition[: loaded.context]])
        labels = torch.tensor([document.ids[begin : begin + PROBE_TOKENS] or [loaded.model.config.eos_token_id]])
        out = loaded.model(input_ids=given, attention_mask=torch.ones_like(given), labels=labels, use_cache=False)
        return np.asarray(out.logits[0].float())

    return Reader(loaded.tokenizer, nats, logits)
