import pytest

from nightforge.clean.replace import SAMPLE, Config, edit
from nightforge.errors import ConfigError
from nightforge.methods import choose
from nightforge.records import Edit


def config(*replacements: tuple[str, str, str]) -> Config:
    listed = [dict(zip(("name", "pattern", "by"), r, strict=True)) for r in replacements]
    return Config.model_validate({"replacements": listed})


def test_in_order_with_groups_and_counted_by_name() -> None:
    cfg = config(("date", r"(\d\d)/(\d\d)/(\d{4})", r"\3-\1-\2"), ("year", "2024", "2025"), ("year", "MMXX", "2020"))
    assert edit("05/06/2024 and MMXX", cfg) == Edit("2025-05-06 and 2020", {"date": 1, "year": 2})
    assert edit("nothing", cfg) == Edit("nothing", {})


def test_the_sample_takes_a_footer_out() -> None:
    assert edit("Yes.\nSent from my phone", SAMPLE) == Edit("Yes.\n", {"sent_from": 1})


@pytest.mark.parametrize(
    ("pattern", "by", "complaint"),
    [
        ("[", "", "unterminated character set"),
        ("a*", "b", "insert everywhere"),
        ("(a)", r"\2", "invalid group reference"),
    ],
)
def test_what_cannot_work_is_refused_when_params_are_read(pattern: str, by: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=rf"replace: replacements\.0.*{complaint}"):
        choose("clean", {"name": "replace", "replacements": [{"name": "x", "pattern": pattern, "by": by}]})
