"""A model is a folder: `model.json` says what it is and how to load it, safetensors hold the weights.

Nothing is ever downloaded and no code from a model folder is ever run (`local_files_only`, `trust_remote_code` off).
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightforge import gguf_models
from nightforge.errors import AssetMissing, ConfigError, DataError
from nightforge.scoring import Ids, LogitsFn

if TYPE_CHECKING:
    import torch

CARD = "model.json"
BPB = "bpb"
CAUSAL, SEQ2SEQ = "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"
ARCHITECTURES = {
    CAUSAL: {
        "GemmaForCausalLM",
        "GraniteForCausalLM",
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Phi3ForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
        "SmolLM3ForCausalLM",
    },
    SEQ2SEQ: {
        "BartForConditionalGeneration",
        "MarianMTModel",
        "MT5ForConditionalGeneration",
        "PegasusForConditionalGeneration",
        "T5ForConditionalGeneration",
    },
}
"""Classes of transformers that can be compressed and exported, by the class that reads them: the model builder of ONNX
Runtime GenAI 0.18 gives the logits of torch for each causal one, and their tensors are named like Llama's (for Olmo it
gives others, and it has no GPT-2); the graphs of nightforge/seq2seq_models.py do for each encoder-decoder (MBart begins
a response with its own last token, and is none of them)."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, in evaluation mode, with its tokenizer and its card (model.json)."""

    model: Any
    tokenizer: Any
    card: dict[str, Any]

    @property
    def context(self) -> int:
        """Longest input in tokens."""
        return int(self.card["context_length"])


def card(folder: Path) -> dict[str, Any]:
    """What model.json says.

    Raises:
        AssetMissing: the folder has none.
    """
    path = folder / CARD
    if not path.is_file():
        raise AssetMissing(f"{folder}: expected a model folder with {CARD}, found none. Run: dvc repro train")
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def metric(folder: Path) -> str:
    """What a model's nats by unit are called: bits per byte of text, or what the card of its family says."""
    return str(card(folder).get("metric", BPB))


def save(folder: Path, model: Any, tokenizer: Any, facts: dict[str, Any]) -> None:
    """Write a transformers model as a model folder: fp32 safetensors, tokenizer and card.

    Args:
        folder: made if it is not there.
        model: a transformers causal LM.
        tokenizer: a transformers fast tokenizer.
        facts: what else the card says, such as the family and the chosen precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _quiet()
    model.float().save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    _compact(folder / "tokenizer.json")
    content = {
        "loader": "transformers",
        "dtype": "float32",
        "tokenizer_sha256": _sha256(folder / "tokenizer.json"),
        "parameters": sum(p.numel() for p in model.parameters()),
        "context_length": context_length(model),
        **facts,
    }
    (folder / CARD).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path, device: str = "cpu") -> Loaded:
    """Load a model folder written by `save`.

    Raises:
        AssetMissing: no model.json, or no safetensors.
        DataError: the loader is not ours, or tokenizer.json is not the one that the model was trained with.
    """
    facts = card(folder)
    if facts["loader"] != "transformers":
        raise DataError(f"{folder}/{CARD}: expected loader 'transformers', got {facts['loader']!r}.")
    if (now := _sha256(folder / "tokenizer.json")) != facts["tokenizer_sha256"]:
        raise DataError(
            f"{folder}/tokenizer.json: expected sha256 {facts['tokenizer_sha256'][:12]} as {CARD} says, "
            f"got {now[:12]}. Bring the folder back with: dvc checkout"
        )
    model, tokenizer = read_transformers(folder, facts.get("class", CAUSAL))
    return Loaded(model.to(device).eval(), tokenizer, facts)


def read_transformers(folder: Path, kind: str = CAUSAL) -> tuple[Any, Any]:
    """The model and the tokenizer of any local Hugging Face folder, in fp32.

    Args:
        folder: with config.json, *.safetensors and the tokenizer's files; for a causal LM it may be one *.gguf instead.
        kind: the class of transformers that reads it, such as AutoModel or AutoModelForSequenceClassification.

    Raises:
        AssetMissing: the folder is not there or holds no safetensors (pickled weights could run code).
        ConfigError: a model that reads several texts at once, and a tokenizer that cannot pad them.
    """
    import torch
    import transformers

    if kind == CAUSAL and (file := gguf_models.sole(folder)):
        return gguf_models.read(file)
    if not list(folder.glob("*.safetensors")):
        raise AssetMissing(
            f"{folder}: expected a Hugging Face folder with *.safetensors, found none. "
            "Convert pickled weights first: model.save_pretrained(folder, safe_serialization=True)"
        )
    _quiet()
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe)
    if kind != CAUSAL and tokenizer.pad_token is None:
        raise ConfigError(
            f"{folder}: expected a tokenizer with a pad_token, found none. Name one in its tokenizer_config.json, and "
            "its id as pad_token_id in config.json."
        )
    model = getattr(transformers, kind).from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **safe)
    return model, tokenizer


def check_architecture(folder: Path, kind: str = CAUSAL) -> None:
    """A model that could not be compressed is refused before it is trained.

    Args:
        folder: of Hugging Face.
        kind: the class of transformers that reads it.

    Raises:
        ConfigError: its config.json (or its GGUF file) names a class that is none of ARCHITECTURES.
    """
    if file := gguf_models.sole(folder):
        named = [gguf_models.architecture(file)]
    else:
        named = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or ["none"]
    if named[0] not in ARCHITECTURES[kind]:
        raise ConfigError(
            f"{folder}: expected an architecture that can be compressed and exported "
            f"({', '.join(sorted(ARCHITECTURES[kind]))}), got {named[0]}. "
            "Name a folder of one of these in train.model of params.yaml, or train from scratch."
        )


def context_length(model: Any) -> int:
    """Longest input in tokens that a transformers model was made for; no bound where positions are relative (T5)."""
    return int(getattr(model.config, "max_position_embeddings", None) or sys.maxsize)


def window(model: Any, tokenizer: Any) -> int:
    """Most tokens of a text that an encoder reads at once, those that mark its ends included.

    Some (RoBERTa) have more positions than they may use, and only their tokenizer says so.
    """
    return min(context_length(model), int(tokenizer.model_max_length))


def logits_fn(model: Any) -> LogitsFn:
    """A transformers causal LM as `nightforge.scoring.document_nats` wants it."""
    import torch

    @torch.inference_mode()
    def logits(input_ids: Ids, attention_mask: Ids) -> "torch.Tensor":
        # Right padding cannot reach a real token through a causal mask, so the mask itself is not needed: without
        # it the attention takes its fast causal path.
        ids = torch.from_numpy(np.ascontiguousarray(input_ids)).to(model.device)
        out: torch.Tensor = model(input_ids=ids, use_cache=False).logits
        return out

    return logits


def _compact(path: Path) -> None:
    """JSON without its indentation, which is half of a tokenizer.json and counts in the size of a small model."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def _quiet() -> None:
    """No progress bar of transformers for what takes a moment."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
