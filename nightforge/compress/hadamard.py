"""The residual stream turned, so that no channel of it carries more than the others; the model computes what it did.

Ashkboos et al. 2024 (QuaRot, 2404.00456, §4, stage 1a): RMSNorms are folded into the layers behind them, and what is
left of them commutes with a rotation. What writes to the stream is turned, what reads from it turned back, all of it in
the weights: a plain Llama is left. The rotation is a Hadamard matrix with random signs, or, where none of that order is
known here (Sylvester's, Paley's first, and their doubles), a random orthogonal matrix.

Tied embeddings become two tables, since the last norm is folded into one of them: this costs as much as the other.
"""

from collections.abc import Mapping

import torch

from nightforge import blocks, config
from nightforge.compress import _fold, _pass
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Footprint, Given, Kind
from nightforge.errors import ConfigError
from nightforge.held import Factored, Held

COMPATIBLE, KIND = _pass.COMPATIBLE, _fold.KIND
AFTER: set[Kind] = {"smooth", "shrink", "factor", "train"}
READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
WRITERS = ("self_attn.o_proj", "mlp.down_proj")


class Config(config.Config):
    """There is nothing to choose."""


SAMPLE = Config()


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("hadamard", COMPATIBLE, context)


def least(footprints: Mapping[str, Footprint], cfg: Config) -> dict[str, Footprint]:
    """Nothing becomes smaller; tied embeddings become larger."""
    return dict(footprints)


@torch.no_grad()
def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Turn the residual stream; `held` is changed in place, its function stays.

    Raises:
        ConfigError: the model is not built like Llama.
    """
    model = held.model
    blocks.linears(model, ["*"])  # finite weights
    turn, known = rotation(model.config.get_text_config().hidden_size, given.seed)
    held.notes.append(("hadamard", {"order": len(turn), "hadamard": float(known)}))
    with _fold.unchanged(model, given.calibration):
        _untie(model)
        table = model.get_input_embeddings().weight
        table.data = (table.data.double() @ turn).float()
        for block in blocks.layers(model).values():
            try:
                for norm, readers in READERS.items():
                    _read(block.get_submodule(norm), [block.get_submodule(name) for name in readers], turn)
                for name in WRITERS:
                    _write(block.get_submodule(name), turn)
            except AttributeError as e:
                raise ConfigError(f"compress: hadamard works on models built like Llama: {e}.") from e
        _read(model.model.norm, [model.get_output_embeddings()], turn)
    return held


def _untie(model: torch.nn.Module) -> None:
    head, table = model.get_output_embeddings(), model.get_input_embeddings()  # type: ignore[operator]
    if head.weight is table.weight:
        head.weight = torch.nn.Parameter(table.weight.detach().clone())
        model.config.get_text_config().tie_word_embeddings = False  # type: ignore[operator,union-attr]
        model.config.tie_word_embeddings = False  # type: ignore[union-attr]


def _read(norm: torch.nn.Module, readers: list[torch.nn.Module], turn: torch.Tensor) -> None:
    """y = W (γ ∘ x) becomes y = (W diag(γ) Q) (Qᵀ x), and γ ones."""
    gamma = norm.get_parameter("weight")
    if [name for name, _ in norm.named_parameters()] != ["weight"] or not _fold.proportional(norm):
        raise ConfigError(f"compress: hadamard needs RMSNorms as Llama's are, got {type(norm).__name__}.")
    for reader in readers:
        layer = reader.down if isinstance(reader, Factored) else reader
        weight = layer.get_parameter("weight")
        weight.data = (weight.data.double() * gamma.double() @ turn).float()
    gamma.data = torch.ones_like(gamma.data)


def _write(writer: torch.nn.Module, turn: torch.Tensor) -> None:
    """y = W x + b becomes Qᵀ y."""
    layer = writer.up if isinstance(writer, Factored) else writer
    for parameter in layer.parameters():
        parameter.data = (turn.T @ parameter.data.double()).float()


def rotation(order: int, seed: int) -> tuple[torch.Tensor, bool]:
    """An orthogonal matrix (order, order) in float64, and whether it is a Hadamard matrix with random signs.

    Args:
        order: channels.
        seed: of the signs, or of the matrix.
    """
    generator = torch.Generator().manual_seed(seed)
    if (entries := hadamard(order)) is not None:
        signs = torch.randint(0, 2, (order, 1), generator=generator).double() * 2 - 1
        return signs * entries / order**0.5, True
    normal = torch.randn(order, order, dtype=torch.float64, generator=generator)
    turn, upper = torch.linalg.qr(normal)
    return turn * upper.diagonal().sign(), False  # of all rotations alike (Mezzadri 2007)


def hadamard(order: int) -> torch.Tensor | None:
    """A matrix of ±1 (order, order) whose rows are orthogonal; None where neither construction gives one."""
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double()
    if order <= 2:
        return pair[:order, :order]
    if order % 4:
        return None
    if (half := hadamard(order // 2)) is not None:
        return torch.kron(pair, half)
    return _paley(order) if all((order - 1) % d for d in range(2, int(order**0.5) + 1)) else None


def _paley(order: int) -> torch.Tensor:
    """Paley's first construction, of the squares modulo the prime order − 1, which is 3 modulo 4 (Paley 1933)."""
    prime = order - 1
    character = torch.full((prime,), -1.0, dtype=torch.float64)
    character[[i * i % prime for i in range(prime)]] = 1.0
    character[0] = 0.0
    at = torch.arange(prime)
    skew = torch.zeros(order, order, dtype=torch.float64)
    skew[0, 1:], skew[1:, 0] = 1.0, -1.0
    skew[1:, 1:] = character[(at[:, None] - at) % prime]
    return skew + torch.eye(order, dtype=torch.float64)
