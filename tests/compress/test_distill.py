"""What training after compression must leave as it is, and what it must regain."""

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.nn import functional

from nightforge.compress import _recover, distill, prune_layers, rtn
from nightforge.compress._context import Context
from nightforge.compress._trained import Adapted, Kept, Rounded, Scaled, attach, settle
from nightforge.compress._written import Written, written
from nightforge.corpus import Corpus
from nightforge.errors import ConfigError, DataError
from nightforge.grids import Grid, Spec, encode, fit
from nightforge.held import Factored, Held, Tensors
from nightforge.packing import pack
from nightforge.scoring import IGNORE
from tests.small_lm import Small

HEAD = "model.embed_tokens.weight"
WAYS = [("all", None), ("scales", None), ("lora", 4)]


def config(**changes: Any) -> distill.Config:
    """The sample with other values; `steps` and `lr` of its loop."""
    loop = distill.SAMPLE.loop.model_copy(update={"steps": changes.pop("steps", 40), "eval_every": 20})
    if "lr" in changes:
        optimizer = loop.model_dump()["optimizer"] | {"lr": changes.pop("lr")}
        loop = type(loop)(**loop.model_dump() | {"optimizer": optimizer})
    values = {"loop": loop, "trains": "scales", "rank": None, "alpha": 0.5, "hidden": 0.0, "texts": None}
    return distill.SAMPLE.model_copy(update=values | changes)


def rounded(small: Small, bits: int = 3, layers: tuple[str, ...] = ("model.layers.*", "lm_head")) -> Held:
    """The small model on a coarse grid, a tenth of one layer pruned before."""
    held = small.held()
    pruned = held.model.model.layers[1].mlp.up_proj.weight.data
    pruned[pruned.abs() < pruned.abs().quantile(0.1)] = 0
    return rtn.apply(held, small.given, rtn.SAMPLE.model_copy(update={"bits": bits, "layers": list(layers)}))


def test_the_loss_by_hand(small: Small) -> None:
    """Three tokens in two rows, one of them masked: against softmaxes written out."""
    torch.manual_seed(1)
    student, teacher = small.held().model, small.model
    for p in student.parameters():
        p.data += 0.05 * torch.randn_like(p)
    ids = torch.tensor([[5, 9, 7, 8], [4, 6, IGNORE, IGNORE]])
    targets = torch.tensor([[IGNORE, IGNORE, 7, 8], [IGNORE, 6, IGNORE, IGNORE]])
    cfg = config(alpha=0.3, temperature=2.0, hidden=0.7)
    total, seen = _recover.distance(student, teacher, {"ids": ids, "targets": targets}, cfg)
    nats = divergence = 0.0
    hidden: list[list[torch.Tensor]] = [[], [], []]
    truth: list[list[torch.Tensor]] = [[], [], []]
    for row, at, word in ((0, 1, 7), (0, 2, 8), (1, 0, 6)):
        ours, theirs = (
            m(input_ids=ids[row : row + 1, : at + 1], output_hidden_states=True) for m in (student, teacher)
        )
        p, q = ((x.logits[0, at] / 2).softmax(0) for x in (theirs, ours))
        divergence += float((p * (p / q).log()).sum())
        nats -= float(ours.logits[0, at].softmax(0)[word].log())
        for block in range(3):
            hidden[block].append(ours.hidden_states[block + 1][0, at])
            truth[block].append(theirs.hidden_states[block + 1][0, at])
    apart = sum(
        float((torch.stack(x) - torch.stack(y)).square().mean(1).sum() / torch.stack(y).square().mean())
        for x, y in zip(hidden, truth, strict=True)
    )
    assert seen == pytest.approx({"nats": nats, "divergence": divergence, "hidden": apart / 3}, rel=1e-4)
    assert float(total.detach()) == pytest.approx(0.7 * nats + 0.3 * 4 * divergence + 0.7 * apart / 3, rel=1e-4)


