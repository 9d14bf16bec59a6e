"""A network that reads both ways and says what stands behind a mask: BERT, Devlin et al. 2019, arXiv 1810.04805.

For augmentation, filters and scoring, not for writing: the folder is an asset for nightforge/augment/contextual. Of the
learnt tokens 15% are chosen; 80% of them are masked, 10% become another token, 10% stay. A text is scored in seven
passes, in each of which every seventh token is masked (a coarse pseudo-likelihood: Salazar et al. 2020, arXiv
1910.14659); its bits per byte do not compare with those of a causal model.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.errors import ConfigError
from nightforge.scoring import IGNORE, TEXT, Encoded, batches, padded, pieces
from nightforge.tokenizer import fits, label_token
from nightforge.training import At

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KIND, CLASS, OWN_TOKENS = "text", "AutoModelForMaskedLM", 1
MASK = "<|mask|>"
PASSES = 7
"""In each, every so-manieth token of a text is masked: about the share that training masks."""


class Config(BaseConfig):
    """The shape of the network, and how much is masked."""

    hidden: int = Field(ge=32, le=16_384)
    """Width of the residual stream."""
    layers: int = Field(ge=1, le=200)
    """Transformer blocks."""
    heads: int = Field(ge=1, le=256)
    """Attention heads; must divide `hidden`."""
    ffn: int = Field(ge=32, le=65_536)
    """Width of the feed-forward layer."""
    dropout: float = Field(ge=0, lt=1)
    """Share dropped of each layer's output and of attention weights in training."""
    mask_share: float = Field(gt=0, lt=1)
    """Share of the tokens that are to be predicted; 0.15 is BERT's."""
    vocab: int = Field(ge=300, le=200_000)
    """Tokens of the BPE vocabulary, the 256 bytes and the special ones included."""
    context: int = Field(ge=16, le=131_072)
    """Longest sequence, in tokens."""


SAMPLE = Config(hidden=32, layers=1, heads=2, ffn=64, dropout=0, mask_share=0.15, vocab=310, context=64)


def build(cfg: Config, tokenizer: Any) -> Any:
    """A `BertForMaskedLM` with random weights, drawn from torch's generator as the caller seeded it.

    The tokenizer gets a mask; what begins and ends a document without a label is what BERT calls cls and sep.

    Raises:
        ConfigError: the tokenizer has more tokens than `cfg.vocab`, or heads do not divide the width.
    """
    from transformers import BertConfig, BertForMaskedLM

    ends = {"cls_token": label_token(None), "sep_token": tokenizer.eos_token}
    tokenizer.add_special_tokens({"mask_token": MASK, **ends}, replace_extra_special_tokens=False)
    fits(tokenizer, cfg.vocab)
    if cfg.hidden % cfg.heads:
        raise ConfigError(f"train.family: expected heads that divide hidden ({cfg.hidden}), got {cfg.heads}.")
    return BertForMaskedLM(
        BertConfig(
            vocab_size=cfg.vocab,
            hidden_size=cfg.hidden,
            num_hidden_layers=cfg.layers,
            num_attention_heads=cfg.heads,
            intermediate_size=cfg.ffn,
            hidden_dropout_prob=cfg.dropout,
            attention_probs_dropout_prob=cfg.dropout,
            max_position_embeddings=cfg.context,
            pad_token_id=tokenizer.pad_token_id,
            mask_token_id=tokenizer.mask_token_id,
        )
    )


def loss(model: Any, tensors: Mapping[str, torch.Tensor], cfg: Config, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    """Σ nats of the learnt tokens of `ids` (rows, seq), estimated from the chosen ones: their mean times the count."""
    ids, learnt = tensors["ids"], tensors["targets"] != IGNORE
    drawn = torch.rand(ids.shape, device=ids.device).masked_fill(~learnt, 2.0)
    chosen = learnt & ((drawn < cfg.mask_share) | (drawn == drawn.min()))  # at least one
    kind = torch.rand(ids.shape, device=ids.device)
    config = _config(model)
    other = torch.randint(config.vocab_size, ids.shape, device=ids.device)
    shown = torch.where(chosen & (kind < 0.8), config.mask_token_id, ids)
    shown = torch.where(chosen & (kind >= 0.9), other, shown)
    logits = model(input_ids=shown.clamp_min(0), attention_mask=(ids != IGNORE).long()).logits
    targets = torch.where(chosen, ids, IGNORE)
    summed = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return summed * learnt.sum() / chosen.sum(), {}


def _config(model: Any) -> Any:
    return model.module.config if hasattr(model, "module") else model.config  # replicated


@torch.inference_mode()
def nats(model: Any, documents: Sequence[Encoded], batch_tokens: int, context: int) -> "NDArray[np.float64]":
    """Of what is scored of each document, each token given those that are not masked in its pass: (documents,).

    Args:
        model: in evaluation mode.
        documents: as nightforge.tokenizer.encode gives them; longer than the context, they are scored in pieces.
        batch_tokens: bound on rows × padded length of a batch.
        context: longest input in tokens.
    """
    import numpy as np

    owners, rows, wanted = [], [], []
    for i, document in enumerate(documents):
        for piece, marks in zip(pieces(document.ids, context), pieces(document.marks, context), strict=True):
            for first in range(PASSES):
                places = [at for at in range(1, len(piece)) if marks[at] == TEXT and at % PASSES == first]
                if places:
                    owners.append(i)
                    rows.append(piece)
                    wanted.append(places)
    found = np.zeros(len(documents))
    for chosen in batches([len(row) for row in rows], batch_tokens):
        ids, mask = padded([rows[i] for i in chosen], fill=0)
        targets = np.full_like(ids, IGNORE)
        for line, i in enumerate(chosen):
            targets[line, wanted[i]] = ids[line, wanted[i]]
        shown = np.where(targets != IGNORE, model.config.mask_token_id, ids)
        given, seen = (torch.from_numpy(part).to(model.device) for part in (shown, mask))
        logits = model(input_ids=given, attention_mask=seen).logits.float().cpu()
        each = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), torch.from_numpy(targets), ignore_index=IGNORE, reduction="none"
        )
        np.add.at(found, [owners[i] for i in chosen], each.double().sum(dim=1).numpy())
    return found


@torch.inference_mode()
def sample(
    model: Any, prompts: Sequence[Sequence[int]], new_tokens: int, temperature: float, top_p: float, seed: int
) -> list[list[int]]:
    """What the network fills in after each prompt, from the left on: Wang and Cho 2019, arXiv 1902.04094."""
    from nightforge.sampling import draw

    generator = torch.Generator().manual_seed(seed)
    found: dict[int, list[int]] = {}
    for length in dict.fromkeys(map(len, prompts)):
        rows = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
        ids = torch.tensor([list(prompts[i]) for i in rows], device=model.device)  # (rows, seq)
        room = max(0, min(new_tokens, model.config.max_position_embeddings - length))
        ids = torch.cat([ids, ids.new_full((len(rows), room), model.config.mask_token_id)], dim=1)
        for at in range(length, length + room):
            logits = model(input_ids=ids).logits[:, at].float().cpu()
            ids[:, at] = draw(logits / temperature, top_p, generator).to(model.device)
        found |= dict(zip(rows, ids[:, length:].tolist(), strict=True))
    return [found[i] for i in range(len(prompts))]
