"""The stages: one thin file each, run by `python -m tasks STAGE` in a project folder."""

import os

# Threads of torch that wait, sleep: spinning ones (OpenMP's default) made a training step eight times slower on a busy
# two-core machine. OpenMP reads this once, when torch is first imported, so it stands before every stage.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
