"""Names of layers."""

import re


def layer(name: str, depth: int) -> str:
    """The layer of a parameter: its name up to the last number and `depth` parts more, the weight's own left out.

    Args:
        name: such as `model.layers.3.mlp.up_proj.weight`.
        depth: 1 gives `model.layers.3`, 2 `model.layers.3.mlp`.
    """
    parts = name.split(".")[:-1]
    numbered = max((i for i, part in enumerate(parts) if re.fullmatch("[0-9]+", part)), default=-1)
    return ".".join(parts[: numbered + depth] if numbered >= 0 else parts[: depth + 1]) or name
