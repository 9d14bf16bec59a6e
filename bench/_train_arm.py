"""One arm of bench/train.py in a process of its own: `python -m bench._train_arm ARM STEPS DATA` prints one JSON line.

Every arm trains the same network from the same weights on the same batches in the same order with fused AdamW, the same
schedule and clipping, in fp32 on two threads. What differs is the loop around it.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from bench import _corpus
from nightforge import loop, memory, tokenizer
from nightforge.batching import Batch, order
from nightforge.corpus import Corpus, corpus
from nightforge.records import Record
from nightforge.train import causal_lm
from nightforge.training import At, Stepped, Turn
from tests import training_contracts

DOCUMENTS, SEED, THREADS, WARM_STEPS = 1_500, 17, 2, 10
SHAPE = causal_lm.SAMPLE.model_copy(
    update={"hidden": 128, "layers": 5, "heads": 4, "kv_heads": 2, "ffn": 384, "vocab": 4096, "context": 256}
)
OPTIMIZER = {"name": "adamw", "lr": 0.004, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
BATCH_TOKENS, CLIP = 512, 1.0
ROWS = "rows.npz"
Mark = Callable[[int, float], None]
"""(tokens of the step, its loss in nats per token): a step was made."""


def prepare(folder: Path) -> None:
    """Lay out a tokenizer and encoded pages, so that no arm's memory holds the making of them."""
    texts = [text[:2000] for text in islice(_corpus.read(_corpus.documents(50)), DOCUMENTS)]
    words = tokenizer.train(texts, [], SHAPE.vocab, SHAPE.context)
    records = (Record(id=str(at), text=text) for at, text in enumerate(texts))
    rows = corpus(tokenizer.encode_all(words, records), SHAPE.context)
    words.save_pretrained(folder)
    np.savez(folder / ROWS, **rows._asdict())


def laid(folder: Path) -> tuple[Any, Corpus]:
    """What `prepare` laid out."""
    with np.load(folder / ROWS) as arrays:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True), Corpus(**arrays)


def network(words: Any) -> Any:
    """The network of every arm, with the same weights."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    return causal_lm.build(SHAPE, words)


def drawn(rows: Corpus, steps: int) -> Iterator[Batch]:
    """The batches of a run."""
    return (rows.batch(chosen) for chosen in islice(order(rows.sizes, BATCH_TOKENS, SEED), steps))


def settings(steps: int, every: int) -> Any:
    """Of our loop; the layers are watched as the sample project watches them."""
    watch = {"every": every, "watchers": [{"name": "layers", "depth": 1}]}
    return training_contracts.settings(
        steps=steps, batch_size=BATCH_TOKENS, optimizer=OPTIMIZER, clip=CLIP, threads=THREADS, watch=watch,
        schedule={"name": "cosine", "warmup_share": 0.05, "floor": 0.0}, eval_every=steps, save_every=steps,
    )  # fmt: skip


def ours(model: Any, rows: Corpus, steps: int, mark: Mark) -> None:
    """nightforge.loop, watched."""
    turn = Turn("", "", lambda net, tensors, at: causal_lm.loss(net, tensors, SHAPE, at))
    run = loop.start(model, [turn], settings(steps, 20), SEED, "fp32")
    for event in loop.steps(run, rows, lambda _: 1.0):
        if isinstance(event, Stepped):
            mark(event.units, event.loss)


def optimizer(model: Any, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Those of the other arms."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    decayed = [p for p in model.parameters() if p.ndim > 1 and id(p) not in tables]
    others = [p for p in model.parameters() if p.ndim < 2 or id(p) in tables]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    made = torch.optim.AdamW(groups, lr=0.004, betas=(0.9, 0.95), fused=True)
    warm = max(1, round(steps * 0.05))

    def factor(step: int) -> float:
        done = (step - warm) / max(1, steps - warm)
        return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * done))

    return made, torch.optim.lr_scheduler.LambdaLR(made, factor)


def bare(model: Any, rows: Corpus, steps: int, mark: Mark) -> None:
    """The loop that one writes by hand: forward, backward, clip, step."""
    mover, schedule = optimizer(model, steps)
    for batch in drawn(rows, steps):
        nats, _ = causal_lm.loss(model, batch.tensors, SHAPE, At(0, steps))
        loss = nats / batch.units
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        mover.step()
        schedule.step()
        mover.zero_grad()
        mark(batch.units, loss.item())


def accelerate(model: Any, rows: Corpus, steps: int, mark: Mark) -> None:
    """The same by hand, with Hugging Face Accelerate underneath."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    mover, schedule = optimizer(model, steps)
    model, mover, schedule = accelerator.prepare(model, mover, schedule)
    for batch in drawn(rows, steps):
        nats, _ = causal_lm.loss(model, batch.tensors, SHAPE, At(0, steps))
        loss = nats / batch.units
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), CLIP)
        mover.step()
        schedule.step()
        mover.zero_grad()
        mark(batch.units, loss.item())


def hf_trainer(model: Any, rows: Corpus, steps: int, mark: Mark) -> None:
    """transformers.Trainer; its batches come ready, and no mask slows its attention."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    made = list(drawn(rows, steps))

    class Ready(Trainer):
        """Gets its batches as they are."""

        def get_train_dataloader(self) -> Any:
            """One item a batch."""
            given = [{"input_ids": b.tensors["ids"].clamp_min(0), "labels": b.tensors["ids"]} for b in made]
            return torch.utils.data.DataLoader(given, batch_size=None, shuffle=False)

        def training_step(self, *given: Any, **named: Any) -> Any:
            """Remembers the loss."""
            self.last = super().training_step(*given, **named)
            return self.last

    class Marks(TrainerCallback):
        """Tells of each step."""

        def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            """One step was made."""
            mark(made[state.global_step - 1].units, float(trainer.last))

    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(), max_steps=steps, per_device_train_batch_size=1, max_grad_norm=CLIP,
        report_to=[], save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = Ready(model=model, args=arguments, optimizers=optimizer(model, steps), callbacks=[Marks()])
    trainer.train()


ARMS = {f.__name__: f for f in (ours, bare, accelerate, hf_trainer)}


def main() -> None:
    """Train, and print tokens per second after the warm-up, seconds to the first step, memory and losses."""
    arm, steps, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    words, rows = laid(folder)
    model = network(words)
    begun = time.perf_counter()
    made: list[tuple[float, int, float]] = []
    ARMS[arm](model, rows, steps, lambda tokens, loss: made.append((time.perf_counter() - begun, tokens, loss)))
    seconds = made[-1][0] - made[WARM_STEPS - 1][0]
    tokens = sum(tokens for _, tokens, _ in made[WARM_STEPS:])
    figures = {
        "tokens_per_s": tokens / seconds,
        "start_s": made[0][0],
        "peak_memory_mb": memory.peak_bytes("cpu") / 1e6,
        "seconds": [s for s, _, _ in made],
        "losses": [loss for _, _, loss in made],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
