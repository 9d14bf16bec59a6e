"""A workspace of its own for each deployed run: a git worktree at a pinned commit, with the DVC cache shared.

Two runs never share a workspace: a value edited while a stage runs would be recorded for the old model. A worktree
belongs to the process that holds its lock file; one whose lock is free is of a dead run, and is reaped.
"""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows import graph, guard
from nightforge.errors import ConfigError, NightforgeError
from tasks import wiring

IDENTITY = {"user.name": "Nightforge", "user.email": "nightforge@localhost"}
"""Who commits where git knows no name."""


def git(*arguments: str, cwd: Path) -> str:
    """What a git command prints.

    Raises:
        NightforgeError: git failed; the message is git's own.
    """
    ended = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NightforgeError(f"git {' '.join(arguments)} in {cwd}: {ended.stderr.strip() or ended.stdout.strip()}")
    return ended.stdout.strip()


def commit_of(project: Path) -> str:
    """The commit that a checkout stands at, or an empty string where there is none yet."""
    try:
        return git("rev-parse", "--verify", "HEAD", cwd=project)
    except NightforgeError:
        return ""


@contextmanager
def worktree(home: Path, run: str) -> Iterator[Path]:
    """The project folder of a new worktree at HEAD; removed on leaving. Worktrees of dead runs are reaped first.

    Args:
        home: the project folder in the user's own checkout. Its uncommitted edits are not part of the run.
        run: the run's id, which names the worktree.

    Raises:
        ConfigError: `home` is no git checkout with a commit.
    """
    commit = commit_of(home)
    if not commit:
        raise ConfigError(f"{home} is no git checkout with a commit. A deployed run works at a commit: commit first.")
    root = Path(git("rev-parse", "--show-toplevel", cwd=home))
    folder = home / ".nightforge" / "worktrees"
    folder.mkdir(parents=True, exist_ok=True)
    reap(home)
    with _claimed(folder / f"{run}.lock") as lock:
        try:
            git("worktree", "add", "--quiet", "--detach", str(folder / run), commit, cwd=root)
            project = folder / run / home.resolve().relative_to(root.resolve())
            for name in ("dvc.yaml", "params.yaml", ".dvc/config"):
                if not (project / name).exists():
                    raise ConfigError(
                        f"{home / name} is not in commit {commit[:12]}, at which this run works: commit it."
                    )
            _share_cache(home, project)
            guard.run(graph.checkout_command(), project, graph.environment(home), lambda _: None)
            yield project
        finally:
            _remove(folder / run, root)
            lock.unlink(missing_ok=True)


@contextmanager
def _claimed(lock: Path) -> Iterator[Path]:
    """A lock file of one's own, held from the moment at which others can see it."""
    with ExitStack() as held:
        with _alone(lock.parent):
            file = held.enter_context(lock.open("w", encoding="utf-8"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield lock


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The right to create and to reap lock files: one that is created and not yet held looks like a dead run's."""
    with folder.with_suffix(".lock").open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def reap(home: Path) -> list[str]:
    """Remove the worktrees of runs that died; returns their ids."""
    folder, dead = home / ".nightforge" / "worktrees", []
    root = Path(git("rev-parse", "--show-toplevel", cwd=home))
    with _alone(folder):
        for path in sorted(folder.glob("*.lock")):
            with path.open("a", encoding="utf-8") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                _remove(folder / path.stem, root)
                path.unlink(missing_ok=True)
                dead.append(path.stem)
    return dead


def _remove(tree: Path, root: Path) -> None:
    if tree.exists():
        shutil.rmtree(tree, ignore_errors=True)
    git("worktree", "prune", cwd=root)


def _share_cache(home: Path, project: Path) -> None:
    """Point a worktree's DVC at the home checkout's cache and remotes; config.local is in no commit."""
    config = ConfigParser()
    config.read(home / ".dvc" / "config.local")
    if not config.has_section("cache"):
        config.add_section("cache")
    config.set("cache", "dir", str(graph.cache_dir(home)))
    with (project / ".dvc" / "config.local").open("w", encoding="utf-8") as file:
        config.write(file)


def publish(project: Path, home: Path, run: str, message: str) -> str:
    """Commit what a run recorded (dvc.lock, params.yaml and the manifests in git) as branch `runs/<run>`.

    Returns the commit. The branch is in the home checkout too, since worktrees share one repository.
    """
    made = {p for stage in wiring.stages(project).values() for p in (*stage.outs, *stage.metrics, *stage.plots)}
    read = {p for stage in wiring.stages(project).values() for p in stage.deps if p.suffix == ".json"}
    recorded = [Path("dvc.lock"), Path("params.yaml"), *sorted(read - made)]
    git("add", "-f", "--", *[str(p) for p in recorded if (project / p).exists()], cwd=project)
    known = (
        subprocess.run(["git", "config", "user.email"], cwd=project, capture_output=True, check=False).returncode == 0
    )
    identity = [] if known else [part for key, value in IDENTITY.items() for part in ("-c", f"{key}={value}")]
    git(*identity, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", message, cwd=project)
    commit = commit_of(project)
    git("branch", "--force", f"runs/{run}", commit, cwd=home)
    return commit


def keep_reports(project: Path, home: Path, run: str) -> Path:
    """Copy the pages and metrics of a run to `.nightforge/runs/<run>` of the home checkout; returns that folder."""
    kept = home / ".nightforge" / "runs" / run
    kept.mkdir(parents=True, exist_ok=True)
    for page in (project / "reports").glob("*.html"):
        shutil.copyfile(page, kept / page.name)
    for folder in ("metrics", "reports/closed", "reports/data_docs"):
        if (project / folder).is_dir():
            shutil.copytree(project / folder, kept / Path(folder).name, dirs_exist_ok=True)
    return kept