def test_a_shallow_student_is_compared_at_the_same_share_of_the_depth() -> None:
    """Two blocks against four: with the teacher's second and fourth."""
    deep = [torch.full((1, 2), float(i)) for i in (1, 2, 3, 4)]
    assert float(_recover._apart([deep[1], deep[3]], deep)) == 0.0
    assert float(_recover._apart([deep[0], deep[3]], deep)) == pytest.approx(0.25 / 2)  # (1 − 2)² / 2², of two blocks


def test_packed_rows_are_kept_apart(small: Small) -> None:
    rows: Corpus = small.given.data()  # type: ignore[assignment]
    few = rows._replace(starts=rows.starts[:7], parts=rows.parts[:7])
    alone, together = few.batch(range(6)), pack(few, 64)
    student = rounded(small).model
    cfg = config(alpha=0.5, hidden=0.2)
    one, _ = _recover.distance(student, small.model, alone.tensors, cfg)
    parts = [together.batch([i]) for i in range(len(together.sizes))]
    assert len(parts) < 6
    other = sum(_recover.distance(student, small.model, b.tensors, config(alpha=0.5))[0] for b in parts)
    plain, _ = _recover.distance(student, small.model, alone.tensors, config(alpha=0.5))
    assert float(other) == pytest.approx(float(plain.detach()), rel=1e-4) and float(one) > float(plain.detach())


def test_gradients_go_straight_through() -> None:
    """LSQ's equation 3: inside, the scale gets round(v) − v and the weight 1; outside, the end of the range and 0."""
    weight = torch.tensor([[0.9, -0.3, 5.0, -4.0]])
    grid = Grid(Spec(3, 16, True), torch.zeros(1, 4, dtype=torch.uint8), torch.tensor([[0.5]]), torch.tensor([[4]]))
    part, latent = Rounded(grid, weight.device), weight.clone().requires_grad_()
    out = part(latent)
    assert out.tolist() == [[1.0, -0.5, 1.5, -2.0]]  # 1.8 → 2, −0.6 → −1, and −4 … 3 are all there is
    for at, (moves, scale) in enumerate([(1.0, 2 - 1.8), (1.0, -1 + 0.6), (0.0, 3.0), (0.0, -4.0)]):
        grads = torch.autograd.grad(out[0, at], [latent, part.change], retain_graph=True)
        assert float(grads[0][0, at]) == moves
        assert float(grads[1]) == pytest.approx(scale * 0.5, rel=1e-5)  # of the logarithm


@pytest.mark.parametrize(("trains", "rank"), WAYS)
def test_what_is_to_be_trained_computes_what_was_held(small: Small, trains: Any, rank: int | None) -> None:
    held = rounded(small)
    before, ids = copy.deepcopy(held), torch.tensor([[5, 9, 7, 8]])
    attach(held, trains, rank, 1, {})
    torch.testing.assert_close(held.model(input_ids=ids).logits, before.model(input_ids=ids).logits)
    settle(held)
    after = held.model.state_dict()
    assert all(v.equal(after[k]) for k, v in before.model.state_dict().items())
    assert held.model.lm_head.weight is held.model.model.embed_tokens.weight
    assert all(p.requires_grad for p in held.model.parameters())


@pytest.mark.parametrize(("trains", "rank"), WAYS)
def test_a_compressed_model_stays_compressed_and_regains(small: Small, trains: Any, rank: int | None) -> None:
    held = rounded(small)
    before = copy.deepcopy(held)
    lost = small.nats(held.model)
    distill.apply(held, small.given, config(trains=trains, rank=rank))
    layers = dict(held.model.named_modules())
    assert held.grids.keys() == before.grids.keys() and len(held.grids) == 3 * 7 + 1
    assert all(layers[name].weight.equal(grid.values()) for name, grid in held.grids.items())
    moved = [not held.grids[name].ints.equal(grid.ints) for name, grid in before.grids.items()]
    assert any(moved) if trains != "scales" else not any(moved)
    assert any(not held.grids[name].scales.equal(grid.scales) for name, grid in before.grids.items())
    pruned = "model.layers.1.mlp.up_proj"
    kept, was, now = before.pruned[pruned], before.model.get_submodule(pruned).weight, layers[pruned].weight
    assert held.pruned.keys() == {pruned} and held.pruned[pruned].equal(kept) and not now[~kept].any()
    assert bool(now[kept & (was == 0)].any()) is (trains != "scales"), "what merely was rounded to zero may move"
    assert not any(map(_is_parametrized, held.model.modules()))
    left, (name, figures) = small.nats(held.model), held.notes[0]
    assert name == "distill" and figures["nats_before"] == pytest.approx(lost)
    assert figures["nats_after"] == pytest.approx(left, rel=1e-5)
    assert lost - left > 0.39 * (lost - small.nats(small.model))  # what NNCF's table of QAT with LoRA gives


