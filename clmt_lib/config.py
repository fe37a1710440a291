"""What a file may say: runs, grids, studies, transfers and claims, each checked before anything
runs.

Every key is known or refused, every number is finite, and what is wrong gets one `DataError` that
names the file, the row or key, and what would be allowed (chapter 14 shows the files).
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from clmt_lib.io import DataError


def _finite(value: Any) -> Any:
    """`value`, unless a number in it, however deep, is not finite or is no plain value."""
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the name {key!r} is not a text")
            _finite(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _finite(part)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    elif not isinstance(value, (str, int, float, bool, type(None))):
        raise ValueError(f"{type(value).__name__} is no plain value: use numbers, texts, lists")
    return value


SPLIT_ALIASES = {  # DrEval's names of splits: leave pairs, cell lines, drugs or tissues out
    "LPO": "mixed",
    "LCO": "cell_blind",
    "LDO": "drug_blind",
    "LTO": "tissue_blind",
}


def _own_name(kind: str) -> str:
    """The library's own name of a kind of split: what is hashed and stored."""
    return SPLIT_ALIASES.get(kind, kind)


def _no_path(name: str) -> str:
    """`name`, if it may become part of a file's name."""
    if not re.fullmatch(r"\w[\w.:+-]*", name) or ".." in name or len(name) > 100:
        raise ValueError(f"{name[:100]!r} is no name: use letters, digits, _ and -")
    return name


DatasetName = Annotated[str, AfterValidator(_no_path)]
SplitKind = Annotated[str, AfterValidator(_no_path), AfterValidator(_own_name)]
Settings = Annotated[dict[str, Any], AfterValidator(_finite)]
Numbers = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]  # seeds, folds
Names = Annotated[list[str], Field(min_length=1)]


