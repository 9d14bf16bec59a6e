"""The graph that the model builder wrote, with each weight as the model in memory holds it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nightforge.blocks import EMBEDDING, HEAD
from nightforge.errors import DataError
from nightforge.export._nbits import Array, Packed, alike, container, pack
from nightforge.grids import Grid
from nightforge.held import Factored, Held

GRAPH, DATA = "model.onnx", "model.onnx.data"
WEIGHT = ".MatMul.weight"
CONTRIB = "com.microsoft"
ALIGNMENT_BYTES = 64
PRODUCT_ERROR = 1e-4
"""Of the largest value: what rounding may do to a weight that was multiplied out."""


class Piece(NamedTuple):
    """Outputs of a layer of the model, as a whole or in part."""

    layer: str
    module: Any
    rows: slice


class Rewriting:
    """A graph on its way: its tensors, the nodes that are new, and which grids are in it."""

    def __init__(self, folder: Path, held: Held, accuracy_level: int) -> None:
        import onnx

        self.model = onnx.load(folder / GRAPH, load_external_data=False)
        self.tensors = dict(_tensors(self.model, folder))
        self.held, self.accuracy_level = held, accuracy_level
        self.layers = _layers(held.model)
        self.packed: dict[str, Packed] = {}
        self.written: set[str] = set()
        self.larger: dict[str, str] = {}

    def run(self, half_rest: bool) -> None:
        """Change every product and the table of embeddings.

        Raises:
            DataError: the graph holds other weights than the model, or has no place for one of its grids.
        """
        graph = self.model.graph
        nodes = []
        for node in graph.node:
            nodes += self._product(node) if node.op_type == "MatMul" and node.input[1] in self.tensors else [node]
        nodes = self._embedding(nodes)
        if missing := self.held.grids.keys() - self.written:
            raise DataError(f"the exported graph has no place for the grid of {', '.join(sorted(missing)[:5])}")
        used = {name for node in nodes for name in node.input}
        self.tensors = {name: tensor for name, tensor in self.tensors.items() if name in used}
        nodes = [*self._from_halves(half_rest), *nodes]
        del graph.node[:]
        graph.node.extend(nodes)

    def save(self, folder: Path) -> None:
        """Write the graph and its tensors, by name; what was there may be what the tensors are read from."""
        from onnx import TensorProto, helper, numpy_helper

        graph = self.model.graph
        del graph.initializer[:]
        with (folder / f"{DATA}.new").open("wb") as file:
            for name, tensor in sorted(self.tensors.items()):
                if tensor.dtype == np.int64:  # shapes are read while the graph is, before any data
                    graph.initializer.append(numpy_helper.from_array(tensor, name))
                    continue
                file.write(b"\0" * (-file.tell() % ALIGNMENT_BYTES))
                proto = graph.initializer.add(name=name, dims=tensor.shape, data_location=TensorProto.EXTERNAL)
                proto.data_type = helper.np_dtype_to_tensor_dtype(tensor.dtype)
                for key, value in (("location", DATA), ("offset", file.tell()), ("length", tensor.nbytes)):
                    proto.external_data.add(key=key, value=str(value))
                file.write(np.ascontiguousarray(tensor).tobytes())
        (folder / f"{DATA}.new").replace(folder / DATA)
        (folder / GRAPH).write_bytes(self.model.SerializeToString(deterministic=True))

    def _product(self, node: Any) -> list[Any]:
        """What takes the place of a product with a weight."""
        x, weight = node.input
        base = weight.removesuffix(WEIGHT)
        pieces = _pieces(base, self.layers)
        if not pieces:
            return [node]
        self._check(weight, pieces)
        grids = [self._grid(piece) for piece in pieces]
        whole = [grid for grid in grids if grid is not None]
        if len(whole) == len(grids) and alike(whole):
            return [self._integers(base, whole, x, node.output[0])]
        if not whole and not any(isinstance(piece.module, Factored) for piece in pieces):
            return [node]
        if len(pieces) == 1:
            return self._factors(base, pieces[0], x, node.output[0])
        nodes, outputs = [], []
        for piece, grid in zip(pieces, grids, strict=True):
            name = f"{base}.{piece.layer.rpartition('.')[2]}"
            outputs.append(f"{name}/output")
            nodes += self._single(name, piece, grid, x, outputs[-1])
        return [*nodes, _node("Concat", outputs, node.output[0], "", axis=-1)]

    def _single(self, name: str, piece: Piece, grid: Grid | None, x: str, y: str) -> list[Any]:
        """One layer that is a part of what the builder made one."""
        if isinstance(piece.module, Factored):
            return self._factors(name, piece, x, y)
        if grid is not None:
            return [self._integers(name, [grid], x, y)]
        return [self._floats(name, piece.module.weight[piece.rows], x, y)]

    def _factors(self, name: str, piece: Piece, x: str, y: str) -> list[Any]:
        """A product by way of a lower rank."""
        nodes = []
        for end, source, target, rows in (
            ("down", x, f"{name}/down", slice(None)),
            ("up", f"{name}/down", y, piece.rows),
        ):
            part = Piece(f"{piece.layer}.{end}", getattr(piece.module, end), rows)
            nodes += self._single(f"{name}.{end}", part, self._grid(part), source, target)
        return nodes

    def _grid(self, piece: Piece) -> Grid | None:
        """The grid of a layer, or of a part of it."""
        grid = self.held.grids.get(piece.layer)
        if grid is None:
            return None
        self.written.add(piece.layer)
        if grid.spec.bits != (bits := container(grid.spec.bits)):
            self.larger[piece.layer] = f"its {grid.spec.bits}-bit integers take {bits} bits: no kernel has fewer"
        return Grid(grid.spec, grid.ints[piece.rows], grid.scales[piece.rows], grid.zeros[piece.rows])

    def _integers(self, name: str, grids: Sequence[Grid], x: str, y: str) -> Any:
        packed = self.packed[name] = pack(grids)
        return _node(
            "MatMulNBits", [x, *self._put(name, packed)], y, CONTRIB,
            K=packed.inputs, N=len(packed.weight), bits=packed.bits, block_size=packed.block_size,
            accuracy_level=self.accuracy_level,
        )  # fmt: skip

    def _put(self, name: str, packed: Packed) -> list[str]:
        self.tensors |= {name + end: tensor for end, tensor in packed.tensors.items()}
        return [name + end for end in packed.tensors]

    def _floats(self, name: str, weight: Any, x: str, y: str) -> Any:
        self.tensors[name + WEIGHT] = weight.detach().float().T.numpy()
        return _node("MatMul", [x, name + WEIGHT], y, "")

    def _embedding(self, nodes: list[Any]) -> list[Any]:
        """The table of embeddings as the model holds it: its own grid, or the output's where they are one."""
        tied = bool(getattr(self.held.model.config, "tie_word_embeddings", False))
        source = HEAD if tied else EMBEDDING
        if source not in self.held.grids:
            return nodes
        at = next(i for i, node in enumerate(nodes) if node.op_type == "Gather" and "input_ids" in node.input)
        if tied:
            packed, (weight, *rest) = self.packed[HEAD], self._put(HEAD, self.packed[HEAD])
            self.tensors[f"{EMBEDDING}.shape"] = np.array([len(packed.weight), -1], np.int64)
            table = f"{EMBEDDING}/table"
            made = [_node("Reshape", [weight, f"{EMBEDDING}.shape"], table, "")]
        else:
            module = self.held.model.get_input_embeddings()
            grid = self._grid(Piece(EMBEDDING, module, slice(None)))
            packed = pack([grid] if grid else [])
            table, *rest = self._put(EMBEDDING, packed._replace(weight=packed.weight.reshape(len(packed.weight), -1)))
            made = []
        gathered = nodes[at].output[0]
        filled_up = packed.weight.shape[1] * packed.block_size != packed.inputs
        made.append(
            _node(
                "GatherBlockQuantized", [table, "input_ids", *rest], f"{gathered}/whole" if filled_up else gathered,
                CONTRIB, bits=packed.bits, block_size=packed.block_size, gather_axis=0, quantize_axis=1,
            )
        )  # fmt: skip
        if filled_up:
            bounds = {"start": 0, "end": packed.inputs, "axis": 2}
            self.tensors |= {f"{EMBEDDING}.{key}": np.array([value], np.int64) for key, value in bounds.items()}
            made.append(_node("Slice", [f"{gathered}/whole", *(f"{EMBEDDING}.{key}" for key in bounds)], gathered, ""))
        left = [node for node in nodes[:at] if node.output[0] != nodes[at].input[0]]
        return [*left, *made, *nodes[at + 1 :]]

    def _from_halves(self, half_rest: bool) -> list[Any]:
        """What is held in halves is made whole as the model is loaded, so that nothing is cast at each token."""
        if half_rest:
            self.tensors = {name: _halved(name, tensor) for name, tensor in self.tensors.items()}
        halves = sorted(name for name, tensor in self.tensors.items() if tensor.dtype == np.float16)
        for name in halves:
            self.tensors[f"{name}_half"] = self.tensors.pop(name)
        return [_node("Cast", [f"{name}_half"], name, "", to=1) for name in halves]

    def _check(self, weight: str, pieces: Sequence[Piece]) -> None:
        """The builder wrote what the model holds.

        Raises:
            DataError: it did not.
        """
        found = self.tensors[weight].T
        done = 0
        for piece in pieces:
            module = piece.module
            parts = (module.up.weight[piece.rows], module.down.weight) if isinstance(module, Factored) else None
            wanted = (parts[0] @ parts[1] if parts else module.weight[piece.rows]).detach().float().numpy()
            slack = PRODUCT_ERROR * float(np.abs(wanted).max()) if parts else 0.0
            got = found[done : done + len(wanted)]
            if got.shape != wanted.shape or not np.allclose(got, wanted, rtol=0, atol=slack):
                raise DataError(f"the model builder wrote another weight for {piece.layer} than the model holds")
            done += len(wanted)


