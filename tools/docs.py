"""What the site needs beyond its pages: the API reference, the figures, mathematics without scripts.

- API: one generated page for each module that users import from, so that no list of modules can grow stale.
- Figures: pages in docs/ show `../figures/...`, which a repository viewer resolves; the site gets a copy.
- Mathematics: `$...$` and `$$...$$` become MathML while building, which browsers draw by themselves.

mkdocs.yml names this file under `hooks`; MkDocs calls the functions by their names.
"""

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

__all__ = ["on_config", "on_files", "on_page_content", "on_page_markdown"]

ROOT = Path(__file__).parent.parent
# Packages that are collections: users import their modules one by one.
COLLECTIONS = ("networks", "numerics", "optim")


def on_config(config: MkDocsConfig) -> None:
    """Append the API reference to the navigation."""
    pages = [{module: _page(module)} for module in _modules()]
    config.nav = [*(config.nav or []), {"API reference": pages}]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the API pages and the figures."""
    for module in _modules():
        files.append(File.generated(config, _page(module), content=f"::: {module}\n"))
    for figure in sorted((ROOT / "figures").rglob("*.[ps][nv]g")):
        source = figure.relative_to(ROOT).as_posix()
        files.append(File.generated(config, source, abs_src_path=str(figure)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point `../figures/` at the copy inside the site."""
    return re.sub(r"(\]\(|src=\")\.\./figures/", r"\1figures/", markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the TeX that the Markdown extension marked into MathML."""

    def mathml(match: re.Match[str]) -> str:
        inline, block = match["inline"], match["block"]
        try:
            drawn = convert(_unescape(inline or block), display="inline" if inline else "block")
        except Exception as error:
            raise PluginError(f"{page.file.src_uri}: cannot convert {inline or block}: {error}") from error
        # What the converter does not know it passes through as an identifier.
        if re.search(r"<mi>(&<|\\)", drawn):
            raise PluginError(
                f"{page.file.src_uri}: a command or environment is not known: {inline or block}"
            )
        return drawn

    marked = (
        r'<span class="arithmatex">\\\((?P<inline>.*?)\\\)</span>'
        r'|<div class="arithmatex">\s*\\\[(?P<block>.*?)\\\]\s*</div>'
    )
    return re.sub(marked, mathml, html, flags=re.DOTALL)


def _unescape(text: str) -> str:
    # The converter knows `align*` alone, which other viewers refuse between dollars.
    return html.unescape(text).strip().replace("{aligned}", "{align*}")


def _modules() -> list[str]:
    library = ROOT / "theorysim"
    names = ["theorysim", "theorysim.lab.figures"]
    for path in sorted(library.iterdir()):
        is_package = (path / "__init__.py").exists()
        if path.name.startswith("_") or not (is_package or path.suffix == ".py"):
            continue
        if path.name not in COLLECTIONS:
            names.append(f"theorysim.{path.stem}")
            continue
        topics = [p for p in sorted(path.iterdir()) if (p / "__init__.py").exists() or p.suffix == ".py"]
        names += [f"theorysim.{path.name}.{p.stem}" for p in topics if not p.name.startswith("_")]
    return sorted(names)


def _page(module: str) -> str:
    return f"api/{module}.md"
