"""Progress of a long stage: a line that a person can read and that the flow turns into a Prefect progress artifact."""

PREFIX = "[progress]"


def report(done: int, total: int, what: str) -> None:
    """Say how far the stage is, such as `report(120, 600, "step, loss 3.21")`."""
    print(f"{PREFIX} {done}/{total} {what}", flush=True)
