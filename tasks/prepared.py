"""What the stage `train` is told (its config), and what it must know of a family: data as batches, a model's folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from nightforge.batching import Data
from nightforge.config import Config
from nightforge.methods import Chosen, Method
from nightforge.training import Settings, Stepped
from nightforge.vocabulary import Expand
from tasks.trackers import Name
from tasks.train_profile import Window

SCRATCH = "scratch"


class Told(Config):
    """How the facts of data/knowledge take part."""

    order: Literal["mixed", "first"]
    """`mixed`: among the other rows. `first`: training begins on them alone, and goes on with the other rows."""
    first_share: float = Field(gt=0, lt=1)
    """Share of the steps that see told facts alone, where they come first."""


class TrainConfig(Config):
    """What is trained, and how."""

    model: str
    """`scratch`, or a local Hugging Face folder to start from, as `nightforge snapshot` recorded it. A relative one is
    looked for in the home checkout, for a worktree lacks what git ignores."""
    family: Annotated[Method, Chosen("train")]
    """The kind of network, its shape and its vocabulary; of a starting model only its context applies."""
    adapter: Annotated[Method, Chosen("adapt")] | None
    """What is trained in place of a starting model's weights, and merged into them at the end; null trains them all."""
    expand: Expand | None
    """New tokens that a starting model's tokenizer learns on the training texts; null learns none."""
    packing: bool
    """Whether rows hold several documents, up to the context, none of which sees another."""
    initialise: Annotated[Method, Chosen("initialise")] | None
    """How weights from scratch are drawn; null leaves it to the family."""
    loop: Settings
    """The optimizer, its schedule and when it stops."""
    parallel: Annotated[Method, Chosen("parallel")] | None
    """How several processes share the work; null trains in one."""
    knowledge: Told | None
    """How told facts take part; null where a project has no stage `knowledge`."""
    trackers: list[Name]
    """Where the curves are shown beside TensorBoard, on this machine alone: `mlflow`, `wandb`."""
    profile: Window | None
    """Steps that torch.profiler looks at; null looks at none."""
    eval_documents: int = Field(ge=1)
    """Documents of the validation split, evenly spaced and every second at most, that early stopping looks at; evaluate
    scores the others."""


class Prepared(NamedTuple):
    """A model and its data, ready for the loop."""

    model: Any
    data: Data
    first: tuple[Data, int] | None
    """See nightforge.loop.steps."""
    evaluate: Callable[[Any], float]
    """What early stopping looks at; smaller is better."""
    metric: str
    """Its name, with its unit: a column of plots/train/validation.csv."""
    sample: Callable[[Any], Mapping[str, bytes]]
    """File name → content (.txt, .png, .wav), of fixed prompts or latents, at every evaluation."""
    save: Callable[[Path, Any, dict[str, Any]], None]
    """(folder, model on the CPU, facts for model.json): write the model folder."""
    metrics: Callable[[Sequence[Stepped]], dict[str, Any]]
    """Figures of the family about the whole run."""


class Inputs(NamedTuple):
    """What the stage reads."""

    balanced: Path
    splits: Path
    deps: Mapping[str, Path]
    """Every dep by its stem, `knowledge` and `entity_vectors` among them where a project has them."""
