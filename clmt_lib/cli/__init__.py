"""The `clmt` command. Everything heavy is imported inside the commands, so that `clmt --help`
answers at once.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from clmt_lib import __version__
from clmt_lib.cli.audit import audit
from clmt_lib.cli.common import SETTINGS, loudness
from clmt_lib.cli.data import data
from clmt_lib.cli.predict import fit, predict
from clmt_lib.cli.records import collect, plan, study, transfer
from clmt_lib.cli.report import report
from clmt_lib.cli.run import run
from clmt_lib.cli.score import score, split
from clmt_lib.cli.screen import compare, new


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, prog_name="clmt")
@loudness
def clmt() -> None:
    """Multimodal contrastive learning for drug response: data, runs, audits and reports."""


for command in (
    data,
    new,
    compare,
    split,
    run,
    collect,
    score,
    study,
    plan,
    report,
    transfer,
    audit,
    fit,
    predict,
):
    clmt.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `clmt` command; returns the exit code: 0 done, 1 something failed or is not clean,
    2 bad input, 130 interrupted, 143 told to end. `argv` None takes the command line.
    """
    with _ending():
        return _main(argv)


class Ended(KeyboardInterrupt):
    """The process was told to end (SIGTERM): what is unfinished is cleared up, as after Ctrl-C."""


@contextmanager
def _ending() -> Iterator[None]:
    """While a command runs, SIGTERM raises `Ended`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Ended

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if before is not None:  # None: set by something that is not Python
            signal.signal(signal.SIGTERM, before)


def _main(argv: Sequence[str] | None) -> int:
    context = None
    try:
        context = clmt.make_context("clmt", list(sys.argv[1:] if argv is None else argv))
        with context:
            code = clmt.invoke(context) or 0
            sys.stdout.flush()
            return code
    except click.exceptions.Exit as done:  # --help, --version
        return done.exit_code
    except KeyboardInterrupt as error:
        ended = isinstance(error, Ended)
        said = "told to end" if ended else "interrupted"
        print(f"clmt: {said}; run the same command again to go on", file=sys.stderr)
        return 143 if ended else 130
    except BrokenPipeError:  # the reader of our output (head, less) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (click.ClickException, OSError, ValueError, MemoryError) as error:
        message = _message(error)
        if message is None:
            raise
        usage = isinstance(error, click.ClickException)
        if context is not None and context.meta.get("loudness") == "verbose" and not usage:
            traceback.print_exc()
        print(f"clmt: {message}", file=sys.stderr)
        return 2


def _message(error: Exception) -> str | None:
    """One line about bad input, with its remedy; None for an error that is a fault of ours."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return f"which command?\n{error.format_message()}"
    if isinstance(error, click.ClickException):
        said = " ".join(error.format_message().splitlines()).rstrip(".")
        context = getattr(error, "ctx", None)
        return f"{said}. Remedy: see `{context.command_path if context else 'clmt'} --help`"
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}). Remedy: smaller settings, or a larger machine"
    if isinstance(error, ValueError) and "null byte" in str(error):
        return "a name holds a NUL character. Remedy: write it anew"
    if isinstance(error, PermissionError):
        return (
            f"{error.filename}: no permission to write or read here. Remedy: give yourself "
            "permission, or name another folder"
        )
    if isinstance(error, OSError):
        return (
            f"{error.filename or 'input or output'}: {error.strerror or error}. Remedy: check "
            "that this file or folder can be made and that the disk has room"
        )
    from clmt_lib.io import DataError

    return str(error) if isinstance(error, DataError) else None
