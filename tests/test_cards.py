"""A card says what was measured, and nothing in it can be more than text."""

from nightforge import cards
from nightforge.cards import Card

TERM = {"term": "size_share", "limit": 0.25, "measured": 0.22484852, "bound": 0.22484852, "met": True}
LATE = {"term": "latency_ratio", "limit": 1.0, "measured": None, "bound": None, "met": False}
CARD = Card(
    name="gguf",
    runtime="llama.cpp",
    how="```console\nllama-cli -m model.gguf\n```\n",
    size_mb=1.383048,
    proof=cards.reopened(0.00113, 0.00321, 0.05),
    remarks=["on no grid: held as f16"],
    lineage={"dense": "2a9fe6", "data": "a0af32"},
    passes=[{"name": "rtn", "bits": 4, "layers": ["model.layers.*"]}],
    contract=[TERM, LATE],
    slices={"plant": {"documents": 654, "value": 0.00168851, "low": 0.001, "high": 0.0024}},
)
EXPECTED = """# gguf for llama.cpp

1.38 MB (10⁶ bytes). Opened in a fresh process, its logits differ from those of the model in memory by 0.0011 of their \
standard deviation (root of the mean square; 0.0032 at most); 0.05 is allowed.

- on no grid: held as f16

## How to run it

```console
llama-cli -m model.gguf
```

## Contract

| term | limit | measured | bound | met |
| --- | --- | --- | --- | --- |
| size\\_share | 0.25 | 0.2248 | 0.2248 | yes |
| latency\\_ratio | 1 | not measured | not measured | no |

## Slices

| slice | documents | loss | low | high |
| --- | --- | --- | --- | --- |
| plant | 654 | 0.17% | 0.10% | 0.24% |

## Recipe

1. rtn: bits 4, layers \\["model.layers.\\*"\\]

## Lineage

| of | sha256 |
| --- | --- |
| data | a0af32 |
| dense | 2a9fe6 |
"""


def test_the_whole_page() -> None:
    assert cards.render(CARD) == EXPECTED


def test_of_what_nothing_is_known_there_is_no_section() -> None:
    bare = Card("huggingface", "transformers", "Load it.", 6.0, "")
    assert [line for line in cards.render(bare).splitlines() if line.startswith("#")] == [
        "# huggingface for transformers",
        "## How to run it",
    ]


def test_a_label_is_no_markup() -> None:
    wild = "a|b\n\n# <script>x</script> [l](http://e) `c` **d**"
    page = cards.render(Card("x", "y", "", 1, "", slices={wild: CARD.slices["plant"]}))
    row = next(line for line in page.splitlines() if "script" in line)
    assert row == (
        r"| a\|b \# \<script\>x\</script\> \[l\]\(http://e\) \`c\` \*\*d\*\* | 654 | 0.17% | 0.10% | 0.24% |"
    )
