"""Diffusion told a text: captions reach the prediction, padding does not, and a row without one is told its label's."""

import torch

from nightforge.captions import Captions
from nightforge.train import text_diffusion
from nightforge.training import At

SHAPE, CFG = (1, 8, 8), text_diffusion.SAMPLE


def built() -> text_diffusion.TextDenoiser:
    torch.manual_seed(1)
    return text_diffusion.build(CFG, SHAPE, 3).eval()


def texts(rows: int, tokens: int) -> Captions:
    torch.manual_seed(5)
    mask = torch.zeros(rows, CFG.text_tokens, dtype=torch.bool)
    mask[:, :tokens] = True
    return Captions(torch.randn(rows, CFG.text_tokens, CFG.text_width) * 3, mask)


def test_what_is_told_matters_and_what_is_masked_does_not() -> None:
    model, told = built(), texts(2, 4)
    x, step = torch.randn(2, *SHAPE), torch.tensor([10, 30])
    said = model(x, step, *told)
    beyond = Captions(told.states.clone(), told.mask)
    beyond.states[:, 4:] = 7
    torch.testing.assert_close(model(x, step, *beyond), said)
    within = Captions(told.states.flip(0), told.mask)
    assert not torch.allclose(model(x, step, *within), said, atol=1e-4)


def test_labels_have_captions_and_rows_may_have_their_own() -> None:
    model, names = built(), texts(3, 5)
    text_diffusion.caption(model, names)
    y = torch.tensor([2, 0, 3])
    known = text_diffusion.of_labels(model, y)
    assert torch.equal(known.states[:2], names.states[[2, 0]]) and not known.states[2].any()
    x, seeds = torch.zeros(3, *SHAPE), torch.arange(3)
    by_label = text_diffusion.score(model, CFG, {"x": x, "y": y}, seeds, None)
    own = {"x": x, "y": torch.tensor([3, 3, 3]), "text": known.states, "text_mask": known.mask}
    torch.testing.assert_close(text_diffusion.score(model, CFG, own, seeds, None), by_label)
    drawn = text_diffusion.sample(model, CFG, y, 7)
    torch.testing.assert_close(text_diffusion.draw(model, CFG, known, 7), drawn)
    assert not torch.allclose(drawn[0], drawn[1])


def test_the_label_captions_are_saved_with_the_weights_and_dropped_rows_are_told_nothing() -> None:
    model = built()
    text_diffusion.caption(model, texts(3, 5))
    assert {"label_states", "label_mask"} <= set(model.state_dict())
    tensors = {"x": torch.rand(4, *SHAPE), "y": torch.tensor([0, 1, 2, 0])}
    always = CFG.model_copy(update={"label_dropout": 1.0})
    losses = []
    for labels in (tensors["y"], torch.tensor([2, 2, 0, 1])):
        torch.manual_seed(3)
        losses.append(text_diffusion.loss(model, tensors | {"y": labels}, always, At(0, 1))[0])
    torch.testing.assert_close(*losses)
    torch.manual_seed(3)
    told = text_diffusion.loss(model, tensors, CFG.model_copy(update={"label_dropout": 0.0}), At(0, 1))[0]
    assert not torch.allclose(told, losses[0])
