"""Integers packed into 32-bit words, in the form that vLLM loads, and transformers with the package compressed-tensors.

The format `pack-quantized` of compressed-tensors 0.20 (its `compressors/pack_quantized`): for each held layer
`weight_packed` (outputs, inputs·bits/32) int32, `weight_scale` (outputs, blocks), `weight_shape`, and with an offset
`weight_zero_point` (outputs·bits/32, blocks) int32; `quantization_config` of config.json says which layer has which
scheme. Embeddings, norms and what no grid holds stay as they are, in `dtype`.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

from nightforge import models
from nightforge.blocks import EMBEDDING, FUSED, HEAD
from nightforge.errors import ConfigError, DataError
from nightforge.export import _folder
from nightforge.grids import Grid, Spec
from nightforge.held import Held
from nightforge.scoring import LogitsFn

RUNTIME = "compressed-tensors"
HOW = """
With vLLM: `vllm serve .`; with transformers, and `pip install compressed-tensors` beside it:

```python
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")
```
"""
BITS = (4, 8)
"""What vLLM has kernels for."""
TENSORS = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")


class Config(_folder.Artifact):
    """The folder."""

    dtype: Literal["float32", "bfloat16", "float16"]
    """Of scales and of all that is no integer. vLLM computes in half precision and rounds scales to it in any case;
    float32 keeps them exact in transformers, at 16/block_size more bits a weight."""


SAMPLE = Config(tolerance=0.001, dtype="float32")


def convert(held: Held, plain: Path, out: Path, cfg: Config) -> list[str]:
    """Write the folder; what it changes in the model, in words.

    Raises:
        AssetMissing: the package is not installed.
        ConfigError: there is no layer that the format can hold as integers, or a layer of bits or blocks that it
            cannot hold; the message names it.
    """
    import torch
    from safetensors.torch import save_file

    _folder.needs("compressed_tensors", "compressed-tensors")
    _folder.refuse_factored(held, "compressed-tensors")
    weights = _folder.tensors(plain)
    grids = {name: grid for name, grid in held.grids.items() if f"{name}.weight" in weights and name != EMBEDDING}
    _check(grids)
    dtype = getattr(torch, cfg.dtype)
    packed: dict[str, Any] = {}
    for name, weight in weights.items():
        layer = name.removesuffix(".weight")
        if layer in grids:
            packed |= {f"{layer}.{key}": value for key, value in _packed(grids[layer], dtype).items()}
        else:
            packed[name] = weight.to(dtype).contiguous()
    _folder.copy_words(plain, out, _folder.OF_MODEL)
    facts = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    left = {name for name, module in held.model.named_modules() if isinstance(module, torch.nn.Linear)} - grids.keys()
    facts |= {"dtype": cfg.dtype, "quantization_config": _scheme(grids, sorted(left))}
    (out / "config.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    save_file(packed, out / "model.safetensors", metadata={"format": "pt"})
    return _remarks(held, grids, cfg)


def _check(grids: dict[str, Grid]) -> None:
    if not grids:
        raise ConfigError(
            "compressed-tensors: the recipe leaves no layer as integers that this format holds. Use huggingface."
        )
    for name, grid in grids.items():
        inputs, spec = grid.ints.shape[1], grid.spec
        if spec.bits not in BITS:
            raise ConfigError(f"compressed-tensors: {name}: expected 4 or 8 bits, which vLLM loads, got {spec.bits}.")
        if grid.scales.shape[1] > 1 and inputs % spec.block_size:
            raise ConfigError(
                f"compressed-tensors: {name}: expected block_size to divide its {inputs} inputs, got {spec.block_size}."
            )


def _packed(grid: Grid, dtype: Any) -> dict[str, Any]:
    """A layer's tensors."""
    _folder.needs("compressed_tensors", "compressed-tensors")
    import torch
    from compressed_tensors.compressors.pack_quantized import pack_to_int32

    half = grid.spec.levels // 2  # the format's integers are signed
    signed, zeros = ((t.short() - half).to(torch.int8) for t in (grid.ints, grid.zeros))
    found = {
        "weight_packed": pack_to_int32(signed, grid.spec.bits),
        "weight_scale": grid.scales.to(dtype).contiguous(),
        "weight_shape": torch.tensor(grid.ints.shape),
    }
    if not grid.spec.symmetric:
        found["weight_zero_point"] = pack_to_int32(zeros, grid.spec.bits, packed_dim=0)
    return found


def _scheme(grids: dict[str, Grid], left: list[str]) -> dict[str, Any]:
    """`quantization_config`: a group for each kind of grid, its layers by name."""
    groups: defaultdict[tuple[Spec, bool], list[str]] = defaultdict(list)
    for name, grid in grids.items():
        groups[grid.spec, grid.scales.shape[1] == 1].append(name)
    found = {}
    for i, ((spec, whole_rows), names) in enumerate(sorted(groups.items())):
        blocks = {"strategy": "channel"} if whole_rows else {"strategy": "group", "group_size": spec.block_size}
        scheme = {"num_bits": spec.bits, "type": "int", "symmetric": spec.symmetric, "dynamic": False, **blocks}
        found[f"group_{i}"] = {"targets": sorted(names), "weights": scheme, "format": "pack-quantized"}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": found,
        "ignore": left,
    }


def _remarks(held: Held, grids: dict[str, Grid], cfg: Config) -> list[str]:
    said = [] if cfg.dtype == "float32" else [f"scales and all that is no integer are rounded to {cfg.dtype}"]
    if {HEAD, EMBEDDING} & (held.grids.keys() - grids.keys()):
        said.append(f"the embedding has the values of its grid, held as {cfg.dtype}: the format has none of integers")
    if any(grid.spec.symmetric is False for grid in grids.values()):
        said.append("blocks with an offset: transformers 5.23 reads them with dequantize=True, and of one scheme alone")
    specs = {name: grid.spec for name, grid in grids.items()}
    for fused in FUSED:
        for name in sorted(specs):
            before, _, last = name.rpartition(".")
            if last == fused[0] and len({specs.get(f"{before}.{part}") for part in fused}) > 1:
                said.append(f"{before}: {', '.join(fused)} are one layer in vLLM, which wants one scheme for them")
    return said


def opened(folder: Path) -> tuple[LogitsFn, Any]:
    """The model, unpacked by the package's own decompressor to fp32, as a function of tokens; and its tokenizer.

    By the package and not by transformers, which reads neither blocks with an offset nor, unpacked, several schemes.

    Raises:
        AssetMissing: the package is not installed.
        DataError: the folder's tensors are not those of its config.json.
    """
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    scheme = QuantizationConfig.model_validate(config.quantization_config)
    del config.quantization_config
    weights = _folder.tensors(folder)
    decompress = BaseCompressor.get_value_from_registry(scheme.format).decompress
    for group in scheme.config_groups.values():
        for layer in group.targets:
            own = {key: weights.pop(f"{layer}.{key}") for key in TENSORS if f"{layer}.{key}" in weights}
            weights[f"{layer}.weight"] = decompress(own, group)["weight"]
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    missing, unknown = model.load_state_dict(weights, strict=False)
    if unknown or {*missing} - ({f"{HEAD}.weight"} if config.tie_word_embeddings else set()):
        raise DataError(
            f"{folder}: expected the tensors that config.json speaks of; {missing} lack, {unknown} are more."
        )
    words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return models.logits_fn(model.eval()), words
