"""A suite of expectations: read from YAML, held against the tables by Great Expectations. The one file that imports it.

Great Expectations alone would let some faults pass, which count as failures here: a suite without expectations, an
expectation that raised, and one that met missing values or no value at all (it skips those and calls the rest good).
"""

import logging
import re
import shutil
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.execution_engine import pandas_execution_engine
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.registry import list_registered_expectation_implementations

from nightforge.errors import ConfigError
from tasks.gate_table import Tables
from tasks.wiring import read_yaml

if TYPE_CHECKING:
    import polars as pl

VERSION: str = gx.__version__
IDS_SHOWN = 5
NAMES_SHOWN = 20
CRASHES = {"expect_column_quantile_values_to_be_between"}
"""Ends in a TypeError of Great Expectations 1.24; `mostly` on the values says the same."""
NULL_IS_MEANT = {"expect_column_values_to_be_null", "expect_column_values_to_not_be_null"}
pandas_execution_engine.hash_pandas_dataframe = lambda _: ""
"""A fingerprint of the whole table that nobody asks for took 240 bytes a row, where all the rest takes 40."""
REMOTE = re.compile(
    r"<script\b[^>]*\bsrc=.*?</script>|<(?:link|img|source)\b[^>]*(?:https?:)?//[^>]*>|url\(['\"]?https?:[^)]*\)", re.S
)
STYLE = "<style>body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em}td,th{padding:.3em .8em}</style>"


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of a suite: what must hold, of which table, and why."""

    of: str
    """`rows` or `facts`."""
    expect: str
    why: str
    limits: dict[str, Any]
    """The arguments of the expectation: column, bounds, mostly."""
    rule: Any
    """The same as an object of Great Expectations."""

    @property
    def column(self) -> str | None:
        """The column it looks at; None for one about the whole table."""
        return self.limits.get("column")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one expectation."""

    expectation: Expectation
    met: bool
    observed: dict[str, Any]
    """`value`, or how many of how many rows were unexpected; `error` where it could not be evaluated."""
    ids: list[str]
    """The first rows that broke it."""


def load(path: Path) -> list[Expectation]:
    """The expectations of a suite file, in its order, rows before facts.

    Raises:
        ConfigError: there are none, one is unknown or lacks its `why`, or an argument does not fit.
    """
    suite = read_yaml(path)
    if unknown := set(suite) - {"rows", "facts"}:
        raise ConfigError(f"{path}: expected the lists rows and facts, got also {', '.join(sorted(unknown))}.")
    found = [
        _expectation(f"{path}: {of}[{i}]", of, entry)
        for of in ("rows", "facts")
        for i, entry in enumerate(suite.get(of) or [])
    ]
    if not found:
        raise ConfigError(f"{path}: the suite has no expectation, and would pass anything. Add one; see docs/gates.md.")
    return found


def _expectation(where: str, of: str, entry: Any) -> Expectation:
    if not isinstance(entry, dict) or not isinstance(entry.get("expect"), str):
        raise ConfigError(f"{where}: expected {{expect: …, column: …, why: …}}, got {entry!r}.")
    name = entry["expect"]
    have = sorted(set(list_registered_expectation_implementations()) - CRASHES)
    if name not in have:
        near = get_close_matches(name, have, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(have)}."
        raise ConfigError(f"{where}: no expectation {name!r}.{hint}")
    if not isinstance(why := entry.get("why"), str) or not why.strip():
        raise ConfigError(f"{where}: {name}: expected a why: a sentence for whoever finds the gate closed.")
    limits = {k: v for k, v in entry.items() if k not in {"expect", "why"}}
    if not 0 < limits.get("mostly", 1) <= 1:
        raise ConfigError(f"{where}: {name}: mostly must be above 0 and at most 1, got {limits['mostly']!r}.")
    try:
        rule = ExpectationConfiguration(type=name, kwargs=limits, description=why).to_domain_obj()
    except ValueError as e:  # pydantic's, of either version
        raise ConfigError(f"{where}: {name}: {' '.join(str(e).split())}") from None
    return Expectation(of, name, why, limits, rule)


def hold(expectations: list[Expectation], tables: Tables, name: str, docs: Path) -> list[Result]:
    """Hold the tables against the expectations; results in the order of the suite, Data Docs in the folder `docs`."""
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    shutil.rmtree(docs, ignore_errors=True)
    _site(context, docs)
    pandas = context.data_sources.add_pandas(name)
    found: dict[int, Result] = {}
    for of, table in _tables(tables).items():
        mine = [i for i, e in enumerate(expectations) if e.of == of]
        if not mine:
            continue
        frame = _frame(table, {str(value) for i in mine for value in _named(expectations[i].limits)})
        suite = context.suites.add(gx.ExpectationSuite(name=f"{name}-{of}"))
        for i in mine:
            rule = expectations[i].rule
            rule.meta = {"position": i}
            suite.add_expectation(rule)
        data = pandas.add_dataframe_asset(of).add_batch_definition_whole_dataframe(of)
        checked = context.validation_definitions.add(
            gx.ValidationDefinition(name=f"{name}-{of}", data=data, suite=suite)
        ).run(
            batch_parameters={"dataframe": frame},
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": ["id"],
                "exclude_unexpected_values": True,
                "partial_unexpected_count": IDS_SHOWN,
            },
        )
        for r in checked.results:
            i = r.expectation_config.meta["position"]
            found[i] = _result(expectations[i], r, table)
    context.build_data_docs(site_names=["local_site"])
    _offline(docs)
    return [found[i] if i in found else _nothing(e) for i, e in enumerate(expectations)]


