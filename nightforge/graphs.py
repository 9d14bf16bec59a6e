"""The parts of a network that sampling and scoring call, and ONNX graphs in their place.

Which parts those are is found by watching a family at work, so no family has to say: a method of the network's own
class, or a layer, that is called from outside any other. A graph takes the place of its part in the network: all else
(random draws, a scheduler's arithmetic) stays as the family wrote it.
"""

import inspect
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nightforge import array_models
from nightforge.errors import DataError
from nightforge.models import CARD, card

LOADER, SUFFIX, REST, SHARED = "onnx", ".onnx", "rest.safetensors", "shared.bin"
SHARED_MIN, ALIGNED = 1024, 64
"""Bytes of a tensor from which on it repays to hold it beside the graphs, and a multiple that it begins at there."""
Feeds = dict[str, NDArray[Any]]
Shape = Any
"""Of what a part gives: null for a tensor, else a list of such."""
NO_TENSORS = "no tensors"


class Part(NamedTuple):
    """What was called from outside any other part, and how."""

    call: Callable[..., Any]
    names: tuple[str | None, ...]
    """Of each argument: None by place, else its keyword."""
    constants: Mapping[int, Any]
    """Place among the arguments → what it was at every call, for all that is no tensor."""
    gives: Shape
    calls: list[tuple[torch.Tensor, ...]]
    """The tensors of each call."""

    def feeds(self) -> list[Feeds]:
        """The calls as a graph's inputs."""
        return [{name(i): t.numpy() for i, t in enumerate(call)} for call in self.calls]

    def arguments(self, tensors: Iterable[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Tensors of a call → its arguments, by place and by keyword, the constants among them."""
        left = iter(tensors)
        given = [self.constants[i] if i in self.constants else next(left) for i in range(len(self.names))]
        pairs = list(zip(given, self.names, strict=True))
        return [value for value, at in pairs if at is None], {at: value for value, at in pairs if at is not None}


def name(i: int) -> str:
    """Of a graph's input."""
    return f"in{i}"


def find(model: Any, run: Callable[[], Any]) -> dict[str, Part]:
    """The parts of a network that are called while something runs, with all their calls: name → part.

    A method that takes no tensors, or gives something else (a function, a shape), is looked through: what it or its
    caller calls is a part.

    Raises:
        DataError: a part takes or gives what no graph can.
    """
    through: set[str] = set()
    while True:
        found: dict[str, Part] = {}
        with _watching(model, through, found):
            run()
        if not (odd := {path for path, part in found.items() if part.gives is NO_TENSORS}):
            return found
        through |= odd


@contextmanager
def _watching(model: Any, through: set[str], found: dict[str, Part]) -> Iterator[None]:
    inside: list[str] = []
    places = {path: place for path, place in _places(model).items() if path not in through}
    for path, (owner, attribute) in places.items():
        owner.__dict__[attribute] = _watched(path, getattr(owner, attribute), inside, found)
    try:
        yield
    finally:
        for owner, attribute in places.values():
            del owner.__dict__[attribute]


def _places(model: Any) -> dict[str, tuple[Any, str]]:
    """Where each thing is that may be a part: the module, and the method's name."""
    own = type(model).__mro__[: type(model).__mro__.index(torch.nn.Module)]
    methods = {key for one in own for key, value in vars(one).items() if inspect.isfunction(value)}
    found = {key: (model, key) for key in sorted(methods) if not key.startswith("_")}
    return found | {path: (module, "forward") for path, module in model.named_modules() if path}


def _watched(path: str, call: Callable[..., Any], inside: list[str], found: dict[str, Part]) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        inside.append(path)
        try:
            out = call(*args, **kwargs)
        finally:
            inside.pop()
        if not inside:
            _note(path, call, args, kwargs, out, found)
        return out

    return watched


def _note(path: str, call: Any, args: Any, kwargs: Any, out: Any, found: dict[str, Part]) -> None:
    names, given = (*[None] * len(args), *kwargs), (*args, *kwargs.values())
    tensors = tuple(value.detach().cpu().clone() for value in given if isinstance(value, torch.Tensor))
    constants = {i: value for i, value in enumerate(given) if not isinstance(value, torch.Tensor)}
    gives = shape_of(out) if tensors else NO_TENSORS
    part = found.setdefault(path, Part(call, names, constants, gives, []))
    if gives is NO_TENSORS:
        wrong = isinstance(call.__self__, torch.nn.Module) and call.__name__ == "forward"
    else:
        wrong = (part.names, part.constants, part.gives) != (names, constants, gives)
    if wrong:
        raise DataError(
            f"{path}: expected to be called with tensors, the same way each time, and to give tensors or lists of "
            f"them; got arguments {names} of which {constants} are no tensors, and {type(out).__name__}."
        )
    part.calls.append(tensors)


def shape_of(out: Any) -> Shape:
    """What a part gives, as plain data; NO_TENSORS where it is neither a tensor nor a list or tuple of such."""
    if isinstance(out, torch.Tensor):
        return None
    if not isinstance(out, list | tuple):
        return NO_TENSORS
    shapes = [shape_of(one) for one in out]
    return NO_TENSORS if NO_TENSORS in shapes or not shapes else shapes


def flat(out: Any) -> list[torch.Tensor]:
    """The tensors of what a part gives, in order."""
    return [out] if isinstance(out, torch.Tensor) else [tensor for one in out for tensor in flat(one)]


def _folded(shape: Shape, tensors: Iterator[torch.Tensor]) -> Any:
    return next(tensors) if shape is None else tuple(_folded(one, tensors) for one in shape)


def runner(content: bytes | str, gives: Shape) -> Callable[..., Any]:
    """A graph, as its bytes or its file, that is called as the part was that it stands for; tensors in, tensors out."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    wanted = {one.name for one in session.get_inputs()}  # what changes nothing is no input of a graph

    def run(*args: Any, **kwargs: Any) -> Any:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        feeds = {name(i): np.ascontiguousarray(t.detach().numpy()) for i, t in enumerate(tensors) if name(i) in wanted}
        return _folded(gives, iter([torch.from_numpy(np.array(value)) for value in session.run(None, feeds)]))

    return run


@torch.no_grad()
def difference(graph: Any, part: Part) -> float:
    """The largest difference between what a graph gives and what the part gives that it stands for, as a share of the
    largest value of the latter, over the part's first and last call; ∞ where either is no finite number.

    Args:
        graph: an onnx.ModelProto.
        part: its calls are made again.
    """
    run, most = runner(graph.SerializeToString(), part.gives), 0.0
    for call in (part.calls[0], part.calls[-1]):
        args, named = part.arguments(call)
        for found, expected in zip(flat(run(*args, **named)), flat(part.call(*args, **named)), strict=True):
            largest = max(float(expected.abs().max()), torch.finfo(torch.float32).tiny)
            apart = float((found - expected).abs().max()) / largest
            most = max(most, apart) if math.isfinite(apart) else math.inf
    return most


def runners(folder: Path) -> dict[str, Callable[..., Any]]:
    """The graphs of a folder, by the parts that they stand for."""
    return {path: runner(str(folder / (path + SUFFIX)), gives) for path, gives in card(folder)["parts"].items()}


def put(model: Any, runners: Mapping[str, Callable[..., Any]]) -> Any:
    """The network with graphs in the place of its parts."""
    places = _places(model)
    for path, run in runners.items():
        owner, attribute = places[path]
        owner.__dict__[attribute] = run
    return model.eval()


def rest(model: Any) -> dict[str, torch.Tensor]:
    """The tensors of the network itself, of no layer: a family may read them beside its parts."""
    return {key: value for key, value in model.state_dict().items() if "." not in key}


def changed_share(folder: Path) -> float:
    """Share of a folder's weights that its graphs hold in less than 32 bits: 0 says that compression did nothing."""
    import onnx

    no_weights = {onnx.TensorProto.INT64, onnx.TensorProto.BOOL}  # but shapes, and what is chosen by
    small = total = 0
    seen: set[tuple[str, ...]] = set()
    for file in sorted(folder.glob("*" + SUFFIX)):
        for tensor in onnx.load(str(file), load_external_data=False).graph.initializer:
            place = tuple(entry.value for entry in tensor.external_data)
            if place in seen:
                continue
            seen |= {place} - {()}
            size = int(np.prod(tensor.dims)) if tensor.data_type not in no_weights else 0
            total += size
            small += size * (tensor.data_type != onnx.TensorProto.FLOAT)
    return small / total if total else 0.0


def load(folder: Path) -> array_models.Loaded:
    """A network of images or sounds, of torch or with graphs in it: `sample` and `score` of its family take either.

    Raises:
        AssetMissing: no model.json, or no weights.
        DataError: weights of another network.
    """
    facts = card(folder)
    if facts["loader"] != LOADER:
        return array_models.load(folder)
    from safetensors.torch import load_file

    loaded = array_models.Loaded(None, facts)
    model = loaded.family.module.build(loaded.family.cfg, loaded.shape, len(loaded.classes))
    model.load_state_dict(load_file(folder / REST), strict=False)
    return array_models.Loaded(put(model, runners(folder)), facts)


def save(folder: Path, graphs: Mapping[str, Any], tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Write a folder that `load` reads: a graph a part (onnx.ModelProto), the tensors that no part holds, the card.

    What several graphs hold is stored once, and taken out of them.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if shared := _shared(graphs.values()):
        (folder / SHARED).write_bytes(shared)
    for path, graph in graphs.items():
        (folder / (path + SUFFIX)).write_bytes(graph.SerializeToString())
    save_file(tensors, folder / REST)
    text = json.dumps({"loader": LOADER, **facts}, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def _shared(graphs: Iterable[Any]) -> bytes:
    """Move what several graphs hold, byte for byte, out of them; returns the file that they point into instead."""
    from onnx.external_data_helper import set_external_data

    held = [t for one in graphs for t in one.graph.initializer if len(t.raw_data) >= SHARED_MIN]
    times = Counter(tensor.raw_data for tensor in held)
    places: dict[bytes, int] = {}
    shared = bytearray()
    for tensor in held:
        content = tensor.raw_data
        if times[content] > 1:
            if content not in places:
                shared += bytes(-len(shared) % ALIGNED)
                places[content] = len(shared)
                shared += content
            set_external_data(tensor, SHARED, places[content], len(content))
            tensor.ClearField("raw_data")
    return bytes(shared)
