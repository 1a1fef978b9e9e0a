"""The site works from the file system: nothing is missing, nothing comes from a network, and a phone can show it.

`python tests/experiments/test_site.py` takes the README's screenshot of the site that `make site` has built.
"""

import json
import re
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import chromium, needs_chromium, show_as_phone
from PIL import Image

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "paper"


class Page(HTMLParser):
    """The identifiers of a page, where its links lead (`links`), what it loads (`loads`) and its images."""

    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.links, self.loads, self.images, self.outcomes = path, {"", "top"}, [], [], [], 0
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id", ""))
        self.outcomes += "outcome" in (attributes.get("class") or "").split()
        if "href" in attributes:
            (self.loads if tag == "link" else self.links).append(attributes["href"])
        if "src" in attributes:
            self.loads.append(attributes["src"])
        if tag == "img":
            self.images.append(attributes)

    def target(self, url):
        """Return the path that a link within the site leads to."""
        path = unquote(urlsplit(url).path)
        return (self.path.parent / path).resolve() if path else self.path


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_link_leads_somewhere(pages):
    broken = []
    for page in pages.values():
        for url in page.links:
            if urlsplit(url).scheme in ("http", "https"):
                continue
            target = page.target(url)
            if not target.exists() or (target in pages and unquote(urlsplit(url).fragment) not in pages[target].ids):
                broken.append(f"{page.path.name}: {url}")
    assert not broken


def test_all_that_is_loaded_is_in_the_site(site, pages):
    missing = [f"{page.path.name}: {url}" for page in pages.values() for url in page.loads if not loadable(page, url)]
    for sheet in site.rglob("*.css"):
        urls = re.findall(r"""(?:url\(|@import\s+)["']?([^"')]+)""", sheet.read_text("utf-8"))
        missing += [
            f"{sheet.name}: {url}" for url in urls if not url.startswith("data:") and not (sheet.parent / url).exists()
        ]
    assert not missing


def loadable(page, url):
    return not urlsplit(url).scheme and not urlsplit(url).netloc and page.target(url).exists()


def test_every_image_is_described(pages):
    assert not [(page.path.name, image) for page in pages.values() for image in page.images if not image.get("alt")]


def test_the_gallery_shows_every_figure_and_the_outcome_of_every_statement(site, pages):
    gallery = pages[site / "index.html"]
    shown = {gallery.target(image["src"]).read_bytes() for image in gallery.images}
    assert not [path for path in RESULTS.glob("figures/*/*.png") if path.read_bytes() not in shown]
    outcomes = [json.loads(path.read_text("utf-8"))["outcomes"] for path in RESULTS.glob("tables/*/C*.json")]
    # Each statement once, and the summary of each claim in the table and under the figures.
    assert gallery.outcomes == sum(len(found) + 2 * max(1, len({*found.values()})) for found in outcomes)


def test_every_notebook_has_a_page_and_its_figures_an_anchor(site, pages):
    for path in RESULTS.glob("notebooks/[!.]*.ipynb"):
        page = pages[site / "notebooks" / f"{path.stem}.html"]
        assert {figure.stem for figure in RESULTS.glob(f"figures/{path.stem}/*.png")} <= page.ids
        assert sum(url.endswith(".ipynb") for url in page.links) >= 2, "its source and the executed notebook"
        text = unescape(page.path.read_text("utf-8"))
        assert f":notebook@{path.stem}" in text, "the command that makes its tables and figures"


def test_every_measured_table_names_the_command_that_makes_it(pages):
    for page in pages.values():
        text = page.path.read_text("utf-8")
        if page.path.stem in ("scaling", "promises"):
            after = re.split(r"</table>", text)[1:]
            assert after and all("Made by" in part[:200] for part in after), page.path.name
        if page.path.stem == "index":
            assert ">make</span> <span" in text


@needs_chromium
def test_a_phone_shows_every_page(pages, tmp_path):
    problems = {}
    with chromium(tmp_path) as browser:
        show_as_phone(browser)
        for path in pages:
            browser.get(path.as_uri())
            found = browser.execute_script("""
                const prose = document.body.cloneNode(true);
                prose.querySelectorAll("script, style, pre, code").forEach(element => element.remove());
                return {
                    images: [...document.images].filter(image => !image.naturalWidth).map(image => image.src),
                    formulas: [...document.querySelectorAll("math")].filter(formula => {
                        const box = formula.getBoundingClientRect();
                        return !box.width || !box.height;
                    }).length,
                    tex: prose.textContent.match(/\\$\\$|\\\\[a-z]{2,}|\\\\begin/g),
                    wide: [document.documentElement, document.querySelector(".content")]
                        .map(box => box.scrollWidth).filter(width => width > 360),
                    elsewhere: performance.getEntriesByType("resource").map(entry => entry.name)
                        .filter(name => !name.startsWith("file:") && !name.startsWith("data:")),
                };""")
            found["console"] = [entry["message"] for entry in browser.get_log("browser")]
            if any(found.values()):
                problems[path.name] = {name: value for name, value in found.items() if value}
    assert not problems


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as profile, chromium(profile) as browser:
        screen = {"width": 1280, "height": 960, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get((ROOT / "site" / "index.html").as_uri())
        browser.execute_script("document.getElementById('gallery').scrollIntoView({behavior: 'instant'})")
        picture = Image.open(BytesIO(browser.get_screenshot_as_png()))
        picture.convert("P", palette=Image.Palette.ADAPTIVE).save(ROOT / "docs" / "screenshot.png", optimize=True)
