import random
from pathlib import Path

import pytest

from nightforge.augment import _nlpaug_shim as shim
from nightforge.augment._wordnet import FILES, Synonyms
from nightforge.augment.synonym import SAMPLE, vary
from nightforge.errors import AssetMissing
from nightforge.records import Record, content_id
from tests import mini_wordnet

CFG = SAMPLE.model_copy(update={"word_share": 1.0, "tries": 3, "stopwords": ["noon"]})


def variants(text: str, assets: Path, seed: int = 0) -> list[Record]:
    record = Record(id="r1", text=text, label="plant", meta={"document": "d1"})
    return list(vary(record, CFG, random.Random(seed), assets))


def test_words_become_synonyms_and_the_edits_are_told(wordnet_assets: Path) -> None:
    first = variants("a tall tree is often large", wordnet_assets)[0]
    # `often` begins with a vowel and so does `oftentimes`; `arbor` would need `an`; `massive` after `large` is fine
    assert first.text in {f"a {t} tree is oftentimes massive" for t in ("high", "lofty")}
    assert first.meta["edits"][-1] == {"part": "text", "at": 21, "before": "large", "after": "massive"}
    assert first.meta["parent"] == "r1" and first.meta["document"] == "d1" and first.label == "plant"
    assert first.id == content_id(first.text, "plant")


@pytest.mark.parametrize(
    "kept",
    [
        "  two  spaces\n\nand a\ttab ",
        "see https://large.example/tall?often=1 or mail tall@large.org",
        "$3.50 or 3,000 tall-ish, 50% and v1.2",
        "`large = tall` and ```\nlarge\n```",
        "large_tree tall.large() Large tallTree <|label:large|> [EMAIL] tall's",
    ],
)
def test_the_rest_stays_to_the_byte(kept: str, wordnet_assets: Path) -> None:
    for variant in variants(f"{kept}|{kept} large ", wordnet_assets):
        assert variant.text == f"{kept}|{kept} massive "


def test_nothing_to_vary(wordnet_assets: Path) -> None:
    assert variants("", wordnet_assets) == variants("…", wordnet_assets) == variants("noon Large", wordnet_assets) == []


def test_a_seed_gives_the_same_whatever_ran_before(wordnet_assets: Path) -> None:
    text = "a tall showy tree and a showy tall meal and a tall lunch " * 3
    alone = [v.text for v in variants(text, wordnet_assets, seed=4)]
    variants("a tall tree", wordnet_assets, seed=9)
    random.seed(0)
    assert [v.text for v in variants(text, wordnet_assets, seed=4)] == alone
    assert [v.text for v in variants(text, wordnet_assets, seed=5)] != alone


def test_two_generators_taken_in_turn_do_not_mix(wordnet_assets: Path) -> None:
    text = "a tall showy tree and a showy tall meal and a tall lunch " * 3
    record = Record(id="r1", text=text)
    one, two = (vary(record, CFG, random.Random(s), wordnet_assets) for s in (4, 5))
    mixed = [pair[0].text for pair in zip(one, two, strict=True)]
    assert mixed == [v.text for v in variants(text, wordnet_assets, seed=4)]


def test_the_table_is_nltks_first_sense(wordnet_assets: Path) -> None:
    folder = wordnet_assets / "wordnet"
    reader, table = shim.stock_synonyms(folder).model.model, Synonyms(folder)
    for pos, file in FILES.items():
        for word in (name for _, names in mini_wordnet.SYNSETS[file] for name in names):
            names = {n for n in reader.synsets(word, pos=pos)[0].lemma_names() if n != word and len(n) > 3}
            same = {n.replace("_", " ") for n in names if (n[0] in "aeiou") == (word[0] in "aeiou")}
            assert set(table.of(word, pos)) == (same if len(word) > 2 and "_" not in word else set())
    assert table.of("lunch", "n") == ("midday meal", "tiffin")
    assert table.of("tree", "v") == table.of("unknown", "n") == ()


def test_the_tagger_looks_at_no_neighbours() -> None:
    """So a word's tag is worked out once. When this fails, tag the whole text again."""
    from textblob.en import parser

    text = "they will plant a plant and plant the tall tree well beside the well leaves of a running river"
    words = text.split(" ")
    assert [tag for _, tag in parser.find_tags(words)] == [parser.find_tags([word])[0][1] for word in words]


def test_a_missing_dictionary_says_where_to_list_it(tmp_path: Path) -> None:
    with pytest.raises(AssetMissing, match=r"ingest\.assets"):
        variants("a tall tree", tmp_path)
