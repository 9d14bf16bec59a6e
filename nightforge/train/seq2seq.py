"""An encoder that reads the prompt and a decoder that writes the response: T5, Raffel et al. 2020, arXiv 1910.10683.

From scratch it is T5 1.1 (gated GELU, no dropout unless asked for); a folder may hold any sequence-to-sequence model of
transformers. A document is cut in two where its last response begins: what stands before, label and template included,
goes into the encoder. ONNX Runtime GenAI has no such models: nightforge/seq2seq_models.py makes graphs of our own.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field

from nightforge.config import Config as BaseConfig
from nightforge.errors import ConfigError
from nightforge.scoring import IGNORE, TEXT, Encoded, batches, padded
from nightforge.tokenizer import fits
from nightforge.training import At

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KIND, CLASS = "text", "AutoModelForSeq2SeqLM"


class Config(BaseConfig):
    """The shape of the network."""

    hidden: int = Field(ge=32, le=16_384)
    """Width of the residual stream."""
    encoder_layers: int = Field(ge=1, le=200)
    """Blocks of the encoder."""
    decoder_layers: int = Field(ge=1, le=200)
    """Blocks of the decoder."""
    heads: int = Field(ge=1, le=256)
    """Heads of each attention; must divide `hidden`."""
    ffn: int = Field(ge=32, le=65_536)
    """Width of the feed-forward layers."""
    dropout: float = Field(ge=0, lt=1)
    """Share dropped of each layer's output and of attention weights in training."""
    label_smoothing: float = Field(ge=0, lt=1)
    """Probability that is spread over all tokens in the loss."""
    vocab: int = Field(ge=300, le=200_000)
    """Tokens of the BPE vocabulary, the 256 bytes and the special ones included."""
    context: int = Field(ge=16, le=131_072)
    """Longest document in tokens, prompt and response together."""


SAMPLE = Config(
    hidden=32, encoder_layers=1, decoder_layers=1, heads=2, ffn=64, dropout=0, label_smoothing=0, vocab=300, context=64
)


def build(cfg: Config, tokenizer: Any) -> Any:
    """A `T5ForConditionalGeneration` with random weights, drawn from torch's generator as the caller seeded it.

    Raises:
        ConfigError: the tokenizer has more tokens than `cfg.vocab`, or heads do not divide the width.
    """
    from transformers import T5Config, T5ForConditionalGeneration

    fits(tokenizer, cfg.vocab)
    if cfg.hidden % cfg.heads:
        raise ConfigError(f"train.family: expected heads that divide hidden ({cfg.hidden}), got {cfg.heads}.")
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=cfg.vocab,
            d_model=cfg.hidden,
            d_kv=cfg.hidden // cfg.heads,
            d_ff=cfg.ffn,
            num_layers=cfg.encoder_layers,
            num_decoder_layers=cfg.decoder_layers,
            num_heads=cfg.heads,
            dropout_rate=cfg.dropout,
            feed_forward_proj="gated-gelu",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )


def loss(model: Any, tensors: Mapping[str, torch.Tensor], cfg: Config, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    """Σ nats of the last response of each row of `ids` (rows, seq), given all before it; see `halves`."""
    source, mask, targets = halves(tensors["ids"], tensors["targets"])
    logits = model(input_ids=source, attention_mask=mask, labels=targets, use_cache=False).logits
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(),
        targets.flatten(),
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=cfg.label_smoothing,
    )
    return nats, {}


def halves(ids: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the encoder reads (rows, source), its mask, and what the decoder writes (rows, target), padded with IGNORE.

    The last run of learnt tokens is written; all before it is read.
    """
    places = torch.arange(ids.shape[1], device=ids.device)
    learnt = targets != IGNORE
    last = torch.where(learnt, places, -1).amax(dim=1, keepdim=True)
    begin = torch.where(~learnt & (places < last), places, -1).amax(dim=1, keepdim=True) + 1
    read = places < begin
    source = torch.where(read, ids, 0)[:, : int(begin.max())]
    width = int((last - begin).max()) + 1
    at = begin + places[:width]
    written = torch.where(at <= last, targets.gather(1, at.clamp_max(ids.shape[1] - 1)), IGNORE)
    return source, read[:, : source.shape[1]].long(), written


@torch.inference_mode()
def nats(model: Any, documents: Sequence[Encoded], batch_tokens: int, context: int) -> "NDArray[np.float64]":
    """Of the text of each document's last response, in nats: (documents,). A prompt beyond the context loses its end.

    Args:
        model: in evaluation mode.
        documents: as nightforge.tokenizer.encode gives them.
        batch_tokens: bound on rows × longest document of a batch.
        context: most tokens that the encoder is given.
    """
    import numpy as np

    found = np.zeros(len(documents))
    scored = [i for i, document in enumerate(documents) if TEXT in document.marks]
    for chosen in batches([len(documents[i].ids) for i in scored], batch_tokens):
        rows = [documents[scored[i]] for i in chosen]
        ends = [len(row.marks) - row.marks[::-1].index(TEXT) for row in rows]
        ids, mask = padded([row.ids[:end] for row, end in zip(rows, ends, strict=True)], fill=0)
        marks, _ = padded([row.marks[:end] for row, end in zip(rows, ends, strict=True)], fill=0)
        given = np.where(mask == 1, ids, IGNORE), np.where(marks == TEXT, ids, IGNORE)
        source, seen, targets = halves(*(torch.from_numpy(part).to(model.device) for part in given))
        source, seen = source[:, :context], seen[:, :context]
        logits = model(input_ids=source, attention_mask=seen, labels=targets, use_cache=False).logits.float()
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORE, reduction="none")
        found[[scored[i] for i in chosen]] = each.double().sum(dim=1).cpu().numpy()
    return found


@torch.inference_mode()
def sample(
    model: Any, prompts: Sequence[Sequence[int]], new_tokens: int, temperature: float, top_p: float, seed: int
) -> list[list[int]]:
    """A response to each prompt, up to its end token or `new_tokens`; the random state of torch is as before."""
    ids, mask = (torch.from_numpy(part).to(model.device) for part in padded(prompts, fill=0))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=new_tokens,
            do_sample=True,
            num_beams=1,
            temperature=temperature,
            top_p=top_p,
            top_k=0,
        )
    end = model.config.eos_token_id
    return [row[: row.index(end)] if end in row else row for row in out[:, 1:].tolist()]
