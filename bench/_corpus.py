"""Real English technical prose for the benches, from the documentation packages of Debian, cut into pages.

`apt-get download` fetches the packages named here into bench/.data (git ignores it); `provenance()` says which versions
and bytes they were. Nothing is installed, and no text is kept in this repository.
"""

import gzip
import hashlib
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).resolve().parent / ".data"
PACKAGES = (
    "linux-doc-6.1",
    "python3.11-doc",
    "perl-doc",
    "postgresql-doc-15",
    "debian-reference-en",
    "sqlite3-doc",
    "git-doc",
)
"""Of Debian 12; Ubuntu and other releases carry other versions of them under other names."""
KINDS = (".rst.gz", ".pod", ".html")
TWICE = ("translations", "linux-doc-6.1/html")
"""Where the same pages lie in other languages, or rendered."""
PAGE_CHARS = 1_000
"""Paragraphs are gathered up to this many characters."""
CHANGED_SHARE = 0.15
"""Words exchanged in each further copy of a document: with 5-word shingles, J of about 0.28 to the first."""
SEED = 11
_DECLARED = re.compile(r"^(\.\. [\w-]+::|\.\. _|:[\w-]+:|=\w+)", re.MULTILINE)


def documents(megabytes: int) -> Path:
    """A file of JSON lines, `{"id": …, "text": …}`, with so many MB (10**6 bytes) of UTF-8 text; made once.

    Beyond the real text there is, further copies of it follow, each with CHANGED_SHARE of its words exchanged.

    Raises:
        SystemExit: the packages cannot be had here.
    """
    path = DATA / f"documents-{megabytes}.jsonl"
    if not path.exists():
        texts, left = real(), megabytes * 1_000_000
        partial = path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as out:
            for at, text in enumerate(_copies(texts)):
                out.write(json.dumps({"id": f"d{at:07d}", "text": text}, ensure_ascii=False) + "\n")
                if (left := left - len(text.encode())) <= 0:
                    break
        partial.rename(path)
    return path


def read(path: Path) -> Iterator[str]:
    """The texts of such a file."""
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line)["text"] for line in lines)


def real() -> list[str]:
    """Every page of the packages, once, in an order that mixes them."""
    pages: dict[str, None] = {}
    for folder in unpacked():
        for file in sorted(p for p in folder.rglob("*") if p.name.endswith(KINDS) and p.is_file()):
            if not any(part in file.as_posix() for part in TWICE):
                pages |= dict.fromkeys(_pages(_plain(file)))
    texts = list(pages)
    random.Random(SEED).shuffle(texts)
    return texts


def unpacked() -> list[Path]:
    """The packages' files, fetched and unpacked once.

    Raises:
        SystemExit: apt-get or dpkg-deb is not there, or finds no such package.
    """
    folders = [DATA / "unpacked" / name for name in PACKAGES]
    for name, folder in zip(PACKAGES, folders, strict=True):
        if folder.exists():
            continue
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise SystemExit("bench: the corpus comes from Debian packages: run it where apt-get and dpkg-deb are.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["apt-get", "download", name], cwd=DATA, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench: apt-get download {name}: {done.stderr.strip()} (apt-get update first?)")
        partial = folder.with_name(f"{name}.partial")
        subprocess.run(["dpkg-deb", "-x", _package(name), partial], check=True)
        partial.rename(folder)
    return folders


def provenance() -> list[str]:
    """A line a package: its file, which names the version, and its sha256."""
    unpacked()
    return [f"{p.name} sha256 {hashlib.sha256(p.read_bytes()).hexdigest()[:16]}" for p in map(_package, PACKAGES)]


def _package(name: str) -> Path:
    return max(DATA.glob(f"{name}_*.deb"), key=lambda p: p.stat().st_mtime)


def _plain(file: Path) -> str:
    """The text of a file without its markup."""
    raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    if file.suffix != ".html":
        return _DECLARED.sub("", raw.decode(errors="replace"))
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(raw)
    for node in tree.css("script, style, nav, .sphinxsidebar, .related, .navheader, .navfooter, .footer"):
        node.decompose()
    for node in tree.css("p, pre, li, dt, dd, tr, h1, h2, h3, h4"):
        node.insert_before("\n\n")
    return tree.body.text() if tree.body else ""


def _pages(text: str) -> Iterator[str]:
    """Paragraphs together until they make a page; what is left over at the end is dropped."""
    page: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.replace("\0", "")):
        if stripped := paragraph.strip():
            page.append(stripped)
            if sum(map(len, page)) >= PAGE_CHARS:
                yield "\n\n".join(page)
                page = []


def _copies(texts: list[str]) -> Iterator[str]:
    """The texts, and then again and again with words exchanged."""
    yield from texts
    vocabulary = sorted({word for text in texts[::10] for word in text.split(" ") if word.isalpha()})
    rng = random.Random(SEED)
    while True:
        for text in texts:
            words = text.split(" ")
            for _ in range(int(CHANGED_SHARE * len(words))):
                words[int(rng.random() * len(words))] = vocabulary[int(rng.random() * len(vocabulary))]
            yield " ".join(words)
