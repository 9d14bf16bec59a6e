"""What several processes do for the tests of this folder: train in every way, and say how far they are from one.

Run by conftest.py as `python two.py FOLDER`, with one thread: it parts into three, the third of which takes part in the
pipeline alone, so that it has a middle. FOLDER holds `one/`, a checkpoint that one process wrote; the first process
writes `found.json`, method/case → figure, and the checkpoints that one process is to read.
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nightforge import loop
from nightforge.batching import Batch
from nightforge.ranks import ALONE, Ranks, full
from nightforge.scoring import IGNORE
from nightforge.training import At, Due, Evaluated, Stepped, Turn, Watched
from tasks import checkpoint
from tests import training_contracts
from tests.training_contracts import Rows, Toy

VALUES: dict[str, Any] = {
    "steps": 4, "batch_size": 80, "accumulate": 4, "eval_every": 2, "save_every": 100, "clip": 0.1, "l1": 0.001,
    "ema": 0.9, "watch": {"every": 2, "watchers": [{"name": "layers", "depth": 1}]},
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {"ddp": {}, "fsdp": {}, "tensor": {"size": 2}, "pipeline": {}}
WITH_PLAYERS = ("ddp", "fsdp")
"""Ways in which a network may be more than one player."""
PROCESSES = 3
SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}  # Adam magnifies rounding
CASES: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied": {"tied": False, "ema": None, "l1": 0.0, "clip": None},
    "fp32": {"kind": torch.float32, "optimizer": SGD},
}


class Texts:
    """Rows of ids of several lengths."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.rows = [torch.from_numpy(rng.integers(2, 300, rng.integers(3, 20))) for _ in range(40)]
        self.sizes = np.array([len(row) for row in self.rows])

    def batch(self, rows: Any) -> Batch:
        """`ids` (rows, seq), padded on the right with IGNORE."""
        chosen = [self.rows[row] for row in rows]
        ids = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=IGNORE)
        return Batch({"ids": ids}, sum(map(len, chosen)) - len(chosen))


def text_loss(network: Any, tensors: Any, at: At) -> Any:
    """Σ nats of the next tokens."""
    ids = tensors["ids"]
    logits = network(input_ids=ids[:, :-1].clamp_min(0), use_cache=False).logits.flatten(0, 1)
    nats = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum")
    return nats, {}


def text_run(ranks: Callable[[Any], Ranks], tied: bool = True, kind: Any = torch.float64, **changes: Any) -> loop.Run:
    """A run of a small Llama at step zero."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 3}
    sizes = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 32, "initializer_range": 0.2}
    model = LlamaForCausalLM(LlamaConfig(**heads, **sizes, tie_word_embeddings=tied)).to(kind)
    settings = training_contracts.settings(**VALUES | changes)
    return loop.start(model, [Turn("", "", text_loss)], settings, 3, "fp32", ranks(model))


def evaluate(model: Any) -> float:
    """Nats per token of the first rows."""
    batch = Texts().batch(range(8))
    with torch.inference_mode():
        return float(text_loss(model, batch.tensors, At(0, 1))[0]) / batch.units


def generator_loss(network: Any, tensors: Any, at: At) -> Any:
    """Of a part that is called by itself, and through another part."""
    hidden = network.layers[0](network.table(tensors["ids"]))
    return (network.layers[1](hidden) - 1).square().sum(), {"mean": float(hidden.detach().sum())}


def critic_loss(network: Any, tensors: Any, at: At) -> Any:
    """Of another part, on draws of its own."""
    drawn = torch.randn(len(tensors["ids"]), 8, dtype=torch.float64)
    return network.head(network.norm(drawn)).square().sum(), {}


def two_players(ranks: Callable[[Any, int], Ranks]) -> loop.Run:
    """A run of two players that call parts of the network and never the whole."""
    model = Toy().double()
    turns = [Turn("critic", "head", critic_loss), Turn("", "layers", generator_loss, times=2)]
    return loop.start(model, turns, training_contracts.settings(accumulate=4), 3, "fp32", ranks(model, len(turns)))


def ended(run: loop.Run, data: Any, score: Any) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The weights at the end, and all figures of the events on the way."""
    figures: list[float] = []
    for event in loop.steps(run, data, score):
        match event:
            case Stepped():
                figures += [event.loss, event.grad_norm, *event.logged.values()]
            case Evaluated():
                figures.append(event.value)
            case Watched():
                figures += [event.figures[name] for name in sorted(event.figures)]
    with run.ranks.whole():
        return {k: full(v).clone() for k, v in run.model.state_dict().items()}, figures


