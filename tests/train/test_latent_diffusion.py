"""Diffusion among latents: the autoencoder stays as it was, and must be a trained one; the bound is of the picture."""

import math

import pytest
import torch

from nightforge import denoising
from nightforge.array_models import Loaded
from nightforge.errors import ConfigError
from nightforge.parameters import groups
from nightforge.train import latent_diffusion, vae
from nightforge.train._likelihood import logistic_nats
from nightforge.training import At

SHAPE, CFG = (1, 8, 8), latent_diffusion.SAMPLE


def built() -> latent_diffusion.LatentDenoiser:
    torch.manual_seed(1)
    return latent_diffusion.build(CFG, SHAPE, 3)


def tensors(rows: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    return {"x": torch.randint(0, 256, (rows, *SHAPE)) / 127.5 - 1, "y": torch.arange(rows) % 4}


def test_the_autoencoder_stays_as_it_was() -> None:
    model = built()
    trained = {id(p) for group in groups(model) for p in group}
    assert trained == {id(p) for p in model.denoiser.parameters()}
    model.train()
    assert model.denoiser.training and not any(part.training for part in model.vae.modules())
    latent_diffusion.loss(model, tensors(3), CFG, At(0, 1))[0].backward()
    assert all(p.grad is None for p in model.vae.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.denoiser.parameters())


def test_a_trained_autoencoder_is_taken_over_and_no_other() -> None:
    torch.manual_seed(9)
    known = vae.build(vae.SAMPLE, SHAPE, 3)
    card = {"family": "vae", "config": vae.SAMPLE.model_dump()}
    model = built()
    latent_diffusion.adopt(model, CFG, Loaded(known, card))
    weights = model.vae.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in known.state_dict().items())
    for wrong in ({"family": "vae", "config": card["config"] | {"latent": 9}}, {"family": "gan", "config": {}}):
        with pytest.raises(ConfigError, match=r"expected a vae of the values in train\.family\.autoencoder"):
            latent_diffusion.adopt(model, CFG, Loaded(known, wrong))


def test_the_score_is_the_elbo_with_the_diffusion_as_prior() -> None:
    model = built().eval()
    rows, seeds = tensors(2), torch.tensor([3, 4])
    nats = latent_diffusion.score(model, CFG, rows, seeds, None)
    mean, log_var, _ = model.vae.encode(rows["x"], rows["y"])
    for row in range(2):
        noise = torch.randn(model.vae.latent_shape, generator=torch.Generator().manual_seed(int(seeds[row])))
        posterior = torch.distributions.Normal(mean[row], (0.5 * log_var[row]).exp())
        z = posterior.mean + posterior.stddev * noise
        made = model.vae.decode(z[None], rows["y"][row : row + 1])
        prior = denoising.bound(
            model.denoiser.told(rows["y"][row : row + 1]),
            z[None],
            seeds[row : row + 1] + 1,
            CFG,
            denoising.of_numbers,
            8.0,
        )
        by_hand = logistic_nats(rows["x"][row : row + 1], *made).sum() + posterior.log_prob(z).sum() + prior[0]
        assert float(nats[row]) == pytest.approx(float(by_hand), rel=1e-4)
    assert latent_diffusion.units(SHAPE) == math.prod(SHAPE)
