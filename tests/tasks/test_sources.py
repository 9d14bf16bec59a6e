import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from nightforge.errors import ConfigError, DataError, SourceMoved, Transient
from nightforge.methods import choose
from tasks import doctor_source, ingest, packages, shards, snapshot
from tasks.sources import Asset, IngestConfig, Source, entry, opened


def source(address: str, sha256: str | None = None, **fmt: object) -> Source:
    chosen = choose("ingest", {"name": "text", "unit": "line", "label": None, **fmt})
    return Source(name="mine", address=address, sha256=sha256, format=chosen)


def read_all(place: Source, home: Path) -> list[tuple[str, bytes]]:
    return [(path, handle.read()) for path, handle in opened(place, home)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "b.txt").write_text("two\n")
    (tmp_path / "in" / "deep" / "a.txt").write_text("one\n")
    (tmp_path / "in" / ".hidden").write_text("no\n")
    (tmp_path / "in" / "c.txt.gz").write_bytes(gzip.compress(b"three\n", mtime=0))
    return tmp_path


def package(home: Path, name: str = "corpus-1.0.tar.gz") -> str:
    """A package's archive, as pip would have left it in the cache; returns its sha256."""
    made = io.BytesIO()
    if name.endswith(".whl"):
        with zipfile.ZipFile(made, "w") as wheel:
            wheel.writestr("corpus/data.txt", "one\r\ntwo\r\n")
    else:
        with tarfile.open(fileobj=made, mode="w:gz") as tar:
            for path in ("corpus-1.0/corpus/data.txt", "corpus-1.0/corpus/other.txt", "corpus-1.0/corpus2/data.txt"):
                info = tarfile.TarInfo(path)
                info.size = 10
                tar.addfile(info, io.BytesIO(b"one\r\ntwo\r\n"))
    sha256 = hashlib.sha256(made.getvalue()).hexdigest()
    folder = home / ".nightforge" / "packages" / sha256
    folder.mkdir(parents=True)
    (folder / name).write_bytes(made.getvalue())
    return sha256


def test_a_folder_a_glob_and_a_file(home: Path) -> None:
    assert read_all(source("in"), home) == [
        ("in/b.txt", b"two\n"),
        ("in/c.txt.gz", b"three\n"),
        ("in/deep/a.txt", b"one\n"),
    ]
    assert [p for p, _ in read_all(source("in/**/*.txt"), home)] == ["in/b.txt", "in/deep/a.txt"]
    assert [p for p, _ in read_all(source(str(home / "in" / "b.txt")), home)] == [str(home / "in" / "b.txt")]
    with pytest.raises(DataError, match="found none under"):
        read_all(source("nothing/*.txt"), home)


def test_an_entry_tells_every_change(home: Path) -> None:
    before = entry(source("in"), home)
    assert before == entry(source("in"), home)
    assert before["files"][0] == {"path": "in/b.txt", "size": 4, "sha256": hashlib.sha256(b"two\n").hexdigest()}
    (home / "in" / "b.txt").write_text("TWO\n")
    assert entry(source("in"), home) != before


def test_a_remote_address_through_fsspec(home: Path) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe("/bucket/x.txt", b"far\n")
    assert read_all(source("memory://bucket"), home) == [("memory:///bucket/x.txt", b"far\n")]
    assert entry(source("memory://bucket"), home)["files"][0]["sha256"] == hashlib.sha256(b"far\n").hexdigest()
    with pytest.raises(DataError):
        entry(source("memory://nowhere"), home)
    with pytest.raises(DataError, match="nosuch"):
        entry(source("nosuch://x"), home)


