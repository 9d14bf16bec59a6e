"""What every adapter must keep: it begins as nothing, trains alone, resumes to the bit, and is gone when merged."""

import copy
from types import ModuleType
from typing import Any

import torch

from nightforge import loop, tokenizer
from nightforge.corpus import Corpus, corpus
from nightforge.records import Record
from nightforge.train import causal_lm
from nightforge.training import Due, Turn
from tests.training_contracts import settings

TEXTS = ["a tall tree", "a small herb of the tropics", "a fern of the tropics", "any tall herb"] * 3
WORDS = tokenizer.train(TEXTS, ["plant"], 300, 64)


def base() -> Any:
    """A small network with weights as from elsewhere."""
    torch.manual_seed(5)
    return causal_lm.build(causal_lm.SAMPLE, WORDS)


def data() -> Corpus:
    """Its rows."""
    return corpus(tokenizer.encode_all(WORDS, [Record(str(i), t) for i, t in enumerate(TEXTS)]), 64)


def start(module: ModuleType, cfg: Any, new_tokens: list[int]) -> loop.Run:
    """A run of the adapted network at step zero."""
    net = base()
    torch.manual_seed(7)
    adapted = module.attach(net, cfg, new_tokens)
    turn = Turn("", "", lambda model, tensors, at: causal_lm.loss(model, tensors, causal_lm.SAMPLE, at))
    made = settings(steps=8, batch_size=60, eval_every=8, save_every=4, optimizer=settings().optimizer)
    return loop.start(adapted, [turn], made, 3, "fp32")


def check_adapter(module: ModuleType, cfg: Any, new_tokens: list[int]) -> None:
    """See above; `new_tokens` alone of the embeddings may move."""
    ids = data().batch(list(range(8))).tensors["ids"].clamp_min(0)
    before = base().state_dict()
    run = start(module, cfg, new_tokens)
    with torch.inference_mode():
        bare, begun = base().eval()(ids).logits, run.model.eval()(ids).logits
    torch.testing.assert_close(
        begun, bare, rtol=1e-5, atol=1e-5, msg="an adapter that is not trained changes the model"
    )
    trained = [p for p in run.model.parameters() if p.requires_grad]
    assert 0 < sum(p.numel() for p in trained) < sum(v.numel() for v in before.values()) / 2
    first = None
    for event in loop.steps(run, data(), lambda _: 1.0):
        if isinstance(event, Due) and event.step == 4:
            first = copy.deepcopy(loop.state(run))
    frozen = {k.split("base_model.model.")[-1].replace(".base_layer", ""): v for k, v in run.model.state_dict().items()}
    kept = [k for k in before if k in frozen]
    assert kept and all(torch.equal(frozen[k], before[k]) for k in kept), "a weight of the starting model moved"
    again = start(module, cfg, new_tokens)
    assert first is not None
    loop.restore(again, first)
    list(loop.steps(again, data(), lambda _: 1.0))
    ours, theirs = run.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours), "resumed is another run"
    with torch.inference_mode():
        adapted = run.model(ids).logits
        plain = run.model.merge_and_unload()
        merged = plain(ids).logits
    assert type(plain) is type(base()) and plain.state_dict().keys() == before.keys(), "not a plain model"
    torch.testing.assert_close(merged, adapted, rtol=1e-5, atol=1e-5)
    assert (merged - bare).abs().max() > 1e-3, "nothing was learnt"
    moved = (plain.get_input_embeddings().weight != before["model.embed_tokens.weight"]).any(dim=1).nonzero()[:, 0]
    assert set(moved.tolist()) <= set(new_tokens)