def _tables(tables: Tables) -> dict[str, "pl.DataFrame"]:
    import polars as pl

    facts = pl.DataFrame([{"id": "all", **tables.facts}])
    return {"facts": facts} | ({} if tables.rows is None else {"rows": tables.rows})


def _named(limits: dict[str, Any]) -> list[Any]:
    """The columns that an expectation looks at: `column`, `column_A`, `column_list`, …"""
    return [
        v for key, value in limits.items() if "column" in key for v in (value if isinstance(value, list) else [value])
    ]


def _frame(table: "pl.DataFrame", columns: set[str]) -> pd.DataFrame:
    """What Great Expectations takes, of the id and the columns that are looked at alone."""
    return table.select(name for name in table.columns if name in {"id", *columns}).to_pandas()


def _result(expectation: Expectation, got: Any, table: "pl.DataFrame") -> Result:
    raised = [i["exception_message"] for i in _exceptions(got.exception_info) if i.get("raised_exception")]
    if raised:
        have = f" There are: {', '.join(table.columns)}." if "does not exist" in raised[0] else ""
        return Result(expectation, False, {"error": str(raised[0]) + have}, [])
    result = got.result
    if "unexpected_count" not in result or "element_count" not in result:
        return Result(expectation, bool(got.success), _whole(expectation, result, table), [])
    count, total = result["unexpected_count"], result["element_count"]
    missing = result.get("missing_count", 0)  # what is about nulls counts them as unexpected or as what it wants
    observed = {"unexpected": int(count), "of": int(total), "missing": int(missing)}
    if expectation.of == "facts":
        observed = {"value": _plain(table[str(expectation.column)][0])}
    vacuous = total == 0 or (missing > 0 and expectation.expect not in NULL_IS_MEANT)
    return Result(expectation, bool(got.success) and not vacuous, observed, _ids(result))


def _whole(expectation: Expectation, result: dict[str, Any], table: "pl.DataFrame") -> dict[str, Any]:
    """What was seen of a whole column; of sets of names those too many and those that lack.

    Worked out here: Great Expectations tells 20 at most, and which of those that lack differs from run to run.
    """
    asked = [what for what in ("unexpected", "missing") if f"partial_{what}_list" in result]
    if not asked:
        return {"value": _plain(result.get("observed_value"))}
    have, wanted = set(table[str(expectation.column)].unique().to_list()), set(expectation.limits["value_set"])
    names = {"unexpected": have - wanted, "missing": wanted - have}
    return {what: _first(sorted(map(str, names[what]))) for what in asked}


def _first(names: list[str]) -> list[str]:
    more = len(names) - NAMES_SHOWN
    return [*names[:NAMES_SHOWN], f"… and {more} more"] if more > 0 else names


def _nothing(expectation: Expectation) -> Result:
    return Result(expectation, False, {"error": "the artifact has no rows to look at; metrics have facts only"}, [])


def _exceptions(info: dict[str, Any]) -> list[dict[str, Any]]:
    """One mapping, or one for each metric that raised."""
    return [info] if "raised_exception" in info else list(info.values())


def _ids(result: dict[str, Any]) -> list[str]:
    """The first ids: a mapping for each row, or for uniqueness one mapping for each repeated value."""
    ids: list[str] = []
    for entry in result.get("unexpected_index_list") or []:
        found = entry["id"]
        ids += found if isinstance(found, list) else [found]
        if len(ids) >= IDS_SHOWN:
            break
    return [str(i) for i in ids[:IDS_SHOWN]]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _site(context: Any, docs: Path) -> None:
    """Point the site that an ephemeral context makes at `docs`, and take its temporary folder away."""
    site = context.list_data_docs_sites()["local_site"]
    shutil.rmtree(site["store_backend"]["base_directory"], ignore_errors=True)
    site["store_backend"]["base_directory"] = str(docs.resolve())
    context.update_data_docs_site("local_site", {**site, "show_how_to_buttons": False})


def _offline(docs: Path) -> None:
    """Cut what the pages would fetch from the network (frameworks, fonts, a logo), and 4 MB of fonts and pictures."""
    shutil.rmtree(docs / "static", ignore_errors=True)
    for page in docs.rglob("*.html"):
        page.write_text(REMOTE.sub("", page.read_text(encoding="utf-8")).replace("</head>", f"{STYLE}</head>", 1))
