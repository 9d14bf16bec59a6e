"""What optimizers, schedules, initial weights, watchers, media and families of images and sounds must keep.

As in tests/contracts.py, each `check_*` takes a module and raises AssertionError with what was expected and what came.
"""

import copy
import math
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from nightforge import loop
from nightforge.batching import Batch
from nightforge.parameters import groups
from nightforge.ranks import ALONE, full
from nightforge.records import Record
from nightforge.training import At, Settings, Turn
from tests.contracts import bounds, twice

ADAMW = {"name": "adamw", "lr": 3e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}


def settings(**changes: Any) -> Settings:
    """Settings of a small run; tests change what they are about."""
    values: dict[str, Any] = {
        "steps": 4, "batch_size": 4, "accumulate": 1, "optimizer": ADAMW,
        "schedule": {"name": "cosine", "warmup_share": 0.25, "floor": 0.0}, "clip": 1.0, "l1": 0.0, "ema": None,
        "eval_every": 4, "save_every": 4, "patience": 4, "precision": "fp32", "compile": False, "recompute": False,
        "threads": 1, "watch": {"every": 100, "watchers": []},
    }  # fmt: skip
    return Settings(**values | changes)


class Toy(torch.nn.Module):
    """A table, two layers with a norm between, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table = torch.nn.Embedding(7, 8)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)])
        self.act = torch.nn.ReLU()
        self.norm = torch.nn.LayerNorm(8)
        self.head = torch.nn.Linear(8, 7, bias=False)

    def get_output_embeddings(self) -> torch.nn.Module:
        """As transformers name it."""
        return self.head

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(rows,) → (rows, 7) logits."""
        hidden = self.act(self.layers[0](self.table(ids)))
        out: torch.Tensor = self.head(self.norm(self.layers[1](hidden)))
        return out


class Rows:
    """Ids of which each is followed by its successor."""

    sizes = np.ones(14, dtype=np.int64)

    def batch(self, rows: Any) -> Batch:
        """`ids` and `next`."""
        ids = torch.tensor([row % 7 for row in rows])
        return Batch({"ids": ids, "next": (ids + 1) % 7}, len(rows))


