"""GGUF files (llama.cpp's format): a causal LM and its tokenizer as transformers ones, in fp32 and free to be trained.

transformers reads the file and undoes its quantization. Two of its habits are mended here: it leaves marks of a
quantizer on the model, with which it then refuses to save it; and it splits text for byte-level BPE like GPT-2 wherever
it does not know the file's own way (`tokenizer.ggml.pre`; the ways are those of llama.cpp's src/llama-vocab.cpp).
"""

import struct
from pathlib import Path
from typing import Any

from nightforge.errors import ConfigError

MARKS = ("hf_quantizer", "quantization_method", "quantization_config", "is_quantized", "_is_quantized")
LIKE_GPT2 = {"gpt-2", "mpt", "olmo", "jais", "trillion", "granite-docling"}
DIGITS_APART = {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"}
"""Each digit is a word by itself, and the rest is split like GPT-2: `\\p{N}`, then GPT-2's pattern."""


def sole(folder: Path) -> Path | None:
    """The GGUF file of a folder that has no safetensors; none where there is none.

    Raises:
        ConfigError: there are several.
    """
    found = sorted(folder.glob("*.gguf"))
    if not found or list(folder.glob("*.safetensors")):
        return None
    if len(found) > 1:
        raise ConfigError(f"{folder}: expected one *.gguf, found {', '.join(p.name for p in found)}. Keep one of them.")
    return found[0]


def architecture(file: Path) -> str:
    """The class of transformers that a file's model is of.

    Raises:
        ConfigError: as `read`.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    config = _opened(file, AutoConfig)
    classes = AutoModelForCausalLM._model_mapping
    return str(classes[type(config)].__name__) if type(config) in classes else type(config).__name__


def read(file: Path) -> tuple[Any, Any]:
    """The model, dequantized to fp32, and the tokenizer with its chat template.

    Raises:
        ConfigError: it is no GGUF file, or of an architecture or a tokenizer that cannot be read.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = _opened(file, AutoTokenizer)
    _split_as_trained(file, tokenizer)
    model = _opened(file, AutoModelForCausalLM, dtype=torch.float32)
    for holder in (model, model.config):
        for mark in MARKS:
            if mark in vars(holder):
                delattr(holder, mark)
    return model, tokenizer


def _opened(file: Path, kind: Any, **how: Any) -> Any:
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return kind.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True, trust_remote_code=False, **how
        )
    except (ValueError, KeyError, IndexError, RuntimeError, OSError, struct.error) as e:
        raise ConfigError(
            f"{file}: expected a GGUF file of a causal language model that transformers can read, got "
            f"{type(e).__name__}: {e}. Convert it to a Hugging Face folder with safetensors, and name that."
        ) from None


def _split_as_trained(file: Path, tokenizer: Any) -> None:
    """Give byte-level BPE the splitting that its merges were learnt with.

    Raises:
        ConfigError: the file names one that is not known here.
    """
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf import get_gguf_tokenizer
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    facts = get_gguf_tokenizer(str(file))[1]
    way = facts.get("pre_tokenizer_type")
    if facts.get("tokenizer_type") != "gpt2" or way in LIKE_GPT2 or way in GGUF_PRE_TOKENIZER_SPLITS:
        return
    if way not in DIGITS_APART:
        known = sorted({*LIKE_GPT2, *DIGITS_APART, *GGUF_PRE_TOKENIZER_SPLITS})
        raise ConfigError(f"{file}: expected tokenizer.ggml.pre to be one of {', '.join(known)}, got {way!r}.")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
