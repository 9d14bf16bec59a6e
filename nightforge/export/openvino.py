"""An OpenVINO model (model.xml, model.bin), for CPUs and edge devices, its weights as the integers of our grids.

One graph of (input_ids, past) → (logits, *past), by OpenVINO's own frontend for torch.export. A held weight is then a
constant of i4 or i8, with an offset u4 or u8, that is converted and multiplied by its scales where it is used: the form
of NNCF's weight compression, which OpenVINO's plugins keep compressed in memory (docs.openvino.ai, Weight Compression).
Low-rank layers stay as they are.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightforge.export import _decoder, _folder
from nightforge.grids import Grid
from nightforge.held import Held
from nightforge.scoring import Ids, LogitsFn

RUNTIME = "openvino"
FILE = "model.xml"
HOW = f"""{_decoder.HOW}
```python
import openvino

model = openvino.Core().compile_model("model.xml", "CPU")
logits, *past = model([ids, *past]).to_tuple()
```
"""


class Config(_folder.Artifact):
    """The model."""

    rest: Literal["f32", "f16"]
    """Of scales and of all that no grid holds, as stored; the arithmetic is fp32."""


SAMPLE = Config(tolerance=0.001, rest="f32")


def convert(held: Held, plain: Path, out: Path, cfg: Config) -> list[str]:
    """Write the model; what it changes, in words.

    Raises:
        AssetMissing: the package is not installed.
        ConfigError: a layer attends to a window alone.
    """
    _folder.needs("openvino", "openvino")
    import openvino as ov

    _folder.whole(plain)
    model = ov.convert_model(_decoder.program(held))
    left = _compress(model, held)
    model.set_friendly_name("decoder")  # names are counted up over a process
    for at, op in enumerate(model.get_ordered_ops()):
        op.set_friendly_name(f"{op.get_type_name()}_{at}")
    _folder.copy_words(plain, out, ("config.json",))
    ov.save_model(model, out / FILE, compress_to_fp16=cfg.rest == "f16")
    said = [] if cfg.rest == "f32" else ["scales and all that is no integer are rounded to fp16"]
    return said + [f"{name}: blocks that do not divide its inputs: held as {cfg.rest}" for name in left]


def _compress(model: Any, held: Held) -> list[str]:
    """Put the integers into the graph; returns the layers that it cannot hold as such."""
    constants = {name: op for op in model.get_ops() if op.get_type_name() == "Constant" for name in op.output(0).names}
    left = []
    for name, grid in held.grids.items():
        if grid.scales.shape[1] > 1 and grid.ints.shape[1] % grid.spec.block_size:
            left.append(name)
            continue
        constant = constants[_called(held, name, constants)]
        users = constant.output(0).get_target_inputs()
        values = _integers(grid)
        for user in users:
            user.replace_source_output(values.output(0))
    return left


def _called(held: Held, layer: str, constants: dict[str, Any]) -> str:
    """The graph's name of a layer's weight; a tied embedding may bear either name."""
    weight = held.model.get_submodule(layer).weight
    same = [name for name, tensor in held.model.named_parameters(remove_duplicate=False) if tensor is weight]
    called = [f"net.{name}".replace(".", "_") + ":0" for name in same]
    return next(name for name in called if name in constants)


def _integers(grid: Grid) -> Any:
    """A grid as a node that gives its values."""
    import openvino as ov
    from openvino import opset15 as ops

    bits = 4 if grid.spec.bits <= 4 else 8
    rows, inputs = grid.ints.shape
    blocks = grid.scales.shape[1]
    sign = "i" if grid.spec.symmetric else "u"
    kind = getattr(ov.Type, f"{sign}{bits}")
    less = grid.spec.levels // 2 if grid.spec.symmetric else 0
    ints = (grid.ints.short() - less).numpy().reshape(rows, blocks, inputs // blocks)
    node = ops.convert(_constant(ints, kind, bits), "f32")
    if not grid.spec.symmetric:
        node = ops.subtract(node, ops.convert(_constant(grid.zeros.short().numpy()[..., None], kind, bits), "f32"))
    scaled = ops.multiply(node, ops.constant(grid.scales.numpy()[..., None]))
    return ops.reshape(scaled, ops.constant(np.array([rows, inputs])), special_zero=False)


def _constant(values: NDArray[np.int16], kind: Any, bits: int) -> Any:
    """Integers in a constant; of 4 bits, the first of two is in the lower half of a byte."""
    import openvino as ov

    flat: NDArray[Any] = values.reshape(-1).astype(np.uint8)
    if bits == 4:
        flat = np.concatenate([flat, np.zeros(len(flat) % 2, np.uint8)]) & 15
        flat = flat[::2] | flat[1::2] << 4
    return ov.op.Constant(ov.Tensor(flat, ov.Shape(values.shape), kind), shared_memory=False)


def stepping(folder: Path, exact: bool = False) -> _decoder.Step:
    """The model on the CPU, from tokens and their past to logits, in fp32 whatever the CPU offers.

    Args:
        folder: with model.xml.
        exact: activations are not rounded to 8 bits where they meet integers, as OpenVINO does to be fast.

    Raises:
        AssetMissing: the package is not installed.
    """
    _folder.needs("openvino", "openvino")
    import openvino as ov

    how = {"INFERENCE_PRECISION_HINT": "f32"} | ({"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"} if exact else {})
    request = ov.Core().compile_model(folder / FILE, "CPU", how).create_infer_request()

    def step(ids: Ids, past: _decoder.Arrays) -> tuple[NDArray[np.float32], _decoder.Arrays]:
        logits, *after = request.infer([ids, *past], share_inputs=True).to_tuple()
        return logits, after

    return step


def opened(folder: Path) -> tuple[LogitsFn, Any]:
    """What the files hold, computed exactly, as a function of tokens; and the tokenizer."""
    return _decoder.logits_fn(folder, stepping(folder, exact=True)), _decoder.words(folder)


def running(folder: Path) -> tuple[LogitsFn, Any]:
    """The same as OpenVINO computes it by default."""
    return _decoder.logits_fn(folder, stepping(folder)), _decoder.words(folder)
