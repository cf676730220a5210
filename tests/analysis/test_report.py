"""The page of all claims: it stands alone, says what the tables say, and works in a browser at every width."""

import base64
import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from minima_volume.analysis import claims, report
from minima_volume.errors import ResultsError
from minima_volume.storage import layout
from tests.figures.made_up_results import nested, write
from tests.project import ROOT

WIDTHS = (390, 768, 1280, 1920)


class Page(HTMLParser):
    """Addresses, names and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.names: list[str] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names += [str(found["id"])] if "id" in found else []
        self.links += [str(found["href"])] if tag == "a" else []
        self.sources += [
            str(found[name]) for name in ("src", "href") if name in found and tag in ("img", "script", "link")
        ]
        if tag == "img":
            assert found.get("alt"), "a picture without a text for those who cannot see it"

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@pytest.fixture(scope="module")
def paper() -> str:
    """The page of the committed results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "ROOT", ROOT / "results")
        return report.report("paper", ROOT)


def test_the_page_stands_alone_and_every_link_leads_somewhere(paper: str) -> None:
    page = Page(paper)
    assert len(page.names) == len(set(page.names))
    assert all(source.startswith("data:") for source in page.sources) and len(page.sources) > 10
    for link in page.links:
        if not link.startswith(("data:", "https://arxiv.org/")):
            assert link.startswith("#") and link[1:] in page.names, link
    assert "The method in full" not in paper, "a line of links to other files says nothing here"
    # The tables inside the page are the files.
    for study, name in (("mnist_data", "volumes.csv"), ("swiss_data_x5", "orderings.csv")):
        found = re.search(rf'download="{study}_{name}" href="data:text/csv;base64,([^"]+)"', paper)
        assert found and base64.b64decode(found[1]) == (ROOT / "results" / "paper" / study / name).read_bytes()


def test_the_page_says_each_verdict_and_every_study(paper: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "ROOT", ROOT / "results")
        judged = claims.judge_all("paper")
    said = " ".join(" ".join(Page(paper).said).split())
    for each in judged:
        assert f"{each.claim.number} {each.claim.name} {each.verdict}" in said
    for path in (ROOT / "results" / "paper").glob("*/volumes.csv"):
        assert f"{path.parent.name} " in said
    assert "Quick run" not in said


def test_a_quick_page_is_marked_and_says_no_sentence_of_the_paper_scale(
    no_results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ResultsError, match="Expected quick results of at least one study, got none"):
        report.report("quick", ROOT)
    write("mnist_data", nested("mnist_data"), scale="quick")
    text = report.report("quick", ROOT)
    assert "Quick run" in text and "(quick)</title>" in text
    said = " ".join(" ".join(Page(text).said).split())
    assert "Against the paper" not in said and "Without results at this scale: " in said
    assert text == report.report("quick", ROOT)


# What the test does in the page, and what it saw.
WATCH = """<script>const told = [];
addEventListener('error', e => told.push(String(e.message || e.target.outerHTML.slice(0, 80))), true);
console.error = console.warn = (...words) => told.push(words.join(' '));</script>"""
DRIVE = """<script>addEventListener('load', async () => {
document.querySelectorAll('img').forEach(image => image.loading = 'eager');
const pause = time => new Promise(go => setTimeout(go, time)), broken = () => Array.from(document.images)
  .filter(image => !image.naturalWidth).map(image => 'no picture: ' + image.alt);
for (let i = 0; i < 100 && broken().length; i++) await pause(50);
told.push(...broken());
const names = () => Array.from(document.querySelectorAll('#table tbody tr'), row => row).filter(row => !row.hidden)
  .map(row => row.cells[0].dataset.value);
const seen = {told, width: innerWidth, page: document.documentElement.scrollWidth, all: names()};
const heads = document.querySelectorAll('#table thead button');
heads[1].focus(); heads[1].click(); seen.small = names(); heads[1].click(); seen.large = names();
seen.focus = document.activeElement === heads[1]; seen.sort = heads[1].parentElement.getAttribute('aria-sort');
const search = document.getElementById('search');
search.value = 'swiss poison'; search.dispatchEvent(new Event('input')); seen.found = names();
seen.count = document.getElementById('count').textContent;
parent.postMessage(JSON.stringify(seen), '*');
});</script>"""
# A frame may have any width; a window has at least 500 pixels.
FRAME = """<!DOCTYPE html><script>addEventListener('message', message => {
document.body.innerHTML = ''; document.body.appendChild(document.createElement('pre')).textContent = message.data; });
</script><iframe src="inner.html" width="WIDTH" height="900" style="border: 0"></iframe>"""


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_works_in_a_browser(paper: str, tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium on the PATH (apt-get install chromium)")
    driven = tmp_path / "driven.html"
    inner = paper.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{DRIVE}</body>", 1)
    (tmp_path / "inner.html").write_text(inner, encoding="utf-8")
    driven.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
             "--window-size=2000,1000", "--virtual-time-budget=20000", "--dump-dom", driven.as_uri()]  # fmt: skip
    done = subprocess.run([browser, *flags], capture_output=True, text=True, timeout=100)
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    seen = json.loads(unescape(found[1]))
    assert seen["told"] == [] and seen["width"] == width
    assert seen["page"] <= width, "the page is wider than the window"
    assert len(seen["all"]) == len(list((ROOT / "results" / "paper").glob("*/volumes.csv")))
    assert seen["small"][0] == "swiss_data_x5" and seen["large"][-1] in (
        "swiss_sam",
        "swiss_poison_x5",
        "swiss_data_x5",
    )
    assert sorted(seen["small"]) == sorted(seen["large"]) == seen["all"] and seen["small"] != seen["large"]
    assert seen["focus"] and seen["sort"] == "descending"
    assert seen["found"] and all(name.startswith("swiss_poison") for name in seen["found"])
    assert seen["count"].startswith(f"{len(seen['found'])} of ")
