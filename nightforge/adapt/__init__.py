"""Adapters: few weights that are trained beside a starting model's own, which stay as they are. One file a method.

`attach(model, cfg, new_tokens) -> model`: a model of peft that computes what the bare one did, with only the adapter's
weights trainable; `merge_and_unload()` gives the plain model back, which is what is saved. `new_tokens` are the ids of
tokens that the starting model has not learnt.
"""