def _pieces(base: str, layers: Mapping[str, Any]) -> list[Piece]:
    """The layers of the model that a product of the graph is of, in the order of its outputs."""
    block, _, name = base.replace(".attn.", ".self_attn.").rpartition(".")
    block += "." if block else ""
    if block + name in layers:
        names = [name]
    elif name == "qkv_proj":
        names = ["q_proj", "k_proj", "v_proj"]
    elif name in ("gate_proj", "up_proj") and f"{block}gate_up_proj" in layers:
        module = layers[f"{block}gate_up_proj"]
        middle = (module.up if isinstance(module, Factored) else module).out_features // 2
        rows = slice(0, middle) if name == "gate_proj" else slice(middle, None)
        return [Piece(f"{block}gate_up_proj", module, rows)]
    else:
        names = []
    return [Piece(block + one, layers[block + one], slice(None)) for one in names]


def _layers(model: Any) -> dict[str, Any]:
    """The linear and factored layers by name, what a factored one is made of left out."""
    import torch

    found = {name: m for name, m in model.named_modules() if isinstance(m, (torch.nn.Linear, Factored))}
    return {name: m for name, m in found.items() if not isinstance(found.get(name.rpartition(".")[0]), Factored)}


def _halved(name: str, tensor: Array) -> Array:
    """A matrix in half precision; not scales, nor tables of the rotary embedding."""
    is_weight = tensor.ndim == 2 and tensor.dtype == np.float32 and not name.endswith(("_cache", "_scales"))
    return tensor.astype(np.float16) if is_weight else tensor


def _tensors(model: Any, folder: Path) -> Iterator[tuple[str, Array]]:
    """The graph's tensors, read as they are asked for."""
    from onnx import helper

    data = np.memmap(folder / DATA, np.uint8, "r")
    for proto in model.graph.initializer:
        where = {entry.key: entry.value for entry in proto.external_data}
        start = int(where["offset"])
        raw = data[start : start + int(where["length"])]
        yield proto.name, raw.view(helper.tensor_dtype_to_np_dtype(proto.data_type)).reshape(tuple(proto.dims))


def _node(op: str, inputs: Sequence[str], output: str, domain: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(op, inputs, [output], domain=domain, **attributes)
