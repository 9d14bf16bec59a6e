"""Model families: one file a family, each with `build(cfg, tokenizer)`, `loss(model, batch)` and
`sample(model, prompts, new_tokens, temperature, top_p, seed)`; `causal_lm` says what they return."""
