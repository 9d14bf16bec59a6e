"""Assets for the augmenters: texts, and models of a few thousand random weights in the layout of real ones."""

from pathlib import Path
from typing import Any

TEXTS = [
    "a tall tree with showy flowers stands beside the river",
    "the meal is eaten at noon with bread and soup",
    "any of various large evergreen trees native to the north",
    "call her before the lunch and ask about the garden of the old house by the river with the tall trees",
    "a meal",
]


def write(assets: Path) -> Path:
    """texts, masked_lm, translate_there, translate_back and causal_lm, as the SAMPLEs of the augmenters name them."""
    import torch
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        BertConfig,
        BertForMaskedLM,
        LlamaConfig,
        LlamaForCausalLM,
    )

    (assets / "texts").mkdir(parents=True)
    (assets / "texts" / "some.txt").write_text("\n\n".join(TEXTS), encoding="utf-8")
    words = _tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "</s>"])
    n = len(words)
    torch.set_num_threads(1)  # threads that wait for one another cost more than such models
    torch.manual_seed(0)
    size = {"vocab_size": n, "max_position_embeddings": 96, "pad_token_id": 0}
    bert = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, **size)
    _save(assets / "masked_lm", BertForMaskedLM(bert), words)
    ends = {"bos_token_id": 2, "eos_token_id": 5, "decoder_start_token_id": 5, "forced_eos_token_id": None}
    layers = {
        f"{side}_{what}": v
        for side in ("encoder", "decoder")
        for what, v in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 16))
    }
    for name in ("translate_there", "translate_back"):
        _save(assets / name, BartForConditionalGeneration(BartConfig(d_model=16, **layers, **ends, **size)), words)
    llama = LlamaConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        bos_token_id=2,
        eos_token_id=5,
        **size,
    )
    _save(assets / "causal_lm", LlamaForCausalLM(llama), words)
    return assets


def _tokenizer(special: list[str]) -> Any:
    """Whole words of the texts, the rest unknown."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = [*special, *sorted({word for text in TEXTS for word in text.split()}), "##ing", "Tall"]
    plain = Tokenizer(models.WordPiece({word: i for i, word in enumerate(known)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        eos_token="</s>",
    )


def _save(folder: Path, model: Any, tokenizer: Any) -> None:
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