class Checked(BaseModel):
    """What every piece of a file has in common: no unknown key, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class RunConfig(Checked):
    """Everything that decides a run's numbers, besides the data and the code.

    Attributes
    ----------
    dataset, options : benchmark name and its reader's options
    split, seed, fold : which split (see `data.make_split`)
    model, settings : name of the model, and what overrides its settings
    """

    dataset: DatasetName
    split: SplitKind
    model: str
    seed: int = 0
    fold: int = 0
    settings: Settings = Field(default_factory=dict)
    options: Settings = Field(default_factory=dict)

    def __init__(
        self,
        dataset: str,
        split: str,
        model: str,
        seed: int = 0,
        fold: int = 0,
        settings: dict | None = None,
        options: dict | None = None,
    ) -> None:
        try:
            super().__init__(
                **{"dataset": dataset, "split": split, "model": model, "seed": seed, "fold": fold},
                **{"settings": plain(settings or {}), "options": plain(options or {})},
            )
        except ValidationError as error:
            raise _explained(error, RunConfig, "a run", None, "") from None

    def changed(self, **changes: Any) -> Self:
        """The same configuration but for `changes`, checked again."""
        return type(self)(**{**self.model_dump(), **changes})

    @property
    def label(self) -> str:
        """The benchmark's name as tables know it: with its options, if it has any.

        >>> RunConfig("ccle", "mixed", "als", options={"target": "act_area"}).label
        'ccle-act_area'
        """
        return "-".join([self.dataset, *(str(self.options[key]) for key in sorted(self.options))])


class GridRow(Checked):
    """One row of a grid: every seed with every fold and every model."""

    dataset: DatasetName
    split: SplitKind
    seeds: Numbers
    folds: Numbers
    models: Names
    settings: Settings = Field(default_factory=dict)
    options: Settings = Field(default_factory=dict)
    last: bool = False


class Grid(Checked):
    """A grid file: rows of runs. `anchors` holds lists that rows refer to (YAML's & and *)."""

    runs: list[GridRow]
    anchors: dict[str, list[str]] = Field(default_factory=dict)


class StudyModel(Checked):
    """A model of a study, and what overrides its settings."""

    model: str
    settings: Settings = Field(default_factory=dict)


class StudyRow(Checked):
    """One row of a study: a benchmark and split, with the variants run on it."""

    dataset: DatasetName
    split: SplitKind
    seeds: Numbers
    folds: Numbers
    variants: Names
    settings: Settings = Field(default_factory=dict)
    options: Settings = Field(default_factory=dict)
    name: str = ""


class Study(Checked):
    """A study file: one question, a base, and variants that differ from it in one thing."""

    question: str
    base: StudyModel
    variants: dict[str, Settings]
    runs: list[StudyRow]


class Target(Checked):
    """A screen that a transfer asks about; `folds` leaves some of the parts out."""

    dataset: DatasetName
    options: Settings = Field(default_factory=dict)
    folds: Numbers | None = None


class TransferModel(Checked):
    """Settings of one model of a transfer: for all its fits, and for each kind of newness."""

    settings: Settings = Field(default_factory=dict)
    folds: Numbers | None = None
    mixed: Settings = Field(default_factory=dict)
    cell_blind: Settings = Field(default_factory=dict)
    drug_blind: Settings = Field(default_factory=dict)


class Transfer(Checked):
    """A transfer file: fitted on the `source`, asked about the `targets`, cut in `folds` parts."""

    question: str
    source: str
    targets: Annotated[list[Target], Field(min_length=1)]
    folds: Annotated[int, Field(ge=2)]
    models: dict[str, TransferModel | None]


class At(Checked):
    """Where a test of a claim looks."""

    dataset: DatasetName
    split: SplitKind
    metric: str


def _pair(text: str) -> str:
    if len(text.split(" - ")) != 2:
        raise ValueError(f'cannot read {text!r}: write compare: "a - b"')
    return text


def _place(text: str) -> str:
    if text.count("::") != 1:
        raise ValueError(f"cannot read {text!r}: write fact: file::test")
    return text


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is not a number")
    return _finite(value)


AnyNumber = Annotated[Any, AfterValidator(_number)]


class Compare(At):
    """The paired difference of two models."""

    compare: Annotated[str, AfterValidator(_pair)]
    expect: Literal["better", "not better"]
    other: str | None = None
    grid: str | None = None


class Reach(At):
    """A question: does our model reach a published value."""

    reach: str
    value: AnyNumber
    other: str | None = None


class ClearOf(At):
    """A question: are published values clear of what our model reaches."""

    clear_of: str
    values: dict[str, AnyNumber]
    other: str | None = None


class Easier(Checked):
    """A question: is each split easier than the next, intervals apart."""

    easier: str
    dataset: DatasetName
    metric: str
    splits: list[SplitKind]


class StudyClaim(Checked):
    """What variants of a study are expected to do."""

    study: str
    dataset: DatasetName
    split: SplitKind
    variants: Names
    expect: Literal["worse", "better", "different"]
    name: str | None = None
    sound: str | None = None


class ModalityClaim(Checked):
    """What a modality is expected to do, added to a ridge on sequence and structure."""

    modality: str
    split: Literal["compound_blind", "protein_blind", "both_blind"]
    expect: Literal["worse", "better"]


class WorldClaim(Checked):
    """What a part of ACMO is expected to do in the invented worlds of the UMME chapter, where all
    modalities are there at test or, `withheld`, half of them.
    """

    world: str
    against: str
    expect: Literal["worse", "better"]
    withheld: bool = False


class Fact(Checked):
    """What a test of ours shows of the claim."""

    fact: Annotated[str, AfterValidator(_place)]
    holds: bool


class Untestable(Checked):
    """Why a claim cannot be tested."""

    untestable: str


CLAIM_TESTS: dict[str, type[Checked]] = {
    "compare": Compare,
    "reach": Reach,
    "clear_of": ClearOf,
    "easier": Easier,
    "study": StudyClaim,
    "modality": ModalityClaim,
    "world": WorldClaim,
    "fact": Fact,
    "untestable": Untestable,
}


class Claim(Checked):
    """One claim: a short title, the claim in our words, whose it is (a key of the ledger's
    `sources`), where it is stated, and its tests (dictionaries with one of the keys of
    `CLAIM_TESTS`).
    """

    id: str
    title: str
    claim: str
    by: str
    where: Literal["abstract", "paper", "code", "log", "here"]
    tests: list[Any]


class Ledger(Checked):
    """A ledger file; each claim is checked by `read_claim`."""

    sources: dict[str, str]
    claims: list[Any]


def read_claim(body: Any, file: str | Path | None = None, remedy: str = "") -> Claim:
    """A claim and its tests, checked. Raises DataError where a key is missing or unknown."""
    what = f"claim {body.get('id')!r}" if isinstance(body, dict) else "a claim"
    claim = check(Claim, body, what, file, remedy)
    if not claim.tests:
        raise DataError(
            f"{what} has no test", file=file, remedy="say how to test it, or `untestable: reason`"
        )
    for test in claim.tests:
        kinds = [kind for kind in CLAIM_TESTS if isinstance(test, dict) and kind in test]
        if len(kinds) != 1:
            raise DataError(
                f"{what}: a test of no known kind",
                file=file,
                remedy=f"it has one of the keys {', '.join(CLAIM_TESTS)}",
            )
        check(CLAIM_TESTS[kinds[0]], test, f"{what}, test {kinds[0]!r}", file, remedy)
    return claim


Kind = TypeVar("Kind", bound=Checked)


def check(
    kind: type[Kind], body: Any, what: str, file: str | Path | None = None, remedy: str = ""
) -> Kind:
    """`body` as a `kind` of this module.

    Parameters
    ----------
    what : name of the whole in messages, such as "the study"
    file : where it was read from
    remedy : where to read more

    Raises
    ------
    DataError
        What is wrong first, in which row or under which key, and what would be allowed.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise _explained(error, kind, what, file, remedy) from None
    except TypeError:  # of a kind whose own `__init__` names its fields
        fields = kind.model_fields
        unknown = [str(key) for key in body if key not in fields]
        lost = [key for key, field in fields.items() if field.is_required() and key not in body]
        wrong = f"has an unknown key {unknown[0]!r}" if unknown else f"lacks {', '.join(lost)}"
        raise DataError(
            f"{what} {wrong}", file=file, remedy=f"use the keys {', '.join(fields)}; {remedy}"
        ) from None


def load(kind: type[Kind], path: str | Path, what: str, remedy: str = "") -> Kind:
    """A YAML file as a `kind` of this module. Raises DataError as `check`, or where it is no
    YAML.
    """
    return check(kind, read_yaml(path, what, remedy), f"the {what}", path, remedy)


def read_yaml(path: str | Path, what: str, remedy: str = "") -> Any:
    """The content of a YAML file. Raises DataError where there is none, or it cannot be read."""
    import yaml

    try:
        body = yaml.load(Path(path).read_text(encoding="utf-8"), _loader())
        _count(body)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(
            f"not a {what} ({' '.join(str(error).split())})", file=path, remedy=remedy
        ) from None
    except OverflowError:
        raise DataError(
            f"not a {what} (more than {LARGEST_FILE} values, aliases written out)",
            file=path,
            remedy=remedy,
        ) from None
    return body


def _loader() -> Any:
    """PyYAML's safe loader, which refuses a key that stands twice (its own takes the last)."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            written = [key.value for key, _ in node.value if isinstance(key.value, str)]
            twice = {key for key in written if written.count(key) > 1} - {"<<"}
            if twice:
                raise yaml.YAMLError(f"key {min(twice)!r} stands twice{node.start_mark}")
            return super().construct_mapping(node, deep)

    return Loader


LARGEST_FILE = 200_000  # values of a configuration, aliases written out


def _count(body: Any, seen: int = 0) -> int:
    """Values in a nested structure; raises OverflowError beyond `LARGEST_FILE`."""
    seen += 1
    if seen > LARGEST_FILE:
        raise OverflowError
    parts = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    for part in parts:
        seen = _count(part, seen)
    return seen


def _explained(
    error: ValidationError, kind: type[Checked], what: str, file: str | Path | None, remedy: str
) -> DataError:
    """The first thing that is wrong, in one line."""
    found = error.errors(include_url=False)
    first = found[0]
    at = [part for part in first["loc"] if not str(part).startswith("function-")]
    wrong, allowed = first["type"], ""
    if wrong in ("extra_forbidden", "missing"):
        where, key = _where(at[:-1], what), at[-1]
        said = f"has an unknown key {key!r}" if wrong == "extra_forbidden" else f"lacks {key!r}"
        allowed = f"use the keys {', '.join(_fields(kind, at[:-1]))}"
        text = f"{where} {said}"
    else:
        text = f"{_where(at, what)}: {_said(first)}"
        if wrong == "literal_error":
            text = f"{_where(at, what)}: {_shown(first['input'])}"
            allowed = f"use one of: {first['ctx']['expected']}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return DataError(
        text + more, file=file, remedy="; ".join(filter(None, [allowed, remedy])) or None
    )