def toy_loss(model: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
    """Σ nats."""
    return torch.nn.functional.cross_entropy(model(tensors["ids"]), tensors["next"], reduction="sum"), {}


def toy_run(**changes: Any) -> loop.Run:
    """A run of the toy at step zero."""
    return loop.start(Toy(), [Turn("", "", toy_loss)], settings(**changes), 3, "fp32")


def final_weights(run: loop.Run) -> dict[str, list[Any]]:
    """Of the run, to its end."""
    list(loop.steps(run, Rows(), lambda _: 1.0))
    return {k: v.tolist() for k, v in run.model.state_dict().items()}


def check_optimizer(name: str, module: ModuleType) -> None:
    """build(groups, cfg): every parameter is moved by one optimizer, the loss falls, and a run resumes to the bit."""
    chosen = {"name": name, **module.SAMPLE.model_dump()}
    model = Toy()
    several = module.build(groups(model), module.SAMPLE)
    held = [id(p) for optimizer in several for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters()), "every parameter in one group of one optimizer"
    assert all("lr" in group for optimizer in several for group in optimizer.param_groups)

    def trained() -> tuple[loop.Run, list[Any]]:
        run = toy_run(steps=30, optimizer=chosen, eval_every=30, save_every=10, schedule=constant())
        return run, [event for event in loop.steps(run, Rows(), lambda _: 1.0) if hasattr(event, "loss")]

    whole, events = trained()
    assert events[-1].loss < events[0].loss, f"the loss rose from {events[0].loss} to {events[-1].loss}"
    first = toy_run(steps=30, optimizer=chosen, eval_every=30, save_every=10, schedule=constant())
    saved = None
    for event in loop.steps(first, Rows(), lambda _: 1.0):
        if type(event).__name__ == "Due" and event.step == 10:
            saved = copy.deepcopy(loop.state(first))
            break
    assert saved is not None
    second = toy_run(steps=30, optimizer=chosen, eval_every=30, save_every=10, schedule=constant())
    loop.restore(second, saved)
    assert final_weights(second) == {k: v.tolist() for k, v in whole.model.state_dict().items()}, (
        "resumed is another run"
    )


def check_parallel(module: ModuleType, folder: Path) -> None:
    """spread(model, turns, cfg) → Ranks: one process alone trains to the same weights; processes and restarts told."""
    from transformers import LlamaConfig, LlamaForCausalLM

    assert {"processes", "restarts"} <= type(module.SAMPLE).model_fields.keys()

    def loss(network: Any, tensors: Any, at: At) -> tuple[torch.Tensor, dict[str, float]]:
        return network(input_ids=tensors["ids"][None]).logits[0, :-1].logsumexp(-1).sum(), {}

    def ended(spread: Any) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        shape = {"vocab_size": 7, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2}
        model = LlamaForCausalLM(LlamaConfig(**shape, num_attention_heads=2, num_key_value_heads=1)).double()
        run = loop.start(model, [Turn("", "", loss)], settings(), 3, "fp32", spread(model))
        list(loop.steps(run, Rows(), lambda m: float(m(input_ids=torch.tensor([[1, 2]])).logits.sum())))
        return {k: full(v).detach().clone() for k, v in run.model.state_dict().items()}

    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    try:
        made = ended(lambda model: module.spread(model, 1, module.SAMPLE))
    finally:
        torch.distributed.destroy_process_group()
    for name, weight in ended(lambda model: ALONE).items():
        torch.testing.assert_close(made[name], weight, rtol=0, atol=1e-12)


def constant() -> dict[str, Any]:
    """A schedule that hardly moves."""
    return {"name": "cosine", "warmup_share": 0.0, "floor": 1.0}


def check_schedule(module: ModuleType) -> None:
    """factor(at, seen, cfg): pure, a share of the peak between 0 and 1 at every step, above zero somewhere."""
    for cfg in [module.SAMPLE, *bounds(module.SAMPLE)]:
        for steps in (1, 7, 100):
            seen = [3.0, 2.0, 2.0, 2.0, 2.0]
            factors = [twice(partial(module.factor, At(s, steps), seen, cfg)) for s in range(steps)]
            assert all(isinstance(f, float) and 0 <= f <= 1 + 1e-12 for f in factors), f"{cfg}: {factors}"
            assert max(factors) > 0, f"{cfg}: no step of {steps} moves"
    assert module.factor(At(0, 10), [], module.SAMPLE) >= 0, "before the first evaluation `seen` is empty"


def check_initialisation(module: ModuleType) -> None:
    """fill(model, cfg): finite, determined by the seed, and neither norms nor biases are touched."""
    drawn = []
    for seed in (5, 5, 6):
        model = Toy()
        torch.manual_seed(seed)
        module.fill(model, module.SAMPLE)
        drawn.append({k: v.clone() for k, v in model.state_dict().items()})
        assert all(torch.isfinite(v).all() for v in drawn[-1].values())
    weights = [k for k, v in drawn[0].items() if v.ndim > 1]
    assert all(torch.equal(drawn[0][k], drawn[1][k]) for k in weights), "one seed gave two models"
    assert any(not torch.equal(drawn[0][k], drawn[2][k]) for k in weights), "two seeds gave one model"
    untouched = Toy().state_dict()
    assert all(torch.equal(drawn[0][k], v) for k, v in untouched.items() if v.ndim < 2), "a norm or a bias was changed"


def check_watcher(name: str, module: ModuleType) -> None:
    """start(model, cfg): finite figures with names, the same twice; the run ends with the same bits as unwatched."""
    watched = {"every": 2, "watchers": [{"name": name, **module.SAMPLE.model_dump()}]}
    seen = []
    for _ in range(2):
        run = toy_run(watch=watched)
        events = list(loop.steps(run, Rows(), lambda _: 1.0))
        seen.append([event.figures for event in events if type(event).__name__ == "Watched"])
        weights = {k: v.tolist() for k, v in run.model.state_dict().items()}
    assert len(seen[0]) == 2 and seen[0] == seen[1], "two runs were seen differently"
    assert all(math.isfinite(value) for figures in seen[0] for value in figures.values()), seen[0]
    assert weights == final_weights(toy_run()), "watching changed the run"
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in run.model.modules()), (
        "a hook was left behind"
    )


