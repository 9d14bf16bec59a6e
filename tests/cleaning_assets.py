"""Assets for the cleaning rules: a folder of texts for each that a SAMPLE names. A new one is a line of ASSETS."""

import json
from itertools import product
from pathlib import Path

GOOD = [
    f"a {kind} tree with {part} leaves, native to the {place} of the old world"
    for kind, part, place in product(
        ["tall", "small", "green", "young", "broad", "bright", "slow", "wild"],
        ["narrow", "showy", "silver", "dark", "round", "soft", "pale", "long"],
        ["hills", "rivers"],
    )
]
BAD = [f"click here {at} times to win {at * 7} $$$ now!!! free free free cheap pills" for at in range(16)]
ASSETS = {"good": GOOD, "bad": BAD, "trusted": GOOD, "benchmark": GOOD[:2]}
"""Name in data/assets → its texts."""


def write(folder: Path) -> None:
    """Lay each asset as a JSONL file in a folder of its name."""
    for name, texts in ASSETS.items():
        (folder / name).mkdir(parents=True)
        lines = (json.dumps({"text": text}) + "\n" for text in texts)
        (folder / name / "texts.jsonl").write_text("".join(lines), encoding="utf-8")
