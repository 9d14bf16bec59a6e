"""New tokens for a starting model: learnt on the corpus, begun as the mean of their pieces.

Byte-pair merges are learnt on from where the tokenizer's own end, so each new token is one that the model's text is
really made of, and a text without any of them is spelled as before (continued BPE: Purason et al. 2025, *Teaching Old
Tokenizers New Words*). Their embeddings begin as the mean of their pieces' (Gee et al. 2022, *Fast Vocabulary
Transfer*).
"""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from nightforge import tokenizer as documents
from nightforge.config import Config
from nightforge.errors import ConfigError, DataError

if TYPE_CHECKING:
    import torch


class Expand(Config):
    """How many tokens are added."""

    tokens: int = Field(ge=1, le=100_000)
    """Most tokens to add."""
    min_count: int = Field(ge=2)
    """Times that a token must occur in the training texts."""


class Merge(NamedTuple):
    """A new token: what it is merged of."""

    left: str
    right: str
    pieces: list[int]
    """Ids of the tokens that spelled it before."""


def learn(tokenizer: Any, texts: Iterable[str], cfg: Expand) -> list[Merge]:
    """The merges that shorten the texts most, one after the other; ties go to the lowest ids.

    Memory: the different words of the texts, some 500 bytes each.

    Raises:
        ConfigError: the tokenizer is no BPE that splits texts into words first.
    """
    known, words, counts = _spelled(tokenizer, texts)
    names = {i: name for name, i in known.items()}
    pieces = {i: [i] for i in names}
    pairs: Counter[tuple[int, int]] = Counter()
    where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for at, word in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += counts[at]
            where[pair].add(at)
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    found: list[Merge] = []
    while heap and len(found) < cfg.tokens:
        n, (left, right) = heapq.heappop(heap)
        now, name = pairs[left, right], names[left] + names[right]
        if now != -n or now < cfg.min_count or name in known:  # a special token must never come of a text
            continue
        new = known[name] = max(names) + 1
        names[new], pieces[new] = name, pieces[left] + pieces[right]
        found.append(Merge(names[left], names[right], pieces[new]))
        changed: set[tuple[int, int]] = set()
        for at in where[left, right]:
            old, words[at] = words[at], merged(words[at], (left, right), new)
            for sign, word in ((-1, old), (1, words[at])):
                for pair in pairwise(word):
                    pairs[pair] += sign * counts[at]
                    where[pair].add(at)
                    changed.add(pair)
        for pair in changed:
            heapq.heappush(heap, (-pairs[pair], pair))
    return found


def merged(word: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """A word in which a pair of tokens is one, from the left on."""
    out: list[int] = []
    for token in word:
        if out and (out[-1], token) == pair:
            out[-1] = new
        else:
            out.append(token)
    return out


def add(model: Any, tokenizer: Any, merges: Sequence[Merge]) -> None:
    """Teach the tokenizer the merges, in place, and give the model a row for each new token."""
    from tokenizers import Tokenizer

    spec = _spec(tokenizer)
    # Added tokens keep their ids if the model knows them; else they would be counted from the end of its vocabulary.
    vocab = spec["model"]["vocab"] = spec["model"]["vocab"] | tokenizer.get_added_vocab()
    first = max(vocab.values()) + 1
    for i, merge in enumerate(merges):
        vocab[merge.left + merge.right] = first + i
        spec["model"]["merges"].append([merge.left, merge.right])
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(spec))
    begin(model, first, [merge.pieces for merge in merges])


def add_labels(model: Any, tokenizer: Any, labels: Iterable[str]) -> None:
    """A token for each label that has none, begun as the mean of what spells it; see nightforge.tokenizer."""
    before = tokenizer.get_vocab()
    documents.add_labels(tokenizer, labels)
    new = sorted((i, name) for name, i in tokenizer.get_vocab().items() if name not in before)
    if new:
        names = [name for _, name in new]
        spelled = tokenizer(names, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        begin(model, new[0][0], spelled)


def check(model: Any, tokenizer: Any, name: str) -> None:
    """A starting model must have an embedding for each token, and finite weights.

    Raises:
        DataError: it has not; `name` says which model.
    """
    import torch

    rows, highest = model.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise DataError(
            f"{name}: expected a tokenizer that fits the model's {rows} embeddings, got token ids up to {highest}. "
            "Lay the tokenizer that came with these weights into the folder."
        )
    for weight, values in model.state_dict().items():
        if values.is_floating_point() and not torch.isfinite(values).all():
            raise DataError(
                f"{name}: expected finite weights, found NaN or infinity in {weight}. The file is broken, or its "
                "training diverged: take another."
            )


def begin(model: Any, first: int, pieces: Sequence[Sequence[int]]) -> None:
    """Rows for new tokens from `first` on, in the embedding and the output alike: each the mean of its pieces' rows."""
    grow(model, first + len(pieces))
    for layer in tables(model):
        write(layer, first, means(layer, pieces))


def grow(model: Any, tokens: int) -> None:
    """Room for so many tokens, where there is less."""
    if tokens > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(tokens, mean_resizing=False)


def tables(model: Any) -> list[Any]:
    """The embedding, and the output layer where it has weights of its own."""
    found = {id(layer.weight): layer for layer in (model.get_input_embeddings(), model.get_output_embeddings())}
    return list(found.values())


def means(layer: Any, pieces: Sequence[Sequence[int]]) -> "torch.Tensor":
    """The mean of the rows of each token's pieces: (tokens, hidden)."""
    import torch

    table = layer.weight.detach()
    return torch.stack([table[list(ids)].mean(dim=0) for ids in pieces])


def write(layer: Any, first: int, rows: "torch.Tensor") -> None:
    """Rows (tokens, hidden) into a table, from `first` on."""
    import torch

    with torch.no_grad():
        layer.weight[first : first + len(rows)] = rows.to(layer.weight)


def _spelled(tokenizer: Any, texts: Iterable[str]) -> tuple[dict[str, int], list[list[int]], list[int]]:
    """The vocabulary; the different words of the texts that are several tokens; how often each comes."""
    _spec(tokenizer)
    backend = tokenizer.backend_tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    spelled = [([token.id for token in backend.model.tokenize(word)], n) for word, n in sorted(counts.items())]
    several = [(ids, n) for ids, n in spelled if len(ids) > 1]
    return dict(tokenizer.get_vocab()), [ids for ids, _ in several], [n for _, n in several]


def _spec(tokenizer: Any) -> dict[str, Any]:
    """tokenizer.json, of a tokenizer that can learn further merges."""
    spec: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    kind, prefix = spec["model"]["type"], spec["model"].get("continuing_subword_prefix")
    if kind != "BPE" or prefix or spec["pre_tokenizer"] is None:
        raise ConfigError(
            "train.expand: expected a starting model whose tokenizer is a BPE of words, such as GPT-2's or Llama 3's, "
            f"got {kind} {'with a prefix' if prefix else 'without a pre-tokenizer'}. Set train.expand: null."
        )
    return spec
