"""A Hugging Face folder as it comes from elsewhere: a tiny BERT with random weights and its word-piece tokenizer."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["a", "the", "cat", "mat", "sat", "on", "hello", "you", "are", "kind", "vile", "and", "so"]
POSITIONS = 16


def lay(folder: Path, labels: list[str] | None = None, problem_type: str | None = None) -> Path:
    """An encoder; with labels, a classifier of sequences. The same bytes each time."""
    vocab = {word: i for i, word in enumerate([*SPECIAL, *WORDS, *"abcdefghijklmnopqrstuvwxyz"])}
    vocab |= {f"##{c}": len(vocab) + i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz")}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        initializer_range=0.5,
    )
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    config.problem_type = problem_type
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForSequenceClassification(config) if labels else BertModel(config)
    model.save_pretrained(folder)
    return folder
