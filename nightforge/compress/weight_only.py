"""Weights as 4- or 8-bit integers in blocks with one fp32 scale each; activations stay in floating point.

Round-to-nearest in blocks as in Dettmers & Zettlemoyer 2023 (*The case for 4-bit precision*, §3); `k_quant` searches
scale and offset of each block for the least weighted error, as llama.cpp's `make_qkx2_quants` does. Neither looks at
data, so no calibration set is read. The arithmetic is ONNX Runtime's MatMulNBits quantizer; this file says what is
asked of it, what it cannot do, and the least that the result can weigh.
"""

from math import prod
from typing import Literal

from pydantic import Field

from nightforge import config
from nightforge.compress._context import Context, refuse_other
from nightforge.errors import ConfigError

COMPATIBLE = {"family": {"causal_lm", "hf_config"}, "loader": {"transformers"}, "runtime": {"onnxruntime-genai"}}
"""What a model must be before, and what runs it after."""

SCALE_BITS = 32
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


class Config(config.Config):
    """How the weights are rounded, and which of them more finely."""

    bits: Literal[4, 8]
    """Bits of a weight in the body of the model."""

    block_size: Literal[16, 32, 64, 128, 256]
    """Weights that share a scale: smaller is closer and larger on disk, by 32/block_size bits a weight."""

    symmetric: bool
    """Integers around zero; otherwise each block has an offset too, which costs bits/block_size bits a weight."""

    rounding: Literal["rtn", "k_quant"]
    """`rtn` rounds to the nearest; `k_quant` searches each block's scale and offset, and needs `symmetric: false`."""

    quantize_embeddings: bool
    """Also the embedding table, which must be tied to the output: it is then stored once, in the output's bits."""

    int8: list[Literal["last_matmul", "mixed_layers"]]
    """Groups kept at 8 bits in a 4-bit model: the output projection, and the layers that llama.cpp finds sensitive
    (value and down projections of the first and last eighth of the layers and of every third between)."""

    accuracy_level: int = Field(ge=1, le=4)
    """Activations inside MatMulNBits: 1 fp32, 2 fp16, 3 bf16, 4 int8 (fastest on a CPU, and a little coarser)."""


SAMPLE = Config(
    bits=4,
    block_size=32,
    symmetric=True,
    rounding="rtn",
    quantize_embeddings=True,
    int8=["last_matmul"],
    accuracy_level=4,
)


def apply(context: Context, cfg: Config) -> tuple[str, dict[str, str]]:
    """What to ask of ONNX Runtime GenAI's model builder: its precision and its extra options.

    Raises:
        ConfigError: the model is not of a kind that this works on, or the values exclude each other.
    """
    refuse_other("weight_only", COMPATIBLE, context)
    _check(context, cfg)
    options = {
        "algo_config": cfg.rounding,
        "block_size": str(cfg.block_size),
        "is_symmetric": str(cfg.symmetric).lower(),
        "accuracy_level": str(cfg.accuracy_level),
        "shared_embeddings": str(context.tied and cfg.quantize_embeddings).lower(),
        "op_types_to_quantize": "MatMul/Gather" if cfg.quantize_embeddings else "MatMul",
    }
    if cfg.int8:
        options["matmul_mixed_precision"] = ",".join(f"{group}:int8" for group in sorted(cfg.int8))
    return f"int{cfg.bits}", options


def least_mb(context: Context, cfg: Config) -> float:
    """The least that the weights alone can weigh, in MB (10⁶ bytes), from their shapes: a bound below the true size."""

    def bits(name: str, shape: tuple[int, ...]) -> float:
        if len(shape) != 2:
            return 32
        if name == EMBEDDING and not cfg.quantize_embeddings:
            return 32
        is_head = name == HEAD or (name == EMBEDDING and context.tied)
        width = 8 if is_head and "last_matmul" in cfg.int8 else cfg.bits
        return width + (SCALE_BITS + (0 if cfg.symmetric else width)) / cfg.block_size

    total = sum(prod(shape) * bits(name, shape) for name, shape in context.shapes.items())
    if context.tied and not cfg.quantize_embeddings:  # then the output has a copy of its own, in integers
        total += prod(context.shapes[EMBEDDING]) * bits(HEAD, context.shapes[EMBEDDING])
    return total / 8 / 1e6


def _check(context: Context, cfg: Config) -> None:
    if EMBEDDING not in context.shapes:
        raise ConfigError(
            f"compress: weight_only: expected tensors named like Llama's, such as {EMBEDDING}; the dense model has "
            f"{', '.join(sorted(context.shapes)[:3]) or 'none'}. Start from one of nightforge.models.ARCHITECTURES."
        )
    if cfg.quantize_embeddings and not context.tied:
        raise ConfigError(
            "compress: weight_only: the dense model does not share its embeddings with its output, and the builder "
            "rounds only shared ones; set quantize_embeddings: false."
        )
    if cfg.rounding == "k_quant" and cfg.symmetric:
        raise ConfigError("compress: weight_only: k_quant searches an offset too; set symmetric: false, or use rtn.")
    if cfg.bits == 8 and cfg.quantize_embeddings:
        raise ConfigError(
            "compress: weight_only: the runtime holds embeddings in 4 bits or in floating point; "
            "with bits: 8 set quantize_embeddings: false."
        )
    if cfg.bits == 8 and cfg.int8:
        raise ConfigError("compress: weight_only: with bits: 8 all is int8 already; set int8: [].")
