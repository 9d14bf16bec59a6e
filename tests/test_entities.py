"""Entity tokens: neighbours in the graph begin near each other in the model, and texts stay what they are."""

import random

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from nightforge import entities
from nightforge.knowledge import Triple, graph
from tests import tiny_model

CLIQUES = [
    Triple(f"{kind} {i}", "knows", f"{kind} {j}", "") for kind in ("elm", "oak") for i in range(5) for j in range(i)
]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_spectral_embedding_parts_two_cliques() -> None:
    facts, _ = graph([*CLIQUES, Triple("elm 0", "knows", "oak 0", "")])
    places = entities.vectors(facts, 2)
    assert np.allclose(np.linalg.norm(places, axis=1), 1, atol=1e-5)
    kind = np.array([name.split()[0] for name in facts.names])
    close = places @ places.T
    assert close[np.ix_(kind == "elm", kind == "elm")].min() > 0.9
    assert close[np.ix_(kind == "elm", kind == "oak")].max() < 0.5
    np.testing.assert_array_equal(places, entities.vectors(facts, 2))


def test_a_graph_of_many_parts_has_the_same_places_each_time_on_any_number_of_threads() -> None:
    """Many parts: the largest singular value many times over, so that the solver restarts from vectors it draws."""
    draw = random.Random(1)
    facts, _ = graph(Triple(f"a{draw.randrange(3000)}", "r", f"b{draw.randrange(800)}", "") for _ in range(3000))
    found = []
    for threads in (1, 2, 1, 2):
        with threadpool_limits(threads):
            found.append(entities.vectors(facts, 64).tobytes())
    assert len(set(found)) == 1


def test_against_a_dense_decomposition() -> None:
    facts, _ = graph([*CLIQUES, Triple("elm 0", "knows", "oak 0", "")])
    n = len(facts.names)
    dense = np.eye(n)
    for subject, _, object_ in facts.edges:
        dense[subject, object_] = dense[object_, subject] = 1
    scale = 1 / np.sqrt(dense.sum(1))
    values, columns = np.linalg.eigh(scale[:, None] * dense * scale)
    top = columns[:, np.argsort(-np.abs(values))[:3]]
    top /= np.linalg.norm(top, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(entities.vectors(facts, 3)), np.abs(top), atol=1e-4)


def test_the_busiest_come_first() -> None:
    facts, _ = graph([Triple("a", "r", "b", ""), Triple("c", "r", "b", ""), Triple("d", "r", "c", "")])
    assert [facts.names[i] for i in entities.busiest(facts, 3)] == ["b", "c", "a"]


def test_a_linear_map_that_exists_is_found() -> None:
    rng = np.random.default_rng(1)
    places = rng.standard_normal((200, 8)).astype(np.float32)
    spelled = places @ rng.standard_normal((8, 32)).astype(np.float32)
    found = entities.aligned(places, spelled)
    assert min(cosine(a, b) for a, b in zip(found, spelled, strict=True)) > 0.999
    assert np.allclose(np.linalg.norm(found, axis=1), np.linalg.norm(spelled, axis=1).mean(), rtol=1e-4)


def test_tokens_are_added_and_texts_come_back() -> None:
    loaded = tiny_model.subject().loaded
    names = ["elm tree", "noon", "café 😀"]
    before = len(loaded.tokenizer)
    table = loaded.model.get_input_embeddings().weight.detach().clone()
    added = entities.give_tokens(loaded.model, loaded.tokenizer, names, np.eye(3, dtype=np.float32))
    assert added == len(loaded.tokenizer) - before >= 2
    text = "an elm tree at noon, a café 😀 and elm trees"
    ids = loaded.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert loaded.tokenizer.decode(ids) == text
    token = loaded.tokenizer.convert_tokens_to_ids("elm tree")
    assert ids.count(token) == 1  # not inside "elm trees"
    now = loaded.model.get_input_embeddings().weight.detach()
    torch.testing.assert_close(now[:before], table[:before])
    assert (now[before : before + added] != 0).any(dim=1).all()
    assert loaded.model(input_ids=torch.tensor([ids])).logits.shape[-1] >= len(loaded.tokenizer)
