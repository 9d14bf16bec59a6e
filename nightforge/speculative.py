"""Speculative decoding: a small model drafts some tokens, and the large one looks at all of them in one call.

Leviathan et al. 2023, arXiv 2211.17192, algorithm 1. What comes is what the large model alone gives: at temperature 0
the same tokens, above it tokens of the same distribution. The drafter may be any model of the same vocabulary, such as
a pruned one; how often it is right decides the speed and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from nightforge.errors import ConfigError


class Decoded(NamedTuple):
    """What was decoded, and how much of it was drafted."""

    tokens: list[int]
    """After the prompt, without the end token."""
    drafted: int
    accepted: int
    """Of the drafted."""
    calls: int
    """Of the large model."""


@torch.inference_mode()
def decode(
    model: Any,
    drafter: Any,
    prompt: Sequence[int],
    new_tokens: int,
    drafts: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> Decoded:
    """The tokens that follow a prompt, up to the end token or `new_tokens`, or to where a context ends.

    Args:
        model: a transformers causal LM in evaluation mode; its config names the end token.
        drafter: another, smaller one.
        prompt: token ids, at least one.
        new_tokens: at most.
        drafts: tokens that are drafted before the model is called.
        temperature: divides the logits of both; 0 takes the likeliest token.
        top_p: probability of the likeliest tokens that may be drawn, as nightforge.sampling draws.
        seed: of the draws.

    Raises:
        ConfigError: the two have not the same vocabulary, or one sees a window of tokens alone, which cannot be undone.
    """
    _check(model, drafter)
    generator = torch.Generator().manual_seed(seed)
    large, small = _Reader(model), _Reader(drafter)
    tokens, drafted, accepted, calls = list(prompt), 0, 0, 0
    last = min(len(tokens) + new_tokens, *(m.config.max_position_embeddings for m in (model, drafter)))
    while len(tokens) < last and model.config.eos_token_id not in tokens[len(prompt) :]:
        draft: list[int] = []
        beliefs: list[torch.Tensor] = []
        for _ in range(min(drafts, last - len(tokens) - 1)):
            beliefs.append(shares(small.read([*tokens, *draft])[-1], temperature, top_p))
            draft.append(_drawn(beliefs[-1], generator))
        truth = shares(large.read([*tokens, *draft])[-len(draft) - 1 :], temperature, top_p)
        new = judged(truth, beliefs, draft, generator)
        tokens += new
        drafted, accepted, calls = drafted + len(draft), accepted + len(new) - 1, calls + 1
        for reader in (large, small):
            reader.forget(len(tokens) - 1)
    made = tokens[len(prompt) :]
    end = model.config.eos_token_id
    return Decoded(made[: made.index(end)] if end in made else made, drafted, accepted, calls)


def judged(
    truth: torch.Tensor, beliefs: Sequence[torch.Tensor], draft: Sequence[int], generator: torch.Generator
) -> list[int]:
    """The drafted tokens that stand, and one more, all distributed as `truth` says.

    A token x that was drawn from q stands with probability min(1, p(x) / q(x)); in place of the first that does not
    comes one of max(0, p − q), normalised.

    Args:
        truth: the large model's p at each drafted token and after the last: (drafts + 1, vocab).
        beliefs: the drafter's q at each drafted token: (vocab,) each.
        draft: as drawn from `beliefs`.
        generator: of the draws.
    """
    for at, (token, belief) in enumerate(zip(draft, beliefs, strict=True)):
        if float(torch.rand((), generator=generator)) * belief[token] >= truth[at, token]:
            return [*draft[:at], _drawn((truth[at] - belief).clamp_min(0), generator)]
    return [*draft, _drawn(truth[-1], generator)]


def shares(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Probability of each token, the unlikely ones left out: (…, vocab) → the same, summing to one.

    At temperature 0 all of it is the likeliest's, which makes `judged` take exactly what greedy decoding takes.
    """
    if temperature == 0:
        return functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    p, order = (logits / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    p = p.masked_fill(p.cumsum(-1) - p >= top_p, 0.0)
    return torch.zeros_like(p).scatter(-1, order, p / p.sum(-1, keepdim=True))


@dataclass(slots=True)
class _Reader:
    """A model and its cache of the tokens that it has read."""

    model: Any
    cache: Any = None
    seen: int = 0

    def read(self, tokens: Sequence[int]) -> torch.Tensor:
        """Logits after each of the tokens that it has not read yet, of which there is at least one: (new, vocab)."""
        ids = torch.tensor([tokens[self.seen :]], device=self.model.device)
        out = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True)
        self.cache, self.seen = out.past_key_values, len(tokens)
        logits: torch.Tensor = out.logits[0].float().cpu()
        return logits

    def forget(self, count: int) -> None:
        """All but the first tokens."""
        if self.seen > count:
            self.cache.crop(count - self.seen)
            self.seen = count


def _drawn(share: torch.Tensor, generator: torch.Generator) -> int:
    return int(torch.multinomial(share, 1, generator=generator))


def _check(model: Any, drafter: Any) -> None:
    from transformers import DynamicCache

    if model.config.vocab_size != drafter.config.vocab_size:
        raise ConfigError(
            f"speculative decoding: expected a drafter with the model's {model.config.vocab_size} tokens, got one with "
            f"{drafter.config.vocab_size}. Make it from the model: prune it, or take a student of it."
        )
    for one in (model, drafter):
        if any(DynamicCache(config=one.config).is_sliding):
            raise ConfigError(
                f"speculative decoding: expected models that see all tokens before one, got a {type(one).__name__} "
                "with a sliding window, whose cache cannot take back a token. Decode it alone."
            )
