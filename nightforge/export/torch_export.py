"""A program of torch.export (.pt2), which torch loads without transformers, and which its compilers take further.

One graph of (input_ids, past) → (logits, *past), for any number of rows and tokens. A .pt2 is an archive of JSON and of
raw bytes of weights; no example is kept. torch.export.load would run a pickle that somebody put into one, and so it is
looked into first. Integers of a grid are written as the numbers that they stand for, so that the file is no smaller for
them; low-rank layers stay as they are.
"""

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightforge.errors import DataError
from nightforge.export import _decoder, _folder
from nightforge.held import Held
from nightforge.scoring import Ids, LogitsFn

RUNTIME = "torch-export"
FILE = "model.pt2"
HOW = f"""{_decoder.HOW}
```python
import torch

program = torch.export.load("model.pt2").module()
logits, *past = program(ids, past)
```
"""


class Config(_folder.Artifact):
    """The program."""


SAMPLE = Config(tolerance=0.001)


def convert(held: Held, plain: Path, out: Path, cfg: Config) -> list[str]:
    """Write the program; what it changes in the model, in words.

    Raises:
        ConfigError: a layer attends to a window alone.
    """
    import torch

    _folder.whole(plain)
    program = _decoder.program(held)
    program.example_inputs = None
    _folder.copy_words(plain, out, ("config.json",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, out / FILE)
    return ["integers are written as the numbers that they stand for"] if held.grids else []


def refuse_pickle(file: Path) -> None:
    """Refuse a program that would run code as it is loaded.

    Raises:
        DataError: a tensor or an example in it is a pickle of more than tensors and plain values.
    """
    import torch

    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    bad = [name for name, part in parts.items() if name.endswith("_config.json") and b'"use_pickle": true' in part]
    for name, part in parts.items():
        if name.endswith(".pt") and part:  # there are no bytes where there is no example
            try:
                torch.load(io.BytesIO(part), weights_only=True)
            except pickle.UnpicklingError:
                bad.append(name)
    if bad:
        raise DataError(f"{file}: expected tensors alone, got what could run code in {', '.join(bad)}.")


def stepping(folder: Path) -> _decoder.Step:
    """The program, from tokens and their past to logits.

    Raises:
        DataError: there is a pickle in it that could run code.
    """
    import torch

    refuse_pickle(folder / FILE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: Any = torch.export.load(folder / FILE).module()

    @torch.inference_mode()
    def step(ids: Ids, past: _decoder.Arrays) -> tuple[NDArray[np.float32], _decoder.Arrays]:
        logits, *after = module(torch.from_numpy(ids), tuple(map(torch.from_numpy, past)))
        return logits.numpy(), [tensor.numpy() for tensor in after]

    return step


def opened(folder: Path) -> tuple[LogitsFn, Any]:
    """The model as a function of tokens, and its tokenizer."""
    return _decoder.logits_fn(folder, stepping(folder)), _decoder.words(folder)
