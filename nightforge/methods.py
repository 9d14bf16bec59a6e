"""A method is a module `nightforge/<stage>/<name>.py` with a `Config` and one function; the folder is the registry."""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from nightforge.config import Config
from nightforge.errors import ConfigError, UnknownMethod


@dataclass(frozen=True, slots=True)
class Method:
    """A method as chosen in params.yaml: its module, loaded, and its config, checked."""

    stage: str
    name: str
    module: ModuleType
    cfg: Config


def names(stage: str) -> list[str]:
    """Every method of a stage, found without importing any of them; `_x.py` is shared maths, not a method."""
    folder = import_module(f"nightforge.{stage}").__path__
    return sorted(m.name for m in iter_modules(folder) if not m.name.startswith("_"))


def load(stage: str, name: str) -> ModuleType:
    """Import one method; its heavy libraries load only now.

    Raises:
        UnknownMethod: no file of that name; the message lists the names there are.
    """
    if name not in (have := names(stage)):
        raise UnknownMethod(stage, name, have)
    return import_module(f"nightforge.{stage}.{name}")


def choose(stage: str, spec: Any) -> Method:
    """Turn `{"name": ..., **values}` from params.yaml into a loaded, checked method.

    Raises:
        UnknownMethod: no file of that name.
        ConfigError: the values do not fit the method's `Config`.
    """
    if isinstance(spec, Method):
        return spec
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        raise ConfigError(f"{stage}: expected a method as {{name: ..., <its values>}}, got {spec!r}")
    module = load(stage, spec["name"])
    try:
        cfg = module.Config(**{k: v for k, v in spec.items() if k != "name"})
    except ValidationError as e:
        raise ConfigError(f"{stage}: {spec['name']}: {explain(e)}") from None
    return Method(stage, spec["name"], module, cfg)


def explain(error: ValidationError) -> str:
    """A validation error as one line a field: where, what was wrong, what came (but for a section as a whole)."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg'].removeprefix('Value error, ')}"
        + ("" if isinstance(e.get("input"), dict) else f" (got {e.get('input')!r})")
        for e in error.errors()
    )


def _dump(method: Method) -> dict[str, Any]:
    return {"name": method.name, **method.cfg.model_dump(mode="json")}


class Chosen:
    """`Annotated[Method, Chosen("clean")]` is the type of a config's field that holds one method of that stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """What pydantic asks of a type's annotation."""
        return core_schema.no_info_plain_validator_function(
            lambda spec: choose(self.stage, spec),
            serialization=core_schema.plain_serializer_function_ser_schema(_dump),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """For forms: an object; its fields are the chosen method's own."""
        return {"type": "object", "title": f"a method of nightforge/{self.stage}/"}