class Server(BaseHTTPRequestHandler):
    """/x.txt is there; /cut.txt breaks off; /busy.txt is down; nothing else is there."""

    def do_GET(self) -> None:
        status = {"/x.txt": 200, "/cut.txt": 200, "/busy.txt": 503}.get(self.path, 404)
        self.send_response(status)
        self.send_header("Content-Length", "1000" if self.path == "/cut.txt" else "4")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"far\n")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", ["x.jsonl", "folder/", "folder/*.jsonl"])
def test_a_host_out_of_reach_may_come_back(home: Path, path: str) -> None:
    for look in (entry, read_all):
        with pytest.raises(Transient, match=r"127\.0\.0\.1:9/.*Try again"):
            look(source(f"http://127.0.0.1:9/{path}"), home)


def test_a_file_that_is_not_there_is_no_matter_of_time(home: Path, web: str) -> None:
    assert read_all(source(f"{web}/x.txt"), home) == [(f"{web}/x.txt", b"far\n")]
    with pytest.raises(DataError, match="nothing is there"):
        entry(source(f"{web}/gone.txt"), home)
    with pytest.raises(Transient, match="503"):
        entry(source(f"{web}/busy.txt"), home)


def test_a_connection_that_drops_may_hold_the_next_time(home: Path, web: str) -> None:
    with pytest.raises(Transient, match=r"cut\.txt: cannot be read"):
        read_all(source(f"{web}/cut.txt"), home)


@pytest.mark.parametrize(
    ("suffix", "spoilt"),
    [
        (".gz", gzip.compress(b"a line\n" * 9_000)[:-20]),
        (".gz", b"no gzip at all"),
        (".bz2", bz2.compress(b"a line\n" * 9_000)[:-20]),
        (".bz2", b"no bzip2 at all"),
        (".xz", lzma.compress(b"a line\n" * 9_000)[:-20]),
        (".xz", b"no xz at all"),
    ],
)
def test_a_spoilt_file_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, spoilt: bytes) -> None:
    (home / "in" / f"x.jsonl{suffix}").write_bytes(spoilt)
    address = f"in/x.jsonl{suffix}"
    snapshot.write(project(home, sources=[{**MINE, "address": address}]))
    for read in (lambda: run_ingest(home, monkeypatch), lambda: doctor_source.peek(source(address), home, 10**6)):
        with pytest.raises(DataError, match=rf"in/x\.jsonl\{suffix}: "):
            read()


@pytest.mark.parametrize(
    "address",
    [
        "https://jane:hunter2@example.org/x.csv",
        "s3://hunter2@bucket/x.csv",
        "simplecache::https://jane:hunter2@example.org/x.csv",
        "https://example.org/x.csv?X-Amz-Signature=hunter2",
        "https://example.org/x.csv?a=1&api_key=hunter2",
        "az://box/x.csv?sv=1&sig=hunter2",
        "https://example.org/x.csv#access_token=hunter2",
    ],
)
def test_an_address_holds_no_secret(home: Path, address: str) -> None:
    for values in ([{**MINE, "address": address}], [{**MINE, "adress": address}]):
        with pytest.raises(ConfigError, match="environment variables") as refused:
            snapshot.write(project(home, sources=values))
        assert "hunter2" not in str(refused.value)


def test_an_address_without_a_secret_is_taken() -> None:
    for address in ("https://example.org/x.csv?author=x&design=2", "s3://bucket/a@b.csv", "in/monkey=1/keys.csv"):
        assert source(address).address == address


@pytest.mark.parametrize("name", ["corpus-1.0.tar.gz", "corpus-1.0-py3-none-any.whl"])
def test_a_package_is_read_from_the_cache_and_checked_each_time(home: Path, name: str) -> None:
    sha256 = package(home, name)
    place = source("pkg:corpus==1.0/corpus/data.txt", sha256)
    assert read_all(place, home) == [("corpus/data.txt", b"one\r\ntwo\r\n")]
    with pytest.raises(DataError, match="holds no corpus/nope"):
        read_all(source("pkg:corpus==1.0/corpus/nope", sha256), home)


def test_a_folder_of_a_package_is_not_its_namesake(home: Path) -> None:
    place = source("pkg:corpus==1.0/corpus", package(home))
    assert [p for p, _ in read_all(place, home)] == ["corpus/data.txt", "corpus/other.txt"]


def test_a_file_of_an_installed_package_is_read_and_held_to_its_hash(home: Path) -> None:
    from importlib.metadata import distribution

    inside = "sklearn/datasets/data/digits.csv.gz"
    sha256 = hashlib.sha256(Path(str(distribution("scikit-learn").locate_file(inside))).read_bytes()).hexdigest()
    place = source(f"installed:scikit-learn/{inside}", sha256)
    ((path, content),) = read_all(place, home)
    assert path == place.address and content.startswith(b"0,0,5,13,9,1,0,0,") and content.count(b"\n") == 1797
    assert entry(place, home) == {"address": place.address, "installed": {"sha256": sha256}}
    with pytest.raises(DataError, match=f"expected a file of sha256 {'0' * 64}, and {sha256} is installed"):
        read_all(source(place.address, "0" * 64), home)
    with pytest.raises(DataError, match="no package no-such-thing is installed"):
        read_all(source("installed:no-such-thing/x.csv", "0" * 64), home)
    with pytest.raises(DataError, match="has no file"):
        read_all(source("installed:scikit-learn/x.csv", "0" * 64), home)
    with pytest.raises(ValueError, match="needs the sha256 of its file"):
        source(place.address)


def test_a_registry_out_of_reach_is_transient(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(Transient, match="cannot be reached"):
        packages.fetch("nightforge-no-such", "1.0", "0" * 64, home)
    assert not list((home / ".nightforge" / "packages").iterdir()), "nothing half-fetched stays"


def test_a_package_of_another_hash_is_refused_before_it_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = home / "index" / "evil"
    index.mkdir(parents=True)
    ran = home / "ran"
    with tarfile.open(index / "evil-1.0.tar.gz", "w:gz") as tar:
        code = f"open({str(ran)!r}, 'w')".encode()
        info = tarfile.TarInfo("evil-1.0/setup.py")
        info.size = len(code)
        tar.addfile(info, io.BytesIO(code))
    (index / "index.html").write_text('<a href="evil-1.0.tar.gz">evil-1.0.tar.gz</a>')
    monkeypatch.setenv("PIP_INDEX_URL", (home / "index").as_uri())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    with pytest.raises(DataError, match="nothing of it was run"):
        packages.fetch("evil", "1.0", "0" * 64, home)
    assert not ran.exists()


def test_what_says_the_metadata_is_pinned_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build requirement that no lock names is not fetched: the registry here has none."""
    index = home / "index" / "plain"
    index.mkdir(parents=True)
    archive = index / "plain-1.0.tar.gz"
    build = '[build-system]\nrequires = ["setuptools>=1"]\nbuild-backend = "setuptools.build_meta"\n'
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in {
            "pyproject.toml": f'{build}[project]\nname = "plain"\nversion = "1.0"\n',
            "d.txt": "one\n",
        }.items():
            info = tarfile.TarInfo(f"plain-1.0/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    (index / "index.html").write_text('<a href="plain-1.0.tar.gz">plain-1.0.tar.gz</a>')
    monkeypatch.setenv("PIP_INDEX_URL", (home / "index").as_uri())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    place = source("pkg:plain==1.0/d.txt", hashlib.sha256(archive.read_bytes()).hexdigest())
    assert read_all(place, home) == [("d.txt", b"one\n")]


def test_addresses_are_checked(home: Path) -> None:
    with pytest.raises(ValueError, match="needs the sha256"):
        source("pkg:corpus==1.0/data.txt")
    with pytest.raises(ValueError, match="expected pkg:NAME==VERSION"):
        source("pkg:corpus/data.txt", "0" * 64)
    with pytest.raises(ValueError, match="unique"):
        IngestConfig(sources=[source("a"), source("b")], assets=[])


MINE = {
    "name": "mine",
    "address": "in/*.txt",
    "sha256": None,
    "format": {"name": "text", "unit": "line", "label": "x"},
}


def project(home: Path, **ingest_values: object) -> Path:
    values = {"sources": [MINE], "assets": []}
    (home / "params.yaml").write_text(yaml.safe_dump({"ingest": values | ingest_values}))
    return home


def test_a_snapshot_is_rewritten_only_when_the_source_changed(home: Path) -> None:
    assert snapshot.write(project(home)) is True
    stamp = (home / "data" / "source.json").stat().st_mtime_ns
    assert snapshot.write(home) is False
    assert (home / "data" / "source.json").stat().st_mtime_ns == stamp
    (home / "in" / "new.txt").write_text("four\n")
    assert snapshot.write(home) is True
    files = json.loads((home / "data" / "source.json").read_text())["sources"]["mine"]["files"]
    assert [f["path"] for f in files] == ["in/b.txt", "in/new.txt"]


def test_a_snapshot_of_a_worktree_reads_the_home_checkout(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worktree = home / "elsewhere"
    worktree.mkdir()
    (worktree / "params.yaml").write_text(project(home).joinpath("params.yaml").read_text())
    monkeypatch.setenv("NIGHTFORGE_HOME", str(home))
    assert snapshot.write(worktree) and snapshot.write(home)
    assert (worktree / "data" / "source.json").read_text() == (home / "data" / "source.json").read_text()


def test_a_snapshot_names_what_is_wrong_in_params(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"ingest: .*sources\.0\.nmae: Extra"):
        snapshot.write(project(home, sources=[{"nmae": "x"}]))


def run_ingest(home: Path, monkeypatch: pytest.MonkeyPatch, **values: object) -> dict[str, object]:
    monkeypatch.setenv("NIGHTFORGE_HOME", str(home))
    cfg = IngestConfig.model_validate(yaml.safe_load((home / "params.yaml").read_text())["ingest"] | values)
    return ingest.run(cfg, home / "data" / "source.json", home / "raw", home / "assets", home / "rejects")


def test_ingest_keeps_plus_rejects_what_it_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "in" / "z.txt").write_bytes(b"mail bob@example.org\n\xff\n")
    snapshot.write(project(home))
    metrics = run_ingest(home, monkeypatch)
    assert (metrics["rows_read"], metrics["rows_kept"], metrics["rows_rejected"]) == (3, 2, 1)
    assert metrics["rejected"] == {"read": {"not_utf8": 1}} and metrics["labels"] == {"x": 2}
    assert [(r.text, r.source) for r in shards.read(home / "raw")] == [
        ("two", "mine:in/b.txt#line 1"),
        ("mail bob@example.org", "mine:in/z.txt#line 1"),
    ]
    (reject,) = shards.rows(home / "rejects")
    assert reject["source"] == "mine:in/z.txt" and reject["evidence"] == "line 2, byte 0"


def test_ingest_refuses_a_source_that_moved(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot.write(project(home))
    (home / "in" / "b.txt").write_text("TWO\n")
    with pytest.raises(SourceMoved, match=r"in/b\.txt is new or changed.*nightforge snapshot"):
        run_ingest(home, monkeypatch)


def test_ingest_of_nothing_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "in" / "b.txt").write_text("\n")
    snapshot.write(project(home))
    with pytest.raises(DataError, match="not one row"):
        run_ingest(home, monkeypatch)


def test_assets_are_laid_flat_without_carriage_returns(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = Asset(name="dictionary", address="pkg:corpus==1.0/corpus", sha256=package(home), lf=True)
    snapshot.write(project(home, assets=[asset.model_dump()]))
    run_ingest(home, monkeypatch)
    laid = {p.name: p.read_bytes() for p in (home / "assets" / "dictionary").iterdir()}
    assert laid == {"data.txt": b"one\ntwo\n", "other.txt": b"one\ntwo\n"}


def test_a_link_may_not_lead_out_of_a_source(home: Path) -> None:
    (home / "secret.txt").write_text("s\n")
    link = home / "in" / "z.txt"
    link.symlink_to(home / "secret.txt")
    for look in (entry, read_all):
        for address in ("in", "in/*.txt", "in/**/*.txt"):
            with pytest.raises(DataError, match=r"in/z\.txt: leads out of .*to .*/secret\.txt"):
                look(source(address), home)
    assert read_all(source("in/z.txt"), home) == [("in/z.txt", b"s\n")], "named by itself, it was meant"
    link.unlink()
    link.symlink_to("b.txt")
    assert ("in/z.txt", b"two\n") in read_all(source("in"), home), "within the folder it is a file like others"


