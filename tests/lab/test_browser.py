"""The report in a real browser, opened from its file."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from theorysim.lab.cli import main
from theorysim.lab.doctor import BROWSERS, find_browser

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason=f"needs one of {', '.join(BROWSERS)} on the PATH"
)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory) -> Path:
    """A report of two papers, moved away from its gallery; one figure could not be drawn."""
    out = Path(shutil.copytree(finished, tmp_path_factory.mktemp("report") / "out"))
    dice = Path(shutil.copytree(out / "figures" / "coins", out / "figures" / "dice"))
    run = (dice / "run.json").read_text().replace('"slug": "coins"', '"slug": "dice"')
    (dice / "run.json").write_text(run)
    (dice / "variance_against_bias.png").unlink()
    assert main(["report", "--out", str(out)]) == 0
    return Path(shutil.move(out / "figures" / "index.html", out.parent / "moved.html"))


@pytest.fixture
def opened(browser, report):
    """Open the report and fail on any complaint of the browser or request over the network."""
    contexts, complaints = [], []

    def open_page(*, width: int = 1200, scheme: str = "light", script: bool = True, kept: str = ""):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=script
        )
        contexts.append(context)
        if kept:
            context.add_init_script(f"localStorage.setItem('theorysim-theme', '{kept}')")
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requested(request.url))
        page.goto(report.as_uri())
        return page

    def requested(url: str) -> None:
        if not url.startswith(("file:", "data:")):
            complaints.append(f"requested {url}")

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def background(page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_it_shows_every_paper_with_its_pictures(opened):
    page = opened()
    assert page.locator("article").count() == 2
    assert page.locator("#coins h2").inner_text() == "On the Tossing of Coins"
    assert page.locator("#coins .claims tbody tr").count() == 3
    assert page.locator("#coins .claims").inner_text().count("as expected") == 3
    widths = page.evaluate("[...document.querySelectorAll('figure img')].map((image) => image.naturalWidth)")
    assert len(widths) == 3 and min(widths) > 0
    assert page.locator("figure img:not([alt])").count() == 0
    assert "Not drawn" in page.locator("#dice .missing").inner_text()


@pytest.mark.parametrize("width", [320, 375, 768, 1200])
def test_nothing_overflows(opened, width):
    page = opened(width=width)
    page.evaluate("for (const item of document.querySelectorAll('details')) item.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_picture_opens_large_by_keyboard_and_closes_by_escape(opened):
    page = opened()
    button = page.locator("button.zoom").first
    small = button.locator("img").bounding_box()
    button.focus()
    page.keyboard.press("Enter")
    stage = page.locator("dialog")
    assert stage.is_visible()
    large = stage.locator("img").bounding_box()
    assert large["width"] > 1.3 * small["width"]
    assert large["width"] / large["height"] == pytest.approx(small["width"] / small["height"], rel=0.05)
    assert "Share of heads against the bias" in stage.inner_text()
    page.keyboard.press("Escape")
    assert not stage.is_visible()
    assert page.evaluate("document.activeElement.classList.contains('zoom')"), (
        "the focus is back where it was"
    )


def test_a_picture_opens_larger_than_a_phone_and_scrolls(opened):
    page = opened(width=375)
    page.locator("button.zoom").first.click()
    assert page.locator("dialog img").bounding_box()["width"] > 600
    assert page.evaluate("(s => s.scrollWidth > s.clientWidth)(document.getElementById('stage'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_formulas_are_typeset(opened):
    page = opened()
    caption = page.locator("#coins figcaption").nth(1)
    assert caption.locator("i").count() > 0 and caption.locator("sup").count() == 1
    assert "$" not in page.locator("main").inner_text()
    assert "$" not in (page.locator("#coins figure img").nth(1).get_attribute("alt") or "$")


def test_a_picture_closes_by_a_click_and_by_the_button(opened):
    page = opened()
    stage = page.locator("dialog")
    for closing in ("dialog img", "#close"):
        page.locator("button.zoom").nth(1).click()
        assert stage.is_visible()
        page.locator(closing).click()
        assert not stage.is_visible()


def test_it_follows_the_system_and_the_button(opened):
    light, dark = opened(scheme="light"), opened(scheme="dark")
    assert background(light) != background(dark)
    bright = background(light)
    light.locator("#theme").click()
    assert background(light) == background(dark)
    assert light.evaluate("localStorage.getItem('theorysim-theme')") == "dark"
    light.locator("#theme").click()
    assert background(light) == bright
    assert background(opened(scheme="light", kept="dark")) == background(dark)


def test_it_can_be_read_without_script(opened):
    page = opened(script=False)
    assert page.locator("#theme").is_hidden()
    assert page.locator("article").first.is_visible()
    page.locator("summary").first.click()
    assert "theorysim run coins --preset tiny" in page.locator("#coins pre").inner_text()


# Relative luminance and contrast as WCAG 2 defines them, of every text on its nearest opaque background.
CONTRAST = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if ((channels(colour)[3] ?? 1) > 0.99) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(opened, scheme):
    page = opened(scheme=scheme)
    page.evaluate("for (const item of document.querySelectorAll('details')) item.open = true")
    assert page.evaluate(CONTRAST) == []