def check_media(name: str, module: ModuleType) -> None:
    """shape, array and render: an array of that shape in −1 … 1, whose rendering gives the same array again."""
    shape = module.shape(module.SAMPLE)
    drawn = np.random.default_rng(3).uniform(-1, 1, shape).astype(np.float32)
    content = twice(lambda: module.render(drawn, module.SAMPLE))
    record = Record(id="a", text="", content=content)
    once = module.array(record, module.SAMPLE)
    assert once.shape == shape and once.dtype == np.float32 and np.abs(once).max() <= 1
    again = module.array(Record(id="a", text="", content=module.render(once, module.SAMPLE)), module.SAMPLE)
    assert again.shape == shape
    if name == "image":
        np.testing.assert_allclose(again, once, atol=1e-6)


def check_array_family(module: ModuleType) -> None:
    """build, loss or turns, sample and score: determined by the seed, finite, of the right shapes."""
    shape, classes = (1, 8, 8), 3

    def built(seed: int) -> Any:
        torch.manual_seed(seed)
        return module.build(module.SAMPLE, shape, classes)

    model, again, other = (built(seed) for seed in (5, 5, 6))
    weights = [dict(m.named_parameters()) for m in (model, again, other)]
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0]), "one seed gave two models"
    assert any(not torch.equal(weights[0][k], weights[2][k]) for k in weights[0]), "two seeds gave one model"
    torch.manual_seed(1)
    tensors = {"x": torch.rand(4, *shape) * 2 - 1, "y": torch.tensor([0, 1, 2, classes])}
    one_turn = [Turn("", "", lambda m, t, at: module.loss(m, t, module.SAMPLE, at))]
    for turn in module.turns(module.SAMPLE) if hasattr(module, "turns") else one_turn:
        model.zero_grad()
        torch.manual_seed(2)
        loss, logged = turn.loss(model, tensors, At(3, 10))
        assert loss.ndim == 0 and torch.isfinite(loss), f"the loss is {loss}"
        assert all(math.isfinite(value) for value in logged.values()), logged
        loss.backward()
        moved = [p.grad for p in model.get_submodule(turn.part).parameters() if p.grad is not None]
        assert moved and all(g.isfinite().all() for g in moved), "a gradient is not finite"
        assert any(g.abs().sum() > 0 for g in moved), "every gradient is zero"
    model.eval()
    drawn = twice(lambda: module.sample(model, module.SAMPLE, torch.tensor([0, 1, 2, classes]), 7).tolist())
    assert np.array(drawn).shape == (4, *shape) and np.isfinite(drawn).all()
    seeds = torch.tensor([11, 12, 13, 14])
    nats = twice(lambda: module.score(model, module.SAMPLE, tensors, seeds, judge).tolist())
    assert len(nats) == 4 and np.isfinite(nats).all()
    two = {k: v[2:] for k, v in tensors.items()}
    alone = module.score(model, module.SAMPLE, two, seeds[2:], judge)
    np.testing.assert_allclose(
        alone.tolist(), nats[2:], rtol=1e-4, atol=1e-4, err_msg="a row's score depends on others"
    )
    assert module.METRIC and module.units(shape) >= 1


def judge(x: torch.Tensor) -> torch.Tensor:
    """A classifier of pictures (rows, …) → logits (rows, 3)."""
    return torch.stack([x.flatten(1).mean(1), x.flatten(1).std(1), x[:, 0, 0, 0]], dim=1)
