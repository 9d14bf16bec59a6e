"""Tokens of their own for the entities of a graph, begun from where they stand in it.

An entity's vector in the graph is a row of the truncated SVD of the normalised adjacency (spectral embedding: Ng,
Jordan and Weiss 2002). A linear map, fitted on the entities' names as the model spells them, brings it into the model's
embedding space (E-BERT: Poerner, Waltinger and Schütze 2020, arXiv 1911.03681).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightforge import vocabulary
from nightforge.knowledge import Graph

Floats = NDArray[np.float32]
RIDGE = 1e-2
"""Of the largest singular value squared: enough that few names do not fit the map to noise."""


def busiest(graph: Graph, most: int) -> list[int]:
    """The entities with most facts, most first; among equals, the one met first."""
    degree = np.bincount(graph.edges[:, [0, 2]].ravel(), minlength=len(graph.names))
    order = np.argsort(-degree, kind="stable")[:most]
    return [int(i) for i in order if degree[i]]


def vectors(graph: Graph, dims: int) -> Floats:
    """The place of every entity in the graph: (entities, ≤ dims) of unit length, zero for one without a fact.

    Memory: some 30 bytes a dimension and entity.
    """
    from scipy import sparse
    from scipy.sparse.linalg import eigsh
    from threadpoolctl import threadpool_limits

    n = len(graph.names)
    rows, columns = graph.edges[:, 0], graph.edges[:, 2]
    adjacency = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), (n, n))
    adjacency = ((adjacency + adjacency.T) > 0).astype(float) + sparse.identity(n)
    scale = sparse.diags(1 / np.sqrt(np.asarray(adjacency.sum(axis=1)).ravel()))
    width = min(dims, n - 1)
    if width < 1:
        return np.zeros((n, 1), np.float32)
    # Of a symmetric matrix, the singular vectors are the eigenvectors; unlike `svds`, `eigsh` takes the seed of its
    # restarts. Sums of several threads come out differently.
    with threadpool_limits(1):
        size, columns = eigsh(scale @ adjacency @ scale, k=width, v0=np.linspace(1, 2, n), rng=np.random.default_rng(0))
    found = columns[:, np.argsort(-np.abs(size), kind="stable")]
    found *= np.sign(found[np.abs(found).argmax(axis=0), np.arange(width)])  # a singular vector has no sign of its own
    length = np.linalg.norm(found, axis=1, keepdims=True)
    degree = np.bincount(graph.edges[:, [0, 2]].ravel(), minlength=n)[:, None]
    return np.where(degree > 0, found / np.maximum(length, 1e-12), 0.0).astype(np.float32)


def aligned(places: Floats, spelled: Floats) -> Floats:
    """Vectors for the model's embedding table: (entities, hidden).

    The ridge regression of the spelled names on the places, brought to the mean length of the spelled ones.

    Args:
        places: (entities, dims) in the graph.
        spelled: (entities, hidden), for each entity the mean of the embeddings of its name's tokens.
    """
    gram = places.T @ places
    gram += np.eye(len(gram), dtype=np.float32) * RIDGE * max(float(np.linalg.norm(gram, 2)), 1e-12)
    mapped = places @ np.linalg.solve(gram, places.T @ spelled)
    length = np.linalg.norm(mapped, axis=1, keepdims=True)
    wanted = float(np.linalg.norm(spelled, axis=1).mean())
    found: Floats = np.where(length > 1e-9, mapped / np.maximum(length, 1e-9) * wanted, spelled).astype(np.float32)
    return found


def give_tokens(model: Any, tokenizer: Any, names: Sequence[str], places: Floats) -> int:
    """Add a token for each name that is none yet, and begin its embedding from its place; returns how many.

    Raises nothing for names that are tokens already: they keep the embedding that they have.
    """
    import torch
    from tokenizers import AddedToken

    new = [i for i, name in enumerate(names) if len(tokenizer.tokenize(name)) > 1]
    if not new:
        return 0
    pieces = [tokenizer(names[i], add_special_tokens=False)["input_ids"] for i in new]
    spelled = vocabulary.means(model.get_input_embeddings(), pieces).float().cpu().numpy()
    first = len(tokenizer)
    tokenizer.add_tokens([AddedToken(names[i], single_word=True, normalized=False) for i in new])
    vocabulary.grow(model, len(tokenizer))
    begun = torch.from_numpy(aligned(places[new], spelled))
    for layer in vocabulary.tables(model):
        vocabulary.write(layer, first, begun)
    return len(new)
