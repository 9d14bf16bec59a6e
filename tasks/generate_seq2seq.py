"""Responses of an encoder-decoder to a prompt, of torch or of ONNX graphs alike."""

from itertools import islice, takewhile
from pathlib import Path

import torch

from nightforge import seq2seq_models


def respond(folder: Path, start: list[int], n: int, new_tokens: int, temperature: float, seed: int) -> list[list[int]]:
    """`n` responses of at most `new_tokens` tokens, the end left out; response i depends on seed + i alone.

    Args:
        folder: of the model.
        start: tokens of the prompt.
        n: responses.
        new_tokens: tokens of each, at most.
        temperature: 0 takes the likeliest token each time.
        seed: of the first.
    """
    model = seq2seq_models.load(folder).model
    end = model.config.eos_token_id
    made = []
    for i in range(n):
        dice = torch.Generator().manual_seed(seed + i)

        def pick(logits: torch.Tensor, dice: torch.Generator = dice) -> torch.Tensor:
            if temperature == 0:
                return logits.argmax(dim=-1)
            return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=dice)[:, 0]

        written = seq2seq_models.respond(model, start, pick)
        made.append(list(takewhile(lambda token: token != end, islice(written, new_tokens))))
    return made