@pytest.mark.parametrize("target", ["nowhere", "deep", "z.txt"])
def test_a_link_to_no_file_is_named(home: Path, target: str) -> None:
    (home / "in" / "z.txt").symlink_to(target)
    with pytest.raises(DataError, match=r"in/z\.txt: a link to what is no file"):
        read_all(source("in"), home)


def test_a_folder_reached_through_a_link_in_the_middle_of_a_glob(home: Path) -> None:
    (home / "out").mkdir()
    (home / "out" / "x.txt").write_text("x\n")
    (home / "in" / "way").symlink_to(home / "out")
    with pytest.raises(DataError, match="leads out of"):
        read_all(source("in/*/*.txt"), home)


def test_a_name_that_no_report_can_hold(home: Path) -> None:
    (home / "in" / "a\nb.txt").write_text("x\n")
    with pytest.raises(DataError, match=r"a\\nb\.txt.*Rename"):
        read_all(source("in"), home)


def test_a_complaint_about_columns_names_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "in" / "1.jsonl").write_text('{"text": "one", "label": "x"}\n')
    (home / "in" / "2.jsonl").write_text('{"text": "two", "class": 7}\n')
    columns = {"text": "text", "label": "label"}
    place = {**MINE, "address": "in/*.jsonl", "format": {"name": "jsonl", "columns": columns, "keep": []}}
    snapshot.write(project(home, sources=[place]))
    with pytest.raises(ConfigError, match=r"mine: in/2\.jsonl: ingest: no column 'label'\. .*has: class, text"):
        run_ingest(home, monkeypatch)


