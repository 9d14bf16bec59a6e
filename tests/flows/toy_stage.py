"""The stages of the toy project, a file of its own since DVC runs it: `python toy_stage.py STAGE`."""

import json
import sys
import time
from pathlib import Path

import yaml

LAST = Path(".nightforge/last")


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def end(stage: str, code: int, kind: str, message: str) -> None:
    write(str(LAST / f"{stage}.json"), json.dumps({"exit": code, "kind": kind, "message": message}))
    sys.exit(code)


def ingest(params: dict) -> None:
    write("data/raw", f"rows of seed {params['seed']}\n")


def gate(params: dict) -> None:
    if params["gate"]["closed"]:
        end("gate@raw", 66, "GateClosed", "expected more rows")
    write("reports/gates/raw.json", Path("data/raw").read_text())


def train(params: dict) -> None:
    loop = params["train"]["loop"]
    for step in range(loop["steps"]):
        print(f"[progress] {step + 1}/{loop['steps']} step", flush=True)
        time.sleep(loop["step_s"])
    write("models/dense/w", f"{Path('data/raw').read_text()} {loop['optimizer']['lr']}\n")


def compress(params: dict) -> None:
    write("models/compressed/w", Path("models/dense/w").read_text() + " small")


def accept(params: dict) -> None:
    met = params["contract"]["max_quality_loss"] >= 0.005
    champion = json.loads(Path("models/champion.json").read_text())["champion"]
    term = {"term": "bpb_loss_share", "limit": params["contract"]["max_quality_loss"], "measured": 0.004, "met": met}
    verdict = {
        "verdict": "MET" if met else "NOT MET",
        "reasons": [] if met else ["bpb_loss_share is at most 0.005, the limit is less"],
        "contract": [term | {"bound": 0.005}],
        "chosen": "toy",
        "bpb_loss_share": {"value": 0.004, "low": 0.003, "high": 0.005},
        "size_mb": 1.0,
        "dense_size_mb": 4.0,
        "documents": 10,
        "bpb": {"compressed": {"value": 1.6}},
        "dense": Path("models/dense/w").read_text(),
        "champion_recorded": champion,
        "split_sha256": "5" * 64,
    }
    write("metrics/accept.json", json.dumps(verdict))


def report(params: dict) -> None:
    write("reports/index.html", f"<h1>{params['report']['title']}</h1>" + Path("metrics/accept.json").read_text())


def verdict(params: dict) -> None:
    if json.loads(Path("metrics/accept.json").read_text())["verdict"] != "MET":
        end("verdict", 3, "ContractNotMet", "NOT MET")
    write("reports/gates/compressed.json", "MET")


def side(params: dict) -> None:
    """Beside the others, and as unlucky as params say."""
    tries = Path(".nightforge/tries")
    tries.parent.mkdir(exist_ok=True)
    with tries.open("a") as f:
        f.write("x")
    match params["side"]["luck"]:
        case "transient" if len(tries.read_text()) < 3:
            end("side", 75, "Transient", "try again")
        case "closed":
            end("side", 66, "GateClosed", "closed for good")
        case "hang":
            time.sleep(60)
    write("data/side", params["side"]["luck"])


if __name__ == "__main__":
    globals()[sys.argv[1]](yaml.safe_load(Path("params.yaml").read_text()))
