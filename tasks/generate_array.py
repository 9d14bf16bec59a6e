"""`nightforge generate` for images and sounds: a file of what the model makes; tasks/generate.py runs it."""

from difflib import get_close_matches
from pathlib import Path

import torch

from nightforge import graphs, samples
from nightforge.array_models import Loaded
from nightforge.errors import ConfigError

OUT = Path(".nightforge/generated")
"""In the project folder; neither in git nor in DVC."""


@torch.inference_mode()
def generate(folder: Path, project: Path, label: str | None, n: int, seed: int) -> list[str]:
    """Make `n` of a label, or of each where none is named; returns the files: a picture with a line a label, and of
    sounds, whose pictures are spectrograms, each sound.

    Raises:
        ConfigError: a label that the model was not trained on.
    """
    loaded = graphs.load(folder)
    wanted = [number(loaded, label)] if label is not None else list(range(max(1, len(loaded.classes))))
    labels = torch.tensor(wanted).repeat_interleave(n)
    made = loaded.family.module.sample(loaded.model, loaded.family.cfg, labels, seed).cpu().numpy()
    name = f"{folder.name}-{'all' if label is None else loaded.classes.index(label)}-{seed}"
    files = {f"{name}.png": samples.grid(made if loaded.media.name == "image" else made[:, :, ::-1], n)}
    if loaded.media.name != "image":
        media = loaded.media
        files |= {f"{name}-{at:03d}.wav": media.module.render(one, media.cfg) for at, one in enumerate(made)}
    (project / OUT).mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (project / OUT / file).write_bytes(content)
    return [(project / OUT / file).as_posix() for file in files]


def number(loaded: Loaded, label: str) -> int:
    """Of a label.

    Raises:
        ConfigError: the model knows no such label; the message names the nearest.
    """
    if label in loaded.classes:
        return loaded.classes.index(label)
    near = get_close_matches(label, loaded.classes, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"the model knows no class {label!r}.{hint} There are: {', '.join(loaded.classes) or 'none'}.")
