"""An encoder-decoder as the two calls that it answers a prompt with, for each of which an ONNX graph can stand.

`encode` reads a prompt once and keeps what the decoder's cross-attention looks at; `decode` writes on from a cache.
Both are made of what any sequence-to-sequence model of transformers has, so no family is written twice: its decoder,
given no token but the first, leaves the keys and values of cross-attention in its cache, and an exporter leaves out
all else that this computes.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from nightforge import graphs, models
from nightforge.scoring import IGNORE

LOADER = "onnx-seq2seq"
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""What a folder of graphs has of the dense model's, as far as that has it."""
Kept = tuple[torch.Tensor, ...]
"""Keys and values of each layer in turn, (rows, heads, tokens, width of a head) each."""


class TwoCalls(torch.nn.Module):
    """A model that is scored as transformers' are, and generates by its two calls."""

    device = torch.device("cpu")

    def __init__(self, config: Any, network: Any = None) -> None:
        super().__init__()
        self.config, self.network = config, network

    def encode(self, ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        """What cross-attention keeps (see Kept) of prompts (rows, source)."""
        from transformers.modeling_outputs import BaseModelOutput

        read = BaseModelOutput(self.network.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state)
        out = self.network(
            decoder_input_ids=begun(self.config, ids), encoder_outputs=read, attention_mask=mask, use_cache=True
        )
        return _kept(out.past_key_values.cross_attention_cache)

    def decode(self, ids: torch.Tensor, mask: torch.Tensor, *kept: torch.Tensor) -> list[torch.Tensor]:
        """Logits (rows, new, vocab) of what comes after `ids` (rows, new), and what self-attention keeps.

        Args:
            ids: what was written since the last call.
            mask: of the prompts, (rows, source).
            kept: what `encode` gave, then what the last call of this gave beside the logits (see `nothing`).
        """
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache
        from transformers.modeling_outputs import BaseModelOutput

        cross, past = kept[: len(kept) // 2], kept[len(kept) // 2 :]
        cache = EncoderDecoderCache(*(DynamicCache(list(zip(k[::2], k[1::2], strict=True))) for k in (past, cross)))
        cache.is_updated = dict.fromkeys(range(len(cross) // 2), True)
        unread = cross[0].new_zeros(*mask.shape, self.config.hidden_size)
        out = self.network(
            decoder_input_ids=ids, encoder_outputs=BaseModelOutput(unread), attention_mask=mask, past_key_values=cache,
            use_cache=True,
        )  # fmt: skip
        return [out.logits, *_kept(out.past_key_values.self_attention_cache)]

    def __call__(
        self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor, use_cache: bool
    ) -> SimpleNamespace:
        """The `logits` of `labels` (rows, target), which IGNORE pads. It is no part, as graphs.find sees it."""
        written = torch.cat([begun(self.config, labels), labels[:, :-1]], dim=1)
        written = torch.where(written == IGNORE, self.config.pad_token_id, written)
        kept = self.encode(input_ids, attention_mask)
        return SimpleNamespace(logits=self.decode(written, attention_mask, *kept, *nothing(kept))[0])


def _kept(cache: Any) -> list[torch.Tensor]:
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def begun(config: Any, ids: torch.Tensor) -> torch.Tensor:
    """The token that responses begin with, for as many rows as `ids` has: (rows, 1)."""
    return torch.full_like(ids[:, :1], config.decoder_start_token_id)


def nothing(kept: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What self-attention keeps before the first token, for what `encode` gave."""
    return [tensor[:, :, :0] for tensor in kept]


def load(folder: Path) -> models.Loaded:
    """A TwoCalls over the network or over the graphs of a model folder.

    Raises:
        AssetMissing: no model.json, or no weights.
        DataError: the loader is not ours.
    """
    facts = models.card(folder)
    if facts["loader"] != LOADER:
        dense = models.load(folder)
        return models.Loaded(TwoCalls(dense.model.config, dense.model), dense.tokenizer, facts)
    from transformers import AutoConfig, AutoTokenizer

    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    runners = {
        path: graphs.runner(str(folder / (path + graphs.SUFFIX)), gives) for path, gives in facts["parts"].items()
    }
    network = graphs.put(TwoCalls(AutoConfig.from_pretrained(folder, **safe)), runners)
    return models.Loaded(network, AutoTokenizer.from_pretrained(folder, **safe), facts)


@torch.inference_mode()
def respond(model: TwoCalls, prompt: Sequence[int], pick: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[int]:
    """The tokens of a response, without end; `pick` takes logits (1, vocab) to a token (1,)."""
    ids = torch.tensor([list(prompt)])
    mask = torch.ones_like(ids)
    kept = model.encode(ids, mask)
    past, token = nothing(kept), begun(model.config, ids)
    while True:
        logits, *past = model.decode(token, mask, *kept, *past)
        token = pick(logits[:, -1])[:, None]
        yield int(token)
