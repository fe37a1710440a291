"""What several commands share: options, the loudness of what is said, `name=value` settings."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
Command = TypeVar("Command", bound=Callable[..., Any])

device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Where models train.",
)
records = click.option("--records", metavar="DIR", help="Where records live.")
dataset = click.option("--dataset", default="simulated", show_default=True, help="The benchmark.")
kind = click.option(
    "--split", "kind", default="mixed", show_default=True, help="What the test set hides."
)
seed = click.option("--seed", type=int, default=0, help="Another seed is another partition.")
fold = click.option("--fold", type=int, default=0, help="Which part of it is the test set.")
jobs = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Processes that divide the runs (each gets its share of the cores).",
)


class Place(click.ParamType):
    """A file or folder; `~` is the home folder, also where the shell has not replaced it."""

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path written out."""
        if not value.startswith("~"):
            return value
        from clmt_lib.io import expanded

        return str(expanded(value))


PLACE = Place()


def loudness(command: Command) -> Command:
    """Give a command `-v` and `-q`: full tracebacks of bad input; results and errors alone."""

    def set_to(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if not value:
            return
        if context.meta.setdefault("loudness", parameter.name) != parameter.name:
            raise click.UsageError("-v and -q exclude each other", context)

    for short, name, text in (
        ("-q", "quiet", "Print results and errors alone."),
        ("-v", "verbose", "Print where an error arose, too."),
    ):
        command = click.option(
            short, f"--{name}", is_flag=True, expose_value=False, callback=set_to, help=text
        )(command)
    return command


def command(name: str) -> Callable[[Command], click.Command]:
    """A command of that name, with `-h`, `-v` and `-q`."""
    return lambda function: click.command(name, context_settings=SETTINGS)(loudness(function))


def quiet() -> bool:
    """Whether the reader asked for results and errors alone."""
    return click.get_current_context().meta.get("loudness") == "quiet"


def say(line: str) -> None:
    """Tell how it goes, or what comes next; nothing under `-q`."""
    if not quiet():
        click.echo(line)


def given() -> dict[str, str]:
    """The options of the command line (not their defaults): name of the value -> how it is
    written.
    """
    context = click.get_current_context()
    source = click.core.ParameterSource.COMMANDLINE
    return {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.expose_value and context.get_parameter_source(parameter.name) == source
    }


def one_of(*names: str) -> None:
    """Refuse more than one of these options."""
    there = [written for name, written in given().items() if name in names]
    if len(there) > 1:
        raise click.UsageError(f"{' and '.join(there)} exclude each other")


def only_with(mode: str, allowed: Iterable[str]) -> None:
    """Refuse options that mean nothing beside `mode` (how it is written)."""
    lost = [written for name, written in given().items() if name not in allowed]
    if lost:
        raise click.UsageError(f"{' and '.join(lost)} cannot be used with {mode}")


def parse_json(where: str, text: str) -> dict[str, Any]:
    """A JSON object from the command line.

    Raises
    ------
    DataError
        Not JSON, or not an object.
    """
    from clmt_lib.io import DataError

    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"not JSON ({error})", file=where, remedy='write it as {"name": value}'
        ) from None


def parse_settings(pairs: Iterable[str], where: str = "--set") -> dict[str, Any]:
    """Settings written as `name=value`: a value is JSON, or a plain word.

    >>> parse_settings(["rank=30", "ridges=[1, 0.5]", "kernel=rbf", "pooled=true"])
    {'rank': 30, 'ridges': [1, 0.5], 'kernel': 'rbf', 'pooled': True}

    Raises
    ------
    DataError
        No `=`, no name, a name said twice, or a value that is neither.
    """
    from clmt_lib.io import DataError

    out: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise DataError(f"{pair!r} is not name=value", file=where, remedy="such as rank=30")
        if name in out:
            raise DataError(f"{name!r} is set twice", file=where, remedy="say it once")
        try:
            out[name] = json.loads(text)
        except (ValueError, RecursionError):
            if text in ("True", "False", "None") or not re.fullmatch(r"[A-Za-z][\w.:/-]*", text):
                raise DataError(
                    f"the value of {name!r} is neither JSON nor a word: {text!r}",
                    file=where,
                    remedy="write true, null, 30, [1, 2], a word, or '\"some text\"'",
                ) from None
            out[name] = text
    return out
