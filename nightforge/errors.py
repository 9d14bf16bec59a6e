"""Every error that a person can meet, each with the exit code of the process it ends.

NightforgeError            70  something we did not foresee, still with a message
├─ ConfigError             64  params.yaml, dvc.yaml or the command line asks for what cannot be
│  ├─ UnknownMethod            a method is named that has no file
│  └─ WiringError              a stage's signature, code or params disagree with dvc.yaml
├─ DataError               65  the input is not what it should be
│  ├─ SourceMoved              the source is no longer what data/source.json recorded
│  └─ RowsLost                 rows kept + rows rejected ≠ rows read
├─ GateClosed              66  an artifact failed its expectations; never retried
├─ AssetMissing            69  a file, package or device that the work needs is not there
├─ ContractNotMet           3  the compressed model broke the contract; never retried
├─ Busy                    73  another driver holds this checkout
└─ Transient               75  may pass on its own: retried as `meta.retries` in dvc.yaml says

A message says what was expected, what came, and the way out.
"""

from difflib import get_close_matches


class NightforgeError(Exception):
    """The root; catch this to catch all that Nightforge raises on purpose."""

    exit_code = 70


class ConfigError(NightforgeError):
    """params.yaml, dvc.yaml or the command line asks for what cannot be."""

    exit_code = 64


class UnknownMethod(ConfigError):
    """A method is named that has no file."""

    def __init__(self, stage: str, name: str, have: list[str]) -> None:
        near = get_close_matches(name, have, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(
            f"{stage}: no method {name!r}.{hint} There are: {', '.join(have) or 'none'}. "
            f"To add it, write nightforge/{stage}/{name}.py."
        )


class WiringError(ConfigError):
    """A stage's signature, code or params disagree with dvc.yaml."""


class DataError(NightforgeError):
    """The input is not what it should be."""

    exit_code = 65


class SourceMoved(DataError):
    """The source is no longer what data/source.json recorded."""


class RowsLost(DataError):
    """Rows kept + rows rejected ≠ rows read."""


class GateClosed(NightforgeError):
    """An artifact failed its expectations."""

    exit_code = 66


class AssetMissing(NightforgeError):
    """A file, package or device that the work needs is not there."""

    exit_code = 69


class ContractNotMet(NightforgeError):
    """The compressed model broke the contract."""

    exit_code = 3


class Busy(NightforgeError):
    """Another driver holds this checkout."""

    exit_code = 73


class Transient(NightforgeError):
    """May pass on its own: a full disk being emptied, a registry out of reach."""

    exit_code = 75