def _shown(value: Any) -> str:
    """A wrong value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _said(first: Mapping[str, Any]) -> str:
    """What pydantic found, in our words where its own say "value error" or name a class."""
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"{_shown(first['input'])} is not a set of keys"
    return f"{first['msg'][0].lower()}{first['msg'][1:]}, not {_shown(first['input'])}"


def _where(at: list, what: str) -> str:
    """The place of an error in words: `["runs", 2]` is "the grid, row 3 of runs"."""
    words = [what]
    for part in at:
        if isinstance(part, int):
            kind = "row" if len(words) == 2 else "entry"
            words[-1] = f"{kind} {part + 1} of {words[-1]}"
        else:
            words.append(str(part))
    return ", ".join(words)


def _fields(kind: type[Checked], at: list) -> list[str]:
    """Names of the fields that are allowed at a place below `kind`."""
    here: Any = kind
    for part in at:
        inner = _inner(here, part)
        here = inner if inner is not None else here
    return list(here.model_fields)


def _inner(here: Any, part: Any) -> Any:
    """The class of the entry `part` of a field, however it is wrapped; None where it has none."""
    if not (isinstance(here, type) and issubclass(here, BaseModel)) or isinstance(part, int):
        return None
    field = here.model_fields.get(part)
    waiting = [field.annotation] if field else []
    while waiting:
        found = waiting.pop()
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
        waiting += get_args(found)
    return None


def plain(value: Any) -> Any:
    """`value` as JSON holds it: tuples are lists, numbers of numpy are Python's, keys are texts.

    >>> plain({"ranks": (5, 10), "ridge": 1e-7})
    {'ranks': [5, 10], 'ridge': 1e-07}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value.item() if hasattr(value, "item") and not getattr(value, "shape", ()) else value
