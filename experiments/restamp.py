"""Give the lines of the tables the ids of today's configuration, after a setting was renamed or one
was added whose default is what always happened.

    python experiments/restamp.py                       what would change
    python experiments/restamp.py --rename lines=row_kernel --rename expression=auto@row_kernel
    python experiments/restamp.py --rename ... --write  change it

A line keeps its numbers. It is refused where a setting that it names is gone, or now has another
value: such a run is another one, and has to be made again (raise the model's version).
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from clmt_lib import models
from clmt_lib.io import DataError
from clmt_lib.records import store


def renamed(value: Any, names: dict[str, str], key: str = "") -> Any:
    """`value` with keys renamed, however deep, and values of a key named as `old@key` exchanged."""
    if isinstance(value, dict):
        keys = {old: names.get(old, old) for old in value}
        return {new: renamed(value[old], names, new) for old, new in keys.items()}
    if isinstance(value, list):
        return [renamed(part, names, key) for part in value]
    return names.get(f"{value}@{key}", value) if isinstance(value, str) else value


def lost(before: Any, now: Any, at: str = "settings") -> str:
    """The first place of `before` that `now` lacks or says otherwise; "" where there is none."""
    if isinstance(before, dict) and isinstance(now, dict):
        places = (lost(part, now.get(key), f"{at}.{key}") for key, part in before.items())
        return next(filter(None, places), "")
    return "" if before == now else at


def restamped(line: dict, names: dict[str, str]) -> dict:
    """A line with the configuration as it resolves today.

    Raises
    ------
    DataError
        A setting is gone, or has another value.
    """
    config = line["config"]
    before, overrides = renamed(config["settings"], names), renamed(line["overrides"], names)
    now = models.resolve(config["model"], overrides, config["split"])
    place = lost(before, now)
    if place:
        raise DataError(
            f"{line['id']}: {place} is not what it was",
            remedy="name the setting with --rename, or make the run again",
        )
    config = {**config, "settings": now}
    return {**line, "id": store.run_id(config), "config": config, "overrides": overrides}


def swapped(value: Any, ids: dict[str, str]) -> Any:
    """`value` with ids of runs exchanged, however deep."""
    if isinstance(value, dict):
        return {key: swapped(part, ids) for key, part in value.items()}
    if isinstance(value, list):
        return [swapped(part, ids) for part in value]
    return ids.get(value, value) if isinstance(value, str) else value


def restamp(folder: Path | None, names: dict[str, str], write: bool) -> Counter:
    """Model -> number of lines whose id changes; written if `write`.

    Raises
    ------
    DataError
        As `restamped`; then nothing is written.
    """
    home, tables, ids, changed = store.home(folder), {}, {}, Counter()
    for path in sorted((home / "results").glob("*.jsonl")):
        if path.stem != "machines":
            lines = store.table_of(path.stem, home)
            tables[path.stem] = [restamped(line, names) for line in lines.values()]
            for old, line in zip(lines, tables[path.stem], strict=True):
                ids[old] = line["id"]
                changed[line["config"]["model"]] += old != line["id"]
    if write and +changed:
        _write(home, tables, ids, names)
    return +changed


def _write(home, tables, ids, names):
    for dataset, lines in tables.items():
        histories = store.histories(home / "results", dataset)
        curves = store.read_lines(histories)
        draws = store.kept_draws(home, dataset)
        store.write_lines(home / "results" / f"{dataset}.jsonl", lines)
        if curves:
            moved = [{**body, "id": ids[name]} for name, body in curves.items()]
            store.write_lines(histories, moved)
        if draws:
            store.write_draws(home, dataset, {ids[name]: table for name, table in draws.items()})
    for name in store.derived("*", home):
        record = store.read(name, home)
        parts = {
            part: swapped(getattr(record, part), ids)
            for part in ("config", "metrics", "provenance")
        }
        if name.startswith("study-"):
            parts["config"] = renamed(parts["config"], names)
            for row in parts["metrics"]["rows"]:
                row["settings"] = renamed(row["settings"], names)
        if parts != {part: getattr(record, part) for part in parts}:
            store.write_derived(name, parts, home)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rename", metavar="OLD=NEW[@SETTING]", action="append", default=[])
    parser.add_argument("--records", metavar="DIR", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(argv)
    try:
        names = {}
        for old, new in (pair.split("=") for pair in options.rename):
            new, _, key = new.partition("@")
            names[f"{old}@{key}" if key else old] = new
        changed = restamp(options.records, names, options.write)
    except (DataError, ValueError) as error:
        print(f"restamp: {error}", file=sys.stderr)
        return 2
    print(json.dumps(changed, indent=1))
    print(f"{sum(changed.values())} lines {'have' if options.write else 'would get'} a new id")
    return 0


if __name__ == "__main__":
    sys.exit(main())
