"""What is asked of the model builder, what is refused, and the least that a recipe can weigh, by hand."""

import pytest

from nightforge.compress._context import Context
from nightforge.compress.weight_only import SAMPLE, apply, least_mb
from nightforge.errors import ConfigError

SHAPES = {
    "model.embed_tokens.weight": (1000, 64),
    "model.layers.0.mlp.up_proj.weight": (128, 64),
    "model.norm.weight": (64,),
}
TIED = Context("causal_lm", "transformers", True, SHAPES)
UNTIED = Context("causal_lm", "transformers", False, SHAPES | {"lm_head.weight": (1000, 64)})


def changed(**values: object) -> type(SAMPLE):
    return type(SAMPLE).model_validate({**SAMPLE.model_dump(), **values})


def test_options_are_those_of_the_builder() -> None:
    assert apply(TIED, SAMPLE) == (
        "int4",
        {
            "algo_config": "rtn",
            "block_size": "32",
            "is_symmetric": "true",
            "accuracy_level": "4",
            "shared_embeddings": "true",
            "op_types_to_quantize": "MatMul/Gather",
            "matmul_mixed_precision": "last_matmul:int8",
        },
    )
    precision, options = apply(UNTIED, changed(bits=8, quantize_embeddings=False, int8=[]))
    assert precision == "int8"
    assert options["shared_embeddings"] == "false"  # the builder would else corrupt a model that does not tie them
    assert "matmul_mixed_precision" not in options


@pytest.mark.parametrize(
    ("context", "values", "message"),
    [
        (Context("diffusion", "transformers", True, SHAPES), {}, "works on family causal_lm"),
        (Context("causal_lm", "onnxruntime-genai", True, SHAPES), {}, "works on loader transformers"),
        (
            Context("causal_lm", "transformers", True, {"transformer.wte.weight": (9, 9)}),
            {},
            "has transformer.wte.weight",
        ),
        (TIED, {"rounding": "k_quant", "symmetric": True}, "symmetric: false"),
        (TIED, {"bits": 8, "quantize_embeddings": True, "int8": []}, "quantize_embeddings: false"),
        (TIED, {"bits": 8, "quantize_embeddings": False, "int8": ["last_matmul"]}, r"int8: \[\]"),
        (UNTIED, {"quantize_embeddings": True}, "does not share"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(context: Context, values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply(context, changed(**values))


def test_least_size_by_hand() -> None:
    scale = 32 / 32  # bits a weight: one fp32 scale for a block of 32
    table, body, norm = 1000 * 64, 128 * 64, 64 * 32
    tied = (table * (8 + scale) + body * (4 + scale) + norm) / 8e6
    assert least_mb(TIED, SAMPLE) == pytest.approx(tied)
    # in floating point, the tied table is stored beside its quantized copy for the output
    loose = (table * 32 + table * (8 + scale) + body * (4 + scale) + norm) / 8e6
    assert least_mb(TIED, changed(quantize_embeddings=False)) == pytest.approx(loose)
    # an offset of 4 bits for each block of 32
    offset = (table * (4 + scale + 4 / 32) + body * (4 + scale + 4 / 32) + norm) / 8e6
    assert least_mb(TIED, changed(symmetric=False, int8=[])) == pytest.approx(offset)


def test_coarser_blocks_and_fewer_bits_weigh_less() -> None:
    sizes = [least_mb(TIED, changed(block_size=b)) for b in (16, 32, 64, 128, 256)]
    assert sizes == sorted(sizes, reverse=True)
    assert least_mb(TIED, changed(int8=[])) < least_mb(TIED, SAMPLE)
