"""How several processes train one model: one file a way, with `spread(model, turns, cfg) -> Ranks`.

`spread` is called in every process, once torch.distributed is up, with the same weights on the process's own device
and before there are optimizers; `turns` is how many the family moves in. It may share out the parameters in place, as
DTensors, or each to one process and with no rows to the others, and says to the loop what is different
(nightforge/ranks.py): who has which micro-batches or layers, how a loss is computed, when gradients are averaged, and
how the network is called outside of the losses. After a step the weights are those that one process would have, but for
rounding. The config holds `processes` and `restarts` (`_group.Config`).
"""
