import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from nightforge.errors import ConfigError, DataError
from nightforge.ingest.images import Config, read
from nightforge.records import Record, Reject
from tasks import shards
from tasks.ingest import run as ingest
from tasks.snapshot import manifest
from tasks.sources import IngestConfig
from tests.media_samples import encoded, png, scene, zipped

LISTED = {"file": "list.json", "name": "image", "label": "category", "text": "name"}


def config(label: str | None = "folder", listed: dict[str, Any] | None = None) -> Config:
    return Config.model_validate({"label": label, "listed": listed})


def found(content: bytes, cfg: Config | None = None) -> list[tuple[str | None, ...]]:
    """(label, text, source, media type) of records, the reason of rejects."""
    items = read(io.BytesIO(content), cfg or config())
    return [(i.reason,) if isinstance(i, Reject) else (i.label, i.text, i.source, i.media_type) for i in items]


def test_an_archive_of_folders() -> None:
    files = {
        "pets/cat/1.png": png(1),
        "pets/dog/2.jpg": encoded(scene(2), "JPEG"),
        "3.webp": encoded(scene(3), "WEBP"),
        "pets/.DS_Store": b"x",
        "__MACOSX/1.png": b"x",
    }
    expected = [
        ("cat", "", "pets/cat/1.png", "image/png"),
        ("dog", "", "pets/dog/2.jpg", "image/jpeg"),
        (None, "", "3.webp", "image/webp"),
    ]
    assert found(zipped(files)) == expected
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert found(out.getvalue()) == expected


def test_broken_pictures_cost_themselves_alone() -> None:
    files = {"a/1.png": png(1), "a/2.png": png(2)[:-30], "a/3.png": b"", "a/4.txt": b"hello", "a/5.png": png(5)}
    assert [item[0] for item in found(zipped(files))] == [
        "a",
        "truncated_picture",
        "not_a_picture",
        "not_a_picture",
        "a",
    ]


def test_a_list_tells_labels_and_captions_and_what_it_omits_is_a_reject() -> None:
    rows = [{"image": "1.png", "category": "Food", "name": "GREEN APPLE"}, {"image": "x/2.png", "category": None}]
    files = {
        "set/1.png": png(1),
        "set/x/2.png": png(2),
        "set/3.png": png(3),
        "set/list.json": json.dumps(rows).encode(),
    }
    assert found(zipped(files), config(None, LISTED)) == [
        ("Food", "GREEN APPLE", "set/1.png", "image/png"),
        (None, "", "set/x/2.png", "image/png"),
        ("not_listed",),
    ]
    assert found(zipped(files), config("folder", LISTED))[1][0] == "x"
    with pytest.raises(ConfigError, match="no column 'label'"):
        found(zipped(files), config(None, LISTED | {"label": "label"}))


def test_a_corrupt_archive_stops_and_a_corrupt_member_does_not() -> None:
    whole = zipped({"a/1.png": png(1), "a/2.png": png(2)})
    with pytest.raises(DataError, match="truncated or corrupt"):
        found(whole[:-40])
    at = whole.index(b"IDAT") + 10
    assert [i[0] for i in found(whole[:at] + b"\0\0\0\0" + whole[at + 4 :])] == ["corrupt_member", "a"]


def test_ids_tell_pictures_of_one_caption_apart() -> None:
    items = list(read(io.BytesIO(zipped({"a/1.png": png(1), "a/2.png": png(2), "b/1.png": png(1)})), config()))
    assert len({item.id for item in items if isinstance(item, Record)}) == 3


def test_a_folder_through_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file of a folder is one record, labelled by its folder or by the list that lies beside."""
    monkeypatch.chdir(tmp_path)
    for name, content in {"cat/1.png": png(1), "dog/2.png": png(2), "dog/3.png": b"no", "dog/4.png": b""}.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "in/list.csv").write_text("image,name\n1.png,a cat\ndog/2.png,a dog\n3.png,\n4.png,\n")
    (tmp_path / "in/more.tar.gz").write_bytes(gzip.compress(b""))
    listed = LISTED | {"file": "list.csv", "label": None}
    source = {"name": "pets", "address": "in", "sha256": None}
    format_ = {"name": "images", "label": "folder", "listed": listed}
    cfg = IngestConfig.model_validate({"sources": [source | {"format": format_}], "assets": []})
    (tmp_path / "source.json").write_text(json.dumps(manifest(cfg, tmp_path)))
    metrics = ingest(cfg, *(tmp_path / name for name in ("source.json", "raw", "assets", "rejects")))
    records = list(shards.read(tmp_path / "raw"))
    assert [(r.label, r.text, r.source) for r in records] == [
        ("cat", "a cat", "pets:in/cat#1.png"),
        ("dog", "a dog", "pets:in/dog#2.png"),
    ]
    assert metrics["rejected"] == {"read": {"empty_file": 2, "not_a_picture": 1}}
    assert [r.content for r in records] == [png(1), png(2)]
