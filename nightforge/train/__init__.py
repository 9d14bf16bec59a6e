"""Model families: one file a family. `KIND` says what it is trained on, and tasks/train_<kind>.py gets that ready.

`text`: `build(cfg, tokenizer)`, `loss(model, tensors, cfg, at)`, `sample(model, prompts, new_tokens, temperature,
top_p, seed)`; `causal_lm` says what they take and return.

`array` (images and sounds, as a file of nightforge/media/ makes them):

- `build(cfg, shape, classes) -> Module`; shape is (channels, height, width), and the label `classes` means none.
- `loss(model, tensors, cfg, at)`, or `turns(cfg)` where several players move. `tensors` has `x` (rows, channels,
  height, width) in −1 … 1, and `y` (rows,), the number of the label. Draws come from torch's generator.
- `sample(model, cfg, labels, seed) -> (rows, channels, height, width)`; labels is (rows,).
- `score(model, cfg, tensors, seeds, judge) -> (rows,)` nats, smaller is better, each row's draws from its own seed, so
  that two models are compared on the same draws; `judge` is a classifier of the real data (nightforge/judge.py).
- `METRIC`: what Σ nats ÷ (ln 2 · Σ units) is called, and `units(shape)`, the units of a row: its bytes for `bpb`.
"""
