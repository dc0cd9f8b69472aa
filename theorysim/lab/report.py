"""The report: one static page with every paper's verdicts, figures and settings, complete in itself.

It is built from the gallery, `DIR/figures/<slug>/`, alone, so that it can be built again from committed files
on another machine. Styles, script and pictures are embedded: the page opens from a file, without a server and
without a single request.

Example:
    >>> build_report(Path("nowhere"))
    Traceback (most recent call last):
    UsageError: --out must be a folder with figures/SLUG/claims.json from a run, got nowhere
"""

import base64
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from theorysim import __version__
from theorysim.lab import formulas, outputs
from theorysim.lab.errors import UsageError
from theorysim.lab.formatting import duration, measured, number
from theorysim.lab.records import ClaimRecord, read_gallery

__all__ = ["Card", "Picture", "build_report", "read_cards"]

_STATUSES = ("confirmed", "refuted", "undecided")
# A vector picture stays sharp when enlarged, but one of many thousand points outweighs its bitmap.
_LARGEST_SVG = 400_000


class Picture(NamedTuple):
    """One figure, ready to be embedded."""

    name: str
    """Stem of its files."""
    caption: str
    """Its caption."""
    source: str
    """A data: address; empty if the figure could not be drawn."""
    width: int
    """Pixels at normal density."""
    height: int
    """Pixels at normal density."""
    error: str
    """Why it could not be drawn."""


class Card(NamedTuple):
    """All that the report shows of one paper."""

    run: dict[str, Any]
    """Its run.json."""
    claims: tuple[ClaimRecord, ...]
    """Its verdicts."""
    pictures: tuple[Picture, ...]
    """Its figures."""
    counts: dict[str, int]
    """Status -> number of claims."""
    command: str
    """What to type to get the same numbers."""


def build_report(out: Path) -> Path:
    """Write `DIR/figures/index.html` from the gallery under `out` and return its path.

    Raises:
        UsageError: there is no gallery, or a file of it cannot be read.

    Example:
        >>> build_report(Path(__file__).parent)
        Traceback (most recent call last):
        UsageError: --out must be a folder with figures/SLUG/claims.json from a run, got ...
    """
    import jinja2

    cards = read_cards(out)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        duration=duration,
        formulas=formulas.in_html,
        formulas_as_text=formulas.in_text,
    )
    environment.globals.update(measured=measured)
    totals = {status: sum(card.counts[status] for card in cards) for status in _STATUSES}
    page = environment.get_template("report.html.j2").render(cards=cards, totals=totals, version=__version__)
    path = out / "figures" / "index.html"
    outputs.write_text(path, page)
    return path


def read_cards(out: Path) -> tuple[Card, ...]:
    """Return one card per sim in the gallery under `out`, sorted by slug.

    Example:
        >>> read_cards(Path("nowhere"))
        Traceback (most recent call last):
        UsageError: --out must be a folder with figures/SLUG/claims.json from a run, got nowhere
    """
    folders = sorted(path.parent for path in (out / "figures").glob("*/claims.json"))
    if not folders:
        raise UsageError(f"--out must be a folder with figures/SLUG/claims.json from a run, got {out}")
    return tuple(_card(folder) for folder in folders)


def _card(folder: Path) -> Card:
    run, claims = read_gallery(folder)
    counts = {status: sum(claim.status == status for claim in claims) for status in _STATUSES}
    pictures = tuple(_picture(folder, item) for item in run["figures"])
    return Card(run, claims, pictures, counts, _command(run))


def _command(run: dict[str, Any]) -> str:
    words = ["theorysim", "run", run["slug"], "--preset", run["preset"]]
    for field in run["config"]:
        value = field["value"]
        if value == field["preset_value"]:
            continue
        flag = field["name"].replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(words)


def _picture(folder: Path, item: dict[str, Any]) -> Picture:
    png, svg = folder / f"{item['name']}.png", folder / f"{item['name']}.svg"
    if not item["drawn"] or not png.is_file():
        return Picture(item["name"], item["caption"], "", 0, 0, item["error"] or "its file is missing")
    content = png.read_bytes()
    # Bytes 16 to 24 of a PNG are its width and height; figures are saved at twice the density of a page.
    width, height = (int.from_bytes(content[start : start + 4], "big") // 2 for start in (16, 20))
    kind = "image/png"
    if svg.is_file() and svg.stat().st_size <= _LARGEST_SVG:
        content, kind = svg.read_bytes(), "image/svg+xml"
    source = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return Picture(item["name"], item["caption"], source, width, height, "")
