"""Byte-level BPE trained on the corpus, and the one way in which a document becomes tokens: label, text, end.

Sennrich et al. 2016 (BPE); the byte alphabet and the splitting pattern are GPT-2's, so any text can be encoded and
`tokenizer.json` loads in transformers and in ONNX Runtime GenAI alike.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from nightforge.records import Record

PAD, EOS = "<|pad|>", "<|eos|>"
NO_LABEL = "none"


def label_token(label: str | None) -> str:
    """The special token that conditions a document on its label."""
    return f"<|label:{label or NO_LABEL}|>"


def train(texts: Iterable[str], labels: Iterable[str], vocab: int, context: int) -> Any:
    """A transformers fast tokenizer of exactly `vocab` tokens or fewer, special tokens first.

    Args:
        texts: the training texts; read once.
        labels: every label of the training set; each gets a token.
        vocab: tokens in all, the 256 bytes and the special ones included.
        context: longest sequence in tokens, written as `model_max_length`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [PAD, EOS, *(label_token(label) for label in sorted({*labels, NO_LABEL}))]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=EOS,
        extra_special_tokens=special[2:],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def add_labels(tokenizer: Any, labels: Iterable[str]) -> int:
    """Give a tokenizer that came with a model the tokens it lacks; returns how many were added."""
    wanted = [label_token(label) for label in sorted({*labels, NO_LABEL})]
    added: int = tokenizer.add_special_tokens({"extra_special_tokens": wanted}, replace_extra_special_tokens=False)
    if tokenizer.eos_token is None:
        added += tokenizer.add_special_tokens({"eos_token": EOS})
    if tokenizer.pad_token is None:
        added += tokenizer.add_special_tokens({"pad_token": PAD})
    return added


def encode(tokenizer: Any, record: Record) -> list[int]:
    """`[label token] text tokens [eos]` of one record; see `encode_all`."""
    return next(encode_all(tokenizer, [record]))


def encode_all(tokenizer: Any, records: Iterable[Record]) -> Iterator[list[int]]:
    """`[label token] text tokens [eos]` of each record. A label that training never saw conditions on `none`.

    The text is data: a literal `<|eos|>` in it is spelled out in bytes, never read as the token.
    """
    known = tokenizer.get_added_vocab()
    remaining = iter(records)
    while some := list(islice(remaining, 1000)):
        texts = [record.text for record in some]
        batch = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        for record, ids in zip(some, batch, strict=True):
            yield [_label_id(known, record.label), *ids, tokenizer.eos_token_id]


def prompt(tokenizer: Any, label: str | None) -> list[int]:
    """The tokens that stand before a text of this label."""
    return [_label_id(tokenizer.get_added_vocab(), label)]


def _label_id(known: dict[str, int], label: str | None) -> int:
    return known.get(label_token(label), known[label_token(None)])
