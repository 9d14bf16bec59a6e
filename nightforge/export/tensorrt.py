"""A TensorRT engine, for the one kind of NVIDIA GPU that it is built on; refused elsewhere before any work.

torch.onnx makes an ONNX graph of (rows, tokens) → logits, TensorRT 10 an engine of it (its Python API: OnnxParser,
build_serialized_network; docs.nvidia.com/deeplearning/tensorrt). It has no past. Integers of a grid are written as the
numbers that they stand for.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightforge.errors import AssetMissing, DataError
from nightforge.export import _decoder, _folder
from nightforge.held import Held
from nightforge.scoring import Ids, LogitsFn

RUNTIME = "tensorrt"
FILE = "model.engine"
INPUT, OUTPUT = "input_ids", "logits"
HOW = """
It takes token ids `input_ids` (rows, tokens), int64, and gives `logits` (rows, tokens, vocab). An engine runs on the
kind of GPU and the version of TensorRT that it was built with: `trtexec --loadEngine=model.engine`.
"""


class Config(_folder.Artifact):
    """The engine."""

    rows: int = Field(ge=1, le=4_096)
    """Most rows that it reads at once."""

    tokens: int = Field(ge=2, le=131_072)
    """Most tokens of a row."""


SAMPLE = Config(tolerance=0.05, rows=4, tokens=64)


def convert(held: Held, plain: Path, out: Path, cfg: Config) -> list[str]:
    """Write the engine; what it changes in the model, in words.

    Raises:
        AssetMissing: there is no NVIDIA GPU, or the package is not installed.
        DataError: TensorRT cannot read the graph.
    """
    _refuse_elsewhere()
    import tensorrt as trt

    _folder.whole(plain)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph(held)):
        raise DataError(f"tensorrt: {'; '.join(str(parser.get_error(i)) for i in range(parser.num_errors))}")
    settings = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, (1, 1), (1, cfg.tokens), (cfg.rows, cfg.tokens))
    settings.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, settings)
    if engine is None:
        raise DataError("tensorrt: expected an engine of the graph, got none; its log says why.")
    _folder.copy_words(plain, out, ("config.json",))
    (out / FILE).write_bytes(bytes(engine))
    return [
        f"at most {cfg.rows} rows of {cfg.tokens} tokens, without a past",
        *(["integers are written as the numbers that they stand for"] if held.grids else []),
    ]


def graph(held: Held) -> bytes:
    """The ONNX graph that TensorRT reads: input_ids (rows, tokens) → logits (rows, tokens, vocab)."""
    import torch

    free = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            _decoder.without_past(held), (torch.ones(2, 5, dtype=torch.long),), dynamo=True, opset_version=20,
            dynamic_shapes=({0: free, 1: free},), input_names=[INPUT], output_names=[OUTPUT], verbose=False,
        )  # fmt: skip
    made: bytes = program.model_proto.SerializeToString()
    return made


def _refuse_elsewhere() -> None:
    import torch

    if not torch.cuda.is_available() or torch.version.cuda is None:
        raise AssetMissing(
            "tensorrt: expected an NVIDIA GPU, found none that torch can use. An engine is built on the GPU that it is "
            "for: run there, or export onnx_genai or openvino for a CPU."
        )
    if not _folder.found("tensorrt"):
        raise AssetMissing("tensorrt: expected the package tensorrt, found none. Run: pip install tensorrt")


def opened(folder: Path) -> tuple[LogitsFn, Any]:
    """The model as a function of tokens, and its tokenizer.

    Raises:
        AssetMissing: there is no NVIDIA GPU, or the package is not installed.
    """
    _refuse_elsewhere()
    import tensorrt as trt
    import torch

    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine((folder / FILE).read_bytes())
    context = engine.create_execution_context()

    def logits(input_ids: Ids, attention_mask: Ids) -> NDArray[np.float32]:
        ids = torch.from_numpy(np.ascontiguousarray(input_ids)).cuda()
        context.set_input_shape(INPUT, tuple(ids.shape))
        found = torch.empty(tuple(context.get_tensor_shape(OUTPUT)), dtype=torch.float32, device="cuda")
        context.set_tensor_address(INPUT, ids.data_ptr())
        context.set_tensor_address(OUTPUT, found.data_ptr())
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        return found.cpu().numpy()

    return logits, _decoder.words(folder)
