"""Local models of transformers as augmenters use them: read once a process, drawn from with a seed.

Nothing is downloaded, no code of a folder is run, and weights are safetensors alone (nightforge/models.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field

from nightforge import assets as laid
from nightforge import models
from nightforge.config import Config

_STARTS = ("Ġ", "▁")
"""What a token begins with that begins a word: byte-level BPE and SentencePiece. WordPiece marks the others (`##`)."""


class Sampling(Config):
    """How texts are drawn from a model."""

    temperature: float = Field(ge=0.05, le=5)
    """Divides the logits: below 1 the likely becomes likelier."""
    top_p: float = Field(gt=0, le=1)
    """Probability of the likeliest tokens that may be drawn: Holtzman et al. 2020, arXiv 1904.09751."""
    new_tokens: int = Field(ge=1, le=4096)
    """Most tokens to draw for one sentence."""
    batch: int = Field(ge=1, le=1024)
    """Sentences that the model reads at once."""


@dataclass(frozen=True)
class Local:
    """A model in evaluation mode, and its tokenizer."""

    model: Any
    tokenizer: Any

    @cached_property
    def words(self) -> list[str]:
        """Token id → the word that it is, if it is a whole one in lower-case letters, else nothing."""
        count = self.model.config.vocab_size
        tokens = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        marked = any(token.startswith(_STARTS) for token in tokens)  # what begins no word has no mark
        found = [""] * count
        for i, text in enumerate(self.tokenizer.batch_decode([[i] for i in range(len(tokens))])):
            word = text.strip()
            if word.isalpha() and word.islower() and (not marked or tokens[i].startswith(_STARTS)):
                found[i] = word
        return found


@lru_cache(maxsize=4)
def load(assets: Path, name: str, kind: str) -> Local:
    """The model of an asset, on the first GPU if there is one.

    Args:
        assets: the folder of all assets.
        name: of the asset: a Hugging Face folder with safetensors.
        kind: transformers' class that reads it, such as AutoModelForMaskedLM.

    Raises:
        AssetMissing: there is no such folder, or no safetensors in it.
    """
    import torch

    folder = laid.folder(assets, name, f"a Hugging Face folder for {kind} (config.json, *.safetensors, a tokenizer)")
    model, tokenizer = models.read_transformers(folder, kind)
    return Local(model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer)


def generate(local: Local, texts: Sequence[str], cfg: Sampling, seed: int) -> list[str]:
    """What the model says to each text; the random state of torch is as it was afterwards.

    A text that is longer than the model's input is answered by nothing.
    """
    import torch

    # A causal model goes on after its prompt: padding must stand before it, and the answer begins behind it.
    causal = not local.model.config.is_encoder_decoder
    local.tokenizer.padding_side = "left" if causal else "right"
    if local.tokenizer.pad_token is None:
        local.tokenizer.pad_token = local.tokenizer.eos_token
    said = [""] * len(texts)
    lengths = [len(local.tokenizer(text).input_ids) for text in texts]
    room = models.context_length(local.model) - (cfg.new_tokens if causal else 0)
    order = sorted((i for i, n in enumerate(lengths) if 0 < n <= room), key=lambda i: lengths[i])
    with torch.inference_mode(), torch.random.fork_rng():
        torch.manual_seed(seed)
        for at in range(0, len(order), cfg.batch):
            rows = order[at : at + cfg.batch]
            ids = local.tokenizer([texts[i] for i in rows], padding=True, return_tensors="pt").to(local.model.device)
            out = local.model.generate(
                input_ids=ids.input_ids,
                attention_mask=ids.attention_mask,
                max_new_tokens=cfg.new_tokens,
                do_sample=True,
                num_beams=1,
                temperature=cfg.temperature,
                top_p=cfg.top_p,
                top_k=0,
                pad_token_id=local.tokenizer.pad_token_id,
            )
            new = out[:, ids.input_ids.shape[1] :] if causal else out
            for row, text in zip(rows, local.tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                said[row] = " ".join(text.strip().partition("\n")[0].split())
    return said