def _is_parametrized(module: torch.nn.Module) -> bool:
    return torch.nn.utils.parametrize.is_parametrized(module)


def test_low_rank_layers_and_masks_without_grids(small: Small) -> None:
    held = small.held()
    down, up = torch.nn.Linear(64, 8, bias=False), torch.nn.Linear(8, 128, bias=False)
    u, s, v = torch.linalg.svd(held.model.model.layers[0].mlp.up_proj.weight.data, full_matrices=False)
    down.weight.data, up.weight.data = v[:8], u[:, :8] * s[:8]
    held.model.model.layers[0].mlp.up_proj = Factored(down, up)
    gate = held.model.model.layers[1].mlp.gate_proj.weight
    gate.data[:, ::2] = 0
    distill.apply(held, small.given, config(trains="lora", rank=2, steps=20, alpha=1.0))
    layer = held.model.model.layers[0].mlp.up_proj
    assert isinstance(layer, Factored) and layer.down.weight.shape == (8, 64)
    gate = held.model.model.layers[1].mlp.gate_proj.weight
    assert not gate[:, ::2].any() and gate[:, 1::2].any() and not held.grids
    figures = held.notes[0][1]
    assert figures["nats_after"] < figures["nats_before"] - 0.1


def test_a_student_of_fewer_blocks_learns_from_the_whole(small: Small) -> None:
    """Its blocks are compared with the teacher's on the way, too."""
    held = prune_layers.apply(small.held(), small.given, prune_layers.Config(remove=1, by="even"))
    figures = distill.apply(held, small.given, config(trains="all", hidden=0.5)).notes[0][1]
    lost = figures["nats_before"] - figures["nats_teacher"]
    assert lost > 0.2 and figures["nats_before"] - figures["nats_after"] > 0.5 * lost


def test_the_teacher_writes_what_is_trained_on(small: Small) -> None:
    """Texts go on from rows of the split, which are not learnt, and end where the teacher ends them."""
    split: Corpus = small.given.data()  # type: ignore[assignment]
    asked = Written(texts=70, prompt_tokens=4, new_tokens=40, temperature=0.7, top_p=0.9)
    made = written(small.model, split, asked, 3)
    end = small.model.config.eos_token_id
    starts = {tuple(split.ids[a : a + 4].tolist()) for a in split.starts[:-1]}
    assert len(made.sizes) == 70 and len({made.ids[a:b].tobytes() for a, b in pairwise(made.starts)}) > 60
    for begin, stop in pairwise(made.starts):
        assert tuple(made.ids[begin : begin + 4].tolist()) in starts
        assert made.learnt[begin:stop].tolist() == [False] * 4 + [True] * (stop - begin - 4)
        assert stop - begin == 44 or made.ids[stop - 1] == end
    assert written(small.model, split, asked, 3).ids.tolist() == made.ids.tolist()
    held = rounded(small)
    figures = distill.apply(held, small.given, config(alpha=0.0, texts=asked, steps=20)).notes[0][1]
    assert figures["nats_after"] < figures["nats_before"] and "nats_teacher" in figures


