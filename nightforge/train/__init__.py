"""Model families: one file a family. `KIND` says what it is trained on, and tasks/train_<kind>.py gets that ready.

`text`: `build(cfg, tokenizer)`, `loss(model, tensors, cfg, at)`, `nats(model, documents, batch_tokens, context)`,
`sample(model, prompts, new_tokens, temperature, top_p, seed)`; `causal_lm` says what they take and return. `CLASS` is
the class of transformers that reads the model's folder, and `OWN_TOKENS`, where there are any, how many tokens `build`
adds to the tokenizer.

`array` (images and sounds, as `judge.media` of params.yaml makes them; nightforge/array_models.py keeps them):

- `build(cfg, shape, classes) -> Module`; shape is (channels, height, width), and the label `classes` means none.
- `loss(model, tensors, cfg, at)`, or `turns(cfg)` where several players move. `tensors` has `x` (rows, channels,
  height, width) in −1 … 1, and `y` (rows,), the number of the label. Draws come from torch's generator.
- `sample(model, cfg, labels, seed) -> (rows, channels, height, width)`; labels is (rows,).
- `score(model, cfg, tensors, seeds, judge) -> (rows,)` nats, smaller is better, each row's draws from its own seed
  (array_models.row_seeds), so that two models are compared on the same draws; `judge` is a classifier of the real data
  (nightforge/judge.py), x → logits. No gradient is kept.
- `METRIC`: what Σ nats ÷ (ln 2 · Σ units) is called, and `units(shape)`, the units of a row: its bytes for `bpb`.
- `WATCHED`, if early stopping looks at something else than the mean score: `kid`, the kernel distance of as many
  samples as there are watched records, in the judge's features.
- `attend(model, judge)`, if its loss looks through the judge; `adopt(model, cfg, loaded)`, if it starts from a network
  of another family (`train.model`).
- `TEXT`, if it is told captions: `tensors` then has `text` (rows, tokens, width) and `text_mask` (rows, tokens) too, as
  nightforge/captions.py reads them, and `caption(model, captions)` is given those of the labels' names.
"""