def apart(one: Any, two: Any) -> dict[str, float]:
    """The largest differences of weights, and of the figures that both have, up to the end."""
    weights = max(float((one[0][k] - two[0][k]).abs().max()) for k in one[0])
    both = min(len(one[1]), len(two[1]))
    figures = max(abs(a - b) for a, b in zip(one[1][-both:], two[1][-both:], strict=True))
    return {"weights": weights, "figures": figures}


def saved_at_two(run: loop.Run, work: Path) -> None:
    """Train to step 2, and save there."""
    for event in loop.steps(run, Texts(), evaluate):
        if isinstance(event, Due):
            work.mkdir(exist_ok=True)
            checkpoint.save(work, run, {"some": ["thing"]})
            return


def restored(run: loop.Run, work: Path) -> loop.Run:
    """Back from there."""
    folder = checkpoint.latest(work)
    assert folder
    plain = checkpoint.plain(folder)
    assert plain["kept"] == {"some": ["thing"]}
    checkpoint.restore(folder, run, plain["run"])
    return run


def spread(name: str, model: Any, turns: int = 1) -> Ranks:
    """In two processes."""
    module = import_module(f"nightforge.parallel.{name}")
    made: Ranks = module.spread(model, turns, module.SAMPLE.model_copy(update=WAYS[name]))
    return made


def alone(*_: Any) -> Ranks:
    """In one process."""
    return ALONE


def trained(name: str, folder: Path) -> dict[str, Any]:
    """What came of each case in one way; all of its processes call it."""
    begun, found = partial(spread, name), dict[str, Any]()
    for case, changes in CASES.items():
        found[case] = ended(text_run(begun, **changes), Texts(), evaluate)
    found["from one process"] = ended(restored(text_run(begun), folder / "one"), Texts(), evaluate)
    saved_at_two(text_run(begun), folder / name)
    found["resumed"] = ended(restored(text_run(begun), folder / name), Texts(), evaluate)
    if name in WITH_PLAYERS:
        found["two players"] = ended(two_players(begun), Rows(), lambda _: 1.0)
    return found


def told(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How far what came of each way is from one process."""
    single = {case: ended(text_run(alone, **changes), Texts(), evaluate) for case, changes in CASES.items()}
    single |= {"from one process": single["tied"], "two players": ended(two_players(alone), Rows(), lambda _: 1.0)}
    return {
        f"{name}/{case}": apart(cases["tied"] if case == "resumed" else single[case], made)
        for name, cases in found.items()
        for case, made in cases.items()
    }


def main(folder: Path, rank: int) -> None:
    """All that is asked of several processes."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(PROCESSES)}
    found: dict[str, dict[str, Any]] = {}
    for processes, names in {2: ["ddp", "fsdp", "tensor"], PROCESSES: ["pipeline"]}.items():
        if rank < processes:
            store = f"file://{folder}/store{processes}"
            torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=processes)
            found |= {name: trained(name, folder) for name in names}
            torch.distributed.destroy_process_group()
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(told(found)))


if __name__ == "__main__":
    import transformers.models.llama.modeling_llama  # noqa: F401  what takes seconds is imported before they part

    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=main, args=(Path(sys.argv[1]), rank), daemon=True) for rank in range(PROCESSES)]
    for process in started:
        process.start()
    while any(process.exitcode is None for process in started) and not any(process.exitcode for process in started):
        wait([process.sentinel for process in started if process.exitcode is None])
    sys.exit(any(process.exitcode for process in started))  # the others end with it
