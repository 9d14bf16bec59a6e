"""The stage `knowledge`: nothing lost, provenance kept, nothing of the evaluation splits told, a share that holds."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nightforge.errors import AssetMissing, ConfigError
from nightforge.records import Record, content_id
from tasks import knowledge, shards
from tasks.hashing import sha256_tree
from tasks.split import SplitConfig

ROOT = Path(__file__).parent.parent.parent
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
SPLIT = SplitConfig(**PARAMS["split"])
OUTS = ("knowledge", "cloze", "entity_vectors", "knowledge_rejects")
PHRASINGS = {
    "capital": ["{subject} is the capital city of {object}.", "The seat of government of {object} is {subject}."]
}


JUDGED = [f"City{i} is the capital city of Land{i}." for i in range(1, 5)]


def config(**changes: Any) -> knowledge.KnowledgeConfig:
    columns = {"subject": "subject", "relation": "relation", "object": "object", "delimiter": ","}
    values = PARAMS["knowledge"] | {"sources": [{"asset": "geo", "format": {"name": "csv"} | columns}]}
    probe = {"phrasings": {"capital": "{subject} governs {object}."}, "questions": 5, "held_out_share": 0.2}
    return knowledge.KnowledgeConfig(
        **values | {"phrasings": PHRASINGS, "probe": PARAMS["knowledge"]["probe"] | probe} | changes
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    facts = [f"City{i},capital,Land{i}" for i in range(40)] + ["City0,capital,Land0", "Nowhere,,Land1", "x,hue,red"]
    (tmp_path / "assets/geo").mkdir(parents=True)
    (tmp_path / "assets/geo/facts.csv").write_text("subject,relation,object\n" + "\n".join(facts) + "\n")
    rows = [f"row number {i} of the training split" for i in range(100)]
    records = [Record(id=content_id(t), text=t) for t in rows]
    shards.write(tmp_path / "splits/train", records)
    shards.write(tmp_path / "splits/acceptance", [Record(id=content_id(t), text=t) for t in JUDGED])
    shards.write(tmp_path / "balanced", records)
    return tmp_path


def told(project: Path, cfg: knowledge.KnowledgeConfig, name: str = "out", seed: int = 17) -> dict[str, Any]:
    given = [project / p for p in ("assets", "splits", "balanced")]
    return knowledge.run(cfg, SPLIT, seed, *given, *(project / name / out for out in OUTS))


def test_facts_become_rows_with_provenance_and_nothing_is_lost(project: Path) -> None:
    got = told(project, config(share_max=0.5))
    rows = list(shards.read(project / "out/knowledge"))
    rejects = list(shards.rows(project / "out/knowledge_rejects"))
    assert got["facts_read"] == 43 and got["facts"] == 40 and got["facts_repeated"] == 1
    assert got["facts_told"] + got["facts_held_out"] + got["facts_untold"] == 40 and got["facts_held_out"] > 0
    assert (
        got["texts_said"] == got["rows_kept"] + len(rejects) - 2
    )  # two rejects are lines of which nothing can be said
    assert len(rows) == got["rows_kept"] > 40
    assert {r["reason"] for r in rejects} == {"no_relation", "no_phrasing", "near_another_split"}
    assert all(r["source"].startswith("geo:facts.csv#") for r in rejects)
    one = next(r for r in rows if "City7 " in r.text or r.text.endswith("City7."))
    assert one.source == "geo:facts.csv#line 9" and one.meta == {"facts": [one.source], "knowledge": "templates"}
    assert not {r.text for r in rows} & set(JUDGED)


def test_held_out_facts_are_asked_and_never_told(project: Path) -> None:
    told(project, config(share_max=0.5))
    text = " ".join(r.text for r in shards.read(project / "out/knowledge"))
    asked = list(shards.rows(project / "out/cloze"))
    assert len([q for q in asked if q["known"]]) == 5
    for question in asked:
        city = question["texts"][0].split()[0]
        assert (f"{city} " in text or f"{city}." in text) == question["known"]
        assert question["texts"][0] == f"{city} governs Land{city.removeprefix('City')}."


def test_the_share_is_kept_and_every_fact_is_told_once_before_any_twice(project: Path) -> None:
    got = told(project, config(share_max=0.25))
    assert got["rows_kept"] == 33 and got["share"] == pytest.approx(33 / 133)
    facts = [r.meta["facts"][0] for r in shards.read(project / "out/knowledge")]
    near = got["rejected"]["knowledge"]["near_another_split"]
    assert got["facts_told"] == len(set(facts)) == 33  # also those whose first sentence comes near another split
    assert got["facts_untold"] == 7 - got["facts_held_out"] == 1
    assert got["rejected"]["knowledge"]["over_share_max"] == got["texts_said"] - 33 - near


def test_what_found_no_room_is_neither_called_told_nor_asked(project: Path) -> None:
    got = told(project, config(share_max=0.05))
    places = {row.meta["facts"][0] for row in shards.read(project / "out/knowledge")}
    assert got["rows_kept"] == got["facts_told"] == len(places) == 5
    assert got["facts_untold"] == 35 - got["facts_held_out"] > 20
    asked = list(shards.rows(project / "out/cloze"))
    assert {q["place"] for q in asked if q["known"]} == places
    assert got["questions_known"] == 5 == sum(q["known"] for q in asked)


def test_the_same_bytes_again_and_others_with_another_seed(project: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        told(project, config(entities=knowledge.Entities(tokens=6, dims=4)), name, seed)
    assert sha256_tree(project / "one") == sha256_tree(project / "two") != sha256_tree(project / "three")
    assert len(list(shards.rows(project / "one/entity_vectors"))) == 6


def test_without_sources_nothing_is_told(project: Path) -> None:
    got = told(project, knowledge.KnowledgeConfig(**PARAMS["knowledge"]))
    assert got["rows_kept"] == got["facts_read"] == 0 and got["share"] == 0
    assert [shards.count(project / "out" / out) for out in OUTS] == [0, 0, 0, 0]


def test_a_missing_asset_and_a_phrasing_without_places_are_said(project: Path) -> None:
    cfg = config()
    missing = cfg.model_copy(update={"sources": [cfg.sources[0].model_copy(update={"asset": "geography"})]})
    with pytest.raises(AssetMissing, match=r"no asset 'geography'.*ingest\.assets(.|\n)*name: geography"):
        told(project, missing)
    with pytest.raises(ValueError, match=r"expected \{subject\} and \{object\}"):
        config(phrasings={"capital": ["{subject} is a capital."]})
    with pytest.raises((ConfigError, ValueError)):
        config(phrasings={"capital": []})


@pytest.mark.parametrize(
    ("phrasings", "said"),
    [
        ({"capital": "{subject} is a capital."}, r"expected \{subject\} and \{object\}"),
        ({"capital": PHRASINGS["capital"][1]}, "training tells"),
        ({"hue": "{subject}  is hue of {object}."}, "training tells"),
        ({"*": "{subject} and {object}."}, r"a relation, got '\*'"),
    ],
)
def test_a_probe_asks_in_words_of_its_own(phrasings: dict[str, str], said: str) -> None:
    probe = {"phrasings": phrasings, "questions": 5, "held_out_share": 0.2, "distractors": 3}
    with pytest.raises(ValueError, match=said):
        config(probe=probe, phrasings=PHRASINGS | {"*": ["{subject} is {relation} of {object}."]})
