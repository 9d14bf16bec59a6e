"""The stages: one thin file each, run by `python -m tasks STAGE` in a project folder."""

import os

# Threads of torch that wait, sleep: spinning ones (OpenMP's default) made a training step eight times slower on a busy
# two-core machine. OpenMP reads this once, when torch is first imported, so it stands before every stage.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# On CPUs torch keeps what oneDNN made for each shape of a bf16 product, 1,024 of each kind, and texts have many shapes:
# with 64 a run of 300 steps held 0.74 GB instead of 1.17, and took no longer.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "64")
