"""Olive on its documented way to a 4-bit model for a CPU: GPTQ, then output and embeddings, then the model builder.

Run by the peers' Python, in a process of its own: MODEL ROWS OUT CACHE; ROWS is a JSON file of lists of token ids.
"""

import json
import sys
from pathlib import Path

import torch
from olive.data.registry import Registry
from olive.workflows import run

GRID = {"bits": 4, "group_size": 32, "sym": True}
"""As the model builder's own int4, so that both take the same bytes."""
COMPONENTS = {
    "load_dataset_config": "bench_rows",
    "pre_process_data_config": "skip_pre_process",
    "post_process_data_config": "skip_post_process",
    "dataloader_config": "no_auto_batch_dataloader",
}


def main(model: str, rows: str, out: str, cache: str) -> None:
    """Write the folder that ONNX Runtime GenAI loads."""

    @Registry.register_dataset()
    def bench_rows(**_: object) -> list[object]:
        tensors = [torch.tensor([ids]) for ids in json.loads(Path(rows).read_text(encoding="utf-8"))]
        return [({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, ids) for ids in tensors]

    data = {"name": "rows", "type": "DataContainer"} | {key: {"type": name} for key, name in COMPONENTS.items()}
    here = {"accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}]}
    passes = {
        "gptq": {"type": "Gptq", **GRID, "data_config": "rows"},
        "head": {"type": "Rtn", **GRID, "lm_head": True, "embeds": True},
        "onnx": {"type": "ModelBuilder", "precision": "int4", "int4_accuracy_level": 4},
    }
    run(
        {
            "input_model": {"type": "HfModel", "model_path": model, "load_kwargs": {"dtype": "float32"}},
            "systems": {"here": {"type": "LocalSystem", **here}},
            "data_configs": [data],
            "passes": passes,
            "target": "here",
            "output_dir": out,
            "cache_dir": cache,
            "evaluate_input_model": False,
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