def test_a_second_start_does_not_train_again(small: Small) -> None:
    kept: dict[str, Tensors] = {}
    made: list[str] = []

    def keep(key: str, make: Callable[[], Tensors]) -> Tensors:
        if key not in kept:
            made.append(key)
            kept[key] = make()
        return dict(kept[key])

    given = small.given.__class__(**{f: getattr(small.given, f) for f in small.given.__slots__} | {"keep": keep})
    one, other = (distill.apply(rounded(small), given, config(trains="lora", rank=2, steps=8)) for _ in range(2))
    assert made == ["trained"] and one.notes == other.notes
    weights = other.model.state_dict()
    assert all(v.equal(weights[k]) for k, v in one.model.state_dict().items())


def test_activations_that_are_computed_anew_change_nothing(small: Small) -> None:
    cfg = config(trains="lora", rank=2, steps=4)
    other = config(trains="lora", rank=2, loop=cfg.loop.model_copy(update={"recompute": True}))
    one, again = (distill.apply(rounded(small), small.given, each) for each in (cfg, other))
    assert one.notes == again.notes and one.notes[0][1]["best_step"] == 4
    weights = again.model.state_dict()
    assert all(v.equal(weights[k]) for k, v in one.model.state_dict().items())
    assert not again.model.is_gradient_checkpointing


def test_what_is_no_better_is_not_taken(small: Small) -> None:
    held = rounded(small, bits=8)
    before = copy.deepcopy(held.model.state_dict())
    distill.apply(held, small.given, config(trains="all", lr=0.9, steps=20))
    figures = held.notes[0][1]
    assert figures["best_step"] == 0 and figures["nats_after"] == figures["nats_before"]
    after = held.model.state_dict()
    assert all(torch.allclose(v, after[k], rtol=1e-6, atol=0) for k, v in before.items())


def test_a_teacher_that_knows_less_or_other_words_is_refused(small: Small) -> None:
    bad, other = rounded(small).model, copy.deepcopy(small.model)
    other.resize_token_embeddings(416)
    given = {f: getattr(small.given, f) for f in small.given.__slots__}
    with pytest.raises(DataError, match="no worse than the student"):
        distill.apply(small.held(), type(small.given)(**given | {"teacher": lambda: bad}), config())
    with pytest.raises(ConfigError, match="vocab_size, 400"):
        distill.apply(small.held(), type(small.given)(**given | {"teacher": lambda: other}), config())
    untaught = distill.apply(
        rounded(small), type(small.given)(**given | {"teacher": None}), config(alpha=0.0, steps=20)
    )
    assert "nats_teacher" not in untaught.notes[0][1]


def test_what_a_clock_would_decide_is_refused() -> None:
    context = Context("causal_lm", "transformers", True, {})
    distill.check(context, config())
    for changes in ({"precision": "auto"}, {"compile": True}):
        with pytest.raises(ConfigError, match="to be fp32, bf16 or fp16"):
            distill.check(context, config(loop=config().loop.model_copy(update=changes)))
    with pytest.raises(ValueError, match="rank is a number where trains is lora"):
        distill.Config(**config().model_dump() | {"rank": 3})


def test_parts_by_hand() -> None:
    weight = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    assert Kept(weight != 0)(torch.ones(2, 2)).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    adapted = Adapted(weight, 1, torch.Generator().manual_seed(1))
    assert adapted(weight).equal(weight)
    adapted.up.data, adapted.down.data = torch.tensor([[1.0], [0.5]]), torch.tensor([[2.0, 4.0]])
    assert adapted(weight).tolist() == [[4.0, 10.0], [5.0, 4.0]]
    spec = Spec(4, 16, False)
    held = torch.randn(3, 40, generator=torch.Generator().manual_seed(2))
    grid = encode(held, spec, *fit(held, spec))
    scaled = Scaled(grid, torch.device("cpu"))
    scaled.change.data[1, 2] = 0.5
    with torch.no_grad():
        torch.testing.assert_close(scaled(grid.values()), scaled.settled(held).values())
        torch.testing.assert_close(scaled(grid.values())[1, 32:] / functional.normalize(grid.values()[1, 32:], dim=0),
                                   (0.5 * torch.ones(8)).exp() * grid.values()[1, 32:].norm(),
                                   rtol=2**-11, atol=0)  # fmt: skip
