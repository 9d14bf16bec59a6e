"""Byte-level BPE trained on the corpus, and the one way in which a document becomes tokens.

Sennrich et al. 2016 (BPE); the byte alphabet and the splitting pattern are GPT-2's, so any text can be encoded and
`tokenizer.json` loads in transformers and in ONNX Runtime GenAI alike.

- A plain text: `[label] text [eos]`.
- A chat, or a prompt and its response, by the tokenizer's chat template if it has one, after the label's token if it
  has a label; otherwise `[label]`, each turn of others and a line feed, each of the assistant's and `[eos]`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from nightforge.errors import ConfigError, DataError
from nightforge.records import Record, turns
from nightforge.scoring import END, GIVEN, TEXT, Encoded

PAD, EOS = "<|pad|>", "<|eos|>"
NO_LABEL = "none"
TODAY = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"
"""What a chat template that asks for the day is told, so that equal data gives equal tokens: Llama 3's default."""
PLACE = "\ue000{}\ue001"
"""Stands for the content of a turn while a template is read; characters of Unicode's private use."""


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


def fits(tokenizer: Any, vocab: int) -> None:
    """Check that a network with so many rows in its table has one for every token.

    Raises:
        ConfigError: the tokenizer has more tokens.
    """
    if len(tokenizer) > vocab:
        raise ConfigError(f"expected at most vocab = {vocab} tokens, the tokenizer has {len(tokenizer)}.")


def add_labels(tokenizer: Any, labels: Iterable[str]) -> int:
    """Give a tokenizer that came with a model the tokens it lacks; returns how many were added."""
    if tokenizer.eos_token is None and tokenizer.sep_token is not None:  # BERT's, whose cls begins what has no label
        tokenizer.eos_token = tokenizer.sep_token
    none = set() if tokenizer.cls_token else {NO_LABEL}
    wanted = [label_token(label) for label in sorted({*labels, *none})]
    added: int = tokenizer.add_special_tokens({"extra_special_tokens": wanted}, replace_extra_special_tokens=False)
    if tokenizer.eos_token is None:
        added += tokenizer.add_special_tokens({"eos_token": EOS})
    if tokenizer.pad_token is None:
        added += tokenizer.add_special_tokens({"pad_token": PAD})
    return added


def encode(tokenizer: Any, record: Record) -> Encoded:
    """One record as tokens; see `encode_all`."""
    return next(encode_all(tokenizer, [record]))


def encode_all(tokenizer: Any, records: Iterable[Record]) -> Iterator[Encoded]:
    """Each record as tokens. A label that training never saw conditions on `none`.

    What records say is data: a literal `<|eos|>` in it is spelled out in bytes, never read as the token.

    Raises:
        DataError: the chat template refuses the roles of a chat, or leaves a turn out.
    """
    spell = _Spelling(tokenizer)
    remaining = iter(records)
    while some := list(islice(remaining, 1000)):
        documents = [spell.parts(record) for record in some]
        texts = [part.said for parts in documents for part in parts if isinstance(part.said, str)]
        ids = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        spelled = iter(ids)
        for parts in documents:
            tokens = [(next(spelled) if isinstance(part.said, str) else part.said, part.mark) for part in parts]
            yield Encoded([i for ids, _ in tokens for i in ids], [mark for ids, mark in tokens for _ in ids])


def prompt(tokenizer: Any, label: str | None) -> list[int]:
    """The tokens that stand before a text of this label."""
    return [_Spelling(tokenizer).label(label)]


class _Part(NamedTuple):
    """Some tokens of a document, or the text that they are of."""

    said: str | Sequence[int]
    mark: int


class _Spelling:
    """How documents are put together of texts and of tokens that are no text."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.added = tokenizer.get_added_vocab()
        self.special = {*tokenizer.all_special_ids, *self.added.values()}
        self.templates: dict[tuple[str, ...], list[list[int]]] = {}

    def label(self, label: str | None) -> int:
        """What a document of this label begins with; BERT's cls for one without, if training had none of ours."""
        found: int = self.added.get(label_token(label), self.added.get(label_token(None), self.tokenizer.cls_token_id))
        return found

    def parts(self, record: Record) -> list[_Part]:
        """The parts of a record."""
        end = _Part([self.tokenizer.eos_token_id], END)
        said = turns(record)
        if said and self.tokenizer.chat_template:
            label = [_Part([self.label(record.label)], GIVEN)] if record.label else []
            return label + self._templated(said, end)
        found = [_Part([self.label(record.label)], GIVEN)]
        if not said:
            return [*found, _Part(record.text, TEXT), end]
        for role, content in said:
            found += [_Part(content, TEXT), end] if role == "assistant" else [_Part(f"{content}\n", GIVEN)]
        return found

    def _templated(self, said: list[tuple[str, str]], end: _Part) -> list[_Part]:
        """A chat in its template; after what the assistant says, the tokens up to the first special one end it."""
        before, *after = self._around(tuple(role for role, _ in said))
        found = [_Part(before, GIVEN)]
        for (role, content), ids in zip(said, after, strict=True):
            ends = next((at + 1 for at, i in enumerate(ids) if i in self.special), 0) if role == "assistant" else 0
            found += [_Part(content, TEXT if role == "assistant" else GIVEN), _Part(ids[:ends], END)]
            found.append(_Part(ids[ends:], GIVEN))
        return found if said[-1][0] != "assistant" or found[-2].said else [*found, end]

    def _around(self, roles: tuple[str, ...]) -> list[list[int]]:
        """The template's tokens before the first turn of these roles, and after each."""
        if roles not in self.templates:
            from jinja2 import TemplateError

            messages = [{"role": role, "content": PLACE.format(i)} for i, role in enumerate(roles)]
            try:
                template = TODAY + self.tokenizer.get_chat_template()
                text = self.tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
            except TemplateError as e:
                raise DataError(
                    f"the tokenizer's chat template refuses a chat of the roles {', '.join(roles)}: {e}. Drop such "
                    "chats with the rule `turns` in clean.rules."
                ) from None
            texts = re.split(PLACE.format("([0-9]+)"), text)
            if texts[1::2] != [str(i) for i in range(len(roles))]:
                raise DataError(
                    f"the tokenizer's chat template leaves out or repeats a turn of a chat of the roles "
                    f"{', '.join(roles)}. Drop such chats with the rule `turns` in clean.rules."
                )
            parse = {"add_special_tokens": False, "split_special_tokens": False, "verbose": False}
            self.templates[roles] = [self.tokenizer(part, **parse)["input_ids"] for part in texts[::2]]
        return self.templates[roles]