def test_parquet_files_of_one_source_may_differ_in_type(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["one"], "label": ["1"]}), home / "in" / "1.parquet")
    pq.write_table(pa.table({"label": [1, None], "text": ["two", "three"], "new": [0, 0]}), home / "in" / "2.parquet")
    pq.write_table(pa.table({"text": [["four"]], "label": ["1"]}), home / "in" / "3.parquet")
    columns = {"text": "text", "label": "label"}
    place = {**MINE, "address": "in/*.parquet", "format": {"name": "parquet", "columns": columns, "keep": []}}
    snapshot.write(project(home, sources=[place]))
    metrics = run_ingest(home, monkeypatch)
    assert [(r.text, r.label) for r in shards.read(home / "raw")] == [("one", "1"), ("two", "1"), ("three", None)]
    assert metrics["rejected"] == {"read": {"not_a_plain_value": 1}} and metrics["rows_read"] == 4


def test_assets_keep_their_folders_and_never_cover_each_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "in" / "deep" / "b.txt").write_bytes(b"x\r" * 600_000 + b"\n")
    snapshot.write(project(home, assets=[{"name": "two", "address": "in", "sha256": None, "lf": True}]))
    run_ingest(home, monkeypatch)
    laid = home / "assets" / "two"
    assert {p.relative_to(laid).as_posix() for p in laid.rglob("*.*")} == {
        "b.txt",
        "c.txt.gz",
        "deep/a.txt",
        "deep/b.txt",
    }
    assert (laid / "deep" / "b.txt").read_bytes() == b"x\r" * 599_999 + b"x\n", "a line end cut in two is still one"
    snapshot.write(project(home, assets=[{"name": "one", "address": "in/**/b.txt", "sha256": None, "lf": False}]))
    with pytest.raises(DataError, match=r"in/deep/b\.txt and a file before it would both be laid"):
        run_ingest(home, monkeypatch)
