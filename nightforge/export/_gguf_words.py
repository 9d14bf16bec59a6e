"""A byte-level BPE tokenizer as GGUF's metadata says it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightforge.errors import ConfigError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""llama_token_type of llama.h."""
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False}


@dataclass(slots=True)
class Words:
    """What the file says of the tokenizer."""

    split: str
    """llama.cpp's name of the way in which text is split (`tokenizer.ggml.pre`)."""
    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    special: dict[str, int]
    """bos, eos, unk, pad → id, of those that there are."""
    template: str | None
    remarks: list[str] = field(default_factory=list)

    def write(self, writer: Any) -> None:
        """Into a gguf.GGUFWriter."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.split)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.kinds)
        writer.add_token_merges(self.merges)
        for name, number in self.special.items():
            getattr(writer, f"add_{name}_token_id")(number)
        writer.add_add_bos_token(False)
        if self.template:
            writer.add_chat_template(self.template)


def read(plain: Path, vocab: int) -> Words:
    """The tokenizer of a Hugging Face folder.

    Args:
        plain: with tokenizer.json.
        vocab: rows of the embedding; what no token has is filled up.

    Raises:
        ConfigError: it is no byte-level BPE, or it splits text in a way that llama.cpp has no name for.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(plain, local_files_only=True)
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    if parts["model"]["type"] != "BPE" or parts["model"].get("byte_fallback"):
        raise ConfigError(f"{plain}: gguf: expected a byte-level BPE tokenizer, got {parts['model']['type']}.")
    tokens = [f"[PAD{i}]" for i in range(vocab)]
    kinds = [UNUSED] * vocab
    for word, i in parts["model"]["vocab"].items():
        tokens[i], kinds[i] = word, NORMAL
    for added in parts["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in parts["model"]["merges"]]
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "unk", "pad")}
    special = {name: i for name, i in ids.items() if i is not None}
    words = Words(_split(plain, parts["pre_tokenizer"]), tokens, kinds, merges, special, tokenizer.chat_template)
    if parts["normalizer"] is not None:
        words.remarks.append(
            f"llama.cpp leaves out what the tokenizer does to text first: {parts['normalizer']['type']}"
        )
    return words


def _split(plain: Path, pre: dict[str, Any]) -> str:
    """llama.cpp's name (src/llama-vocab.cpp) of a pre_tokenizer of tokenizer.json."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    parts = pre["pretokenizers"] if pre["type"] == "Sequence" else [pre]
    first, last = parts[0], parts[-1]
    whole = _bytes(last, use_regex=True)
    if len(parts) == 1 and whole:
        return "gpt-2"
    if len(parts) == 2 and whole and first["type"] == "Digits" and first["individual_digits"]:
        return "smollm"
    if len(parts) == 2 and _bytes(last, use_regex=False) and first["type"] == "Split" and not first["invert"]:
        for name, pattern in GGUF_PRE_TOKENIZER_SPLITS.items():
            if first["pattern"].get("Regex") == pattern:
                return str(name)
    raise ConfigError(
        f"{plain}: gguf: llama.cpp has no name for how this tokenizer splits text: "
        f"{json.dumps(pre, ensure_ascii=False)[:200]}. Export to another runtime."
    )


def _bytes(part: dict[str, Any], **facts: Any) -> bool:
    """Whether a part of a pre_tokenizer is the byte alphabet, with these facts."""
    return all(part.get(key) == value for key, value in (BYTE_LEVEL | facts).items())


def mend(file: Path, words: Any) -> None:
    """Give a tokenizer that transformers read out of a file the control tokens that it leaves out there.

    It takes one with a character outside of the byte alphabet, such as a blank in a label, for a mistake.
    """
    import gguf

    fields = gguf.GGUFReader(file).fields
    tokens, kinds = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type"))
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    words.add_special_tokens({"extra_special_tokens": control}, replace_extra_special_tokens=False)
