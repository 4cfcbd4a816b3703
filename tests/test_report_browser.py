"""The pages of reports in a real browser, from file://: used by keys, read by axe, attacked."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import preferences, report, report_page, reporting, storage, tables
from tests import collections as c
from tests.corpus import good_image
from tests.manifests import HOSTILE, NOON, row, write_run, write_shard

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="the pages are tried in Chromium, and there is none: install chromium"
)

ROWS = 10_000


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless Chromium."""
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page, and everything that it did besides showing itself."""

    def __init__(self, browser, uri: str, *, scheme: str = "light", width: int = 1280) -> None:  # type: ignore[no-untyped-def]
        size = {"width": width, "height": 900}
        self.page = browser.new_page(viewport=size, color_scheme=scheme, accept_downloads=True)
        self.events: list[str] = []
        self.page.on("dialog", lambda d: (self.events.append(f"dialog {d.message}"), d.dismiss()))
        self.page.on("pageerror", lambda e: self.events.append(f"error {e}"))
        self.page.on("console", lambda m: self.events.append(f"console {m.text}"))
        self.page.on("request", self._request)
        self.page.goto(Path(uri).as_uri())

    def _request(self, request) -> None:  # type: ignore[no-untyped-def]
        if not request.url.startswith(("file://", "data:", "blob:")) or "/x" in request.url:
            self.events.append(f"request {request.url[:80]}")

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()
        assert self.events == []


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a real run: good pictures, bad ones and a hostile name."""
    place = tmp_path_factory.mktemp("bulk")
    pictures = {f"good/{i}.png": good_image(i, (60, 40)) for i in range(8)}
    pictures |= {HOSTILE: good_image(9, (30, 30)), f"bad/{HOSTILE}": b"<html>"}
    c.put(f"{place}/in", pictures)
    c.run(c.request(f"{place}/in", f"{place}/out", max_failed=1))
    return reporting.write_page(f"{place}/out", sample=6)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of 10,000 rows."""
    place = str(tmp_path_factory.mktemp("large"))
    rows = [
        row(f"{i % 31:02d}/IMG_{i:05d}.jpg", second=i / 3, failed=i % 50 == 7, psnr=20 + i % 17)
        for i in range(ROWS)
    ]
    write_shard(place, rows)
    write_run(place)
    held = tables.from_parquet(tables.to_parquet(rows, tables.MANIFEST))
    data = report.report_data(place, held, report.manifest_parts.read_runs(place), now=NOON)
    data["pictures"] = {"groups": [], "pictures": {}, "unreadable": 0, "left_out": 0}
    storage.write(f"{place}/index.html", report_page.page("bulk", "10,000 rows", data))
    return f"{place}/index.html"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of five blind pairs."""
    place = tmp_path_factory.mktemp("ab")
    c.put(f"{place}/in", {f"{i}.png": good_image(i, (30, 20)) for i in range(5)})
    for name, model in (("a", "bicubic"), ("b", "mill-x2")):
        c.run(c.request(f"{place}/in", f"{place}/{name}", model=model))
    output = f"{place}/ab.html"
    preferences.write_comparison(f"{place}/a", f"{place}/b", output=output, sample=5)
    return output


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a training run."""
    place = str(tmp_path_factory.mktemp("training"))
    rows = [
        tables.MetricRow(run="r", step=step, split=split, metric=metric, value=1 / step, at=NOON)
        for step in range(1, 300)
        for split, metric in (("train", "total"), ("validation", "psnr"))
    ]
    storage.write(f"{place}/metrics/from-0.parquet", tables.to_parquet(rows, tables.METRICS))
    for step in (100, 200):
        storage.write(f"{place}/pictures/step-{step:06d}.png", good_image(step))
    return reporting.write_page(place)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["bulk", "training", "comparison"])
def test_axe_finds_nothing_serious(
    browser: object, request: pytest.FixtureRequest, name: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    for width in (1280, 400):
        with Opened(browser, request.getfixturevalue(name), scheme=scheme, width=width) as opened:
            for details in opened.page.locator("details").all():
                details.locator("summary").press("Enter")
            violations = axe.Axe().run(opened.page).response["violations"]
            serious = [v for v in violations if v["impact"] in ("serious", "critical")]
            assert [(v["id"], v["nodes"][0]["html"][:200]) for v in serious] == []
            wide = "document.documentElement.scrollWidth - innerWidth"
            assert opened.page.evaluate(wide) <= 0


def test_a_hostile_name_is_only_shown(browser: object, bulk: str) -> None:
    with Opened(browser, bulk) as opened:
        page = opened.page
        assert page.get_by_text(HOSTILE).count() >= 2
        assert page.locator("img[src='x']").count() == 0
        page.get_by_role("searchbox").fill(HOSTILE)
        assert page.get_by_role("status").inner_text() == "2 of 10 rows"
        page.locator("tr.row button").first.click()
        assert HOSTILE in page.locator("dialog").inner_text()
        page.keyboard.press("Escape")
        assert page.locator("dialog").count() == 0
        assert page.locator("img[src='x']").count() == 0


def test_the_slider_moves_by_keys(browser: object, bulk: str) -> None:
    with Opened(browser, bulk) as opened:
        slider = opened.page.get_by_role("slider").first
        slider.focus()
        slider.press("ArrowRight")
        slider.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == "52 % before, 48 % after"
        at = "e => getComputedStyle(e.parentElement.querySelector('.over')).clipPath"
        assert slider.evaluate(at) == "inset(0px 0px 0px 52%)"
        slider.press("End")
        assert slider.input_value() == "100"
        groups = opened.page.get_by_role("radio", name="Sample")
        groups.focus()
        groups.press("ArrowRight")
        assert opened.page.get_by_role("slider").count() == 6
        size = "e => [e.naturalWidth, e.naturalHeight]"
        assert opened.page.locator(".frame img").first.evaluate(size)[0] > 0


def test_the_theme_follows_the_system_and_the_button(browser: object, bulk: str) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    with Opened(browser, bulk) as light, Opened(browser, bulk, scheme="dark") as dark:
        first = light.page.evaluate(colour)
        assert first != dark.page.evaluate(colour)
        light.page.get_by_role("button", name="Switch to the dark theme").press("Enter")
        assert light.page.evaluate(colour) == dark.page.evaluate(colour)
        light.page.get_by_role("button", name="Switch to the light theme").click()
        assert light.page.evaluate(colour) == first


_THRICE = """async (body) => {
  const act = new Function('box', 'search', body);
  const [box, search] = ['.rows', 'input[type=search]'].map((s) => document.querySelector(s));
  for (let i = 1; i <= 3; i += 1) {
    act.call(i, box, search);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  }
}"""


def _cpu_ms(page, metrics, act: str) -> float:  # type: ignore[no-untyped-def]
    """Milliseconds of the page's own thread for an act, whatever else the machine does."""

    def spent() -> float:
        found = metrics.send("Performance.getMetrics")["metrics"]
        return sum(float(m["value"]) for m in found if m["name"] == "TaskDuration")

    before = spent()
    page.evaluate(_THRICE, act)
    return (spent() - before) * 1000 / 3


def test_ten_thousand_rows_come_scroll_filter_and_sort_at_once(browser: object, large: str) -> None:
    with Opened(browser, large) as opened:
        page = opened.page
        assert page.locator("tr.row").count() < 60
        assert page.locator("table").first.get_attribute("aria-rowcount") == str(ROWS + 1)
        metrics = page.context.new_cdp_session(page)
        metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.reload()
        found = metrics.send("Performance.getMetrics")["metrics"]
        assert sum(m["value"] for m in found if m["name"] == "TaskDuration") < 1.0  # s
        for act in (
            "box.scrollTop = 36 * 997 * this",
            "search.value = this; search.dispatchEvent(new Event('input'))",
            "document.querySelectorAll('.rows th button')[6].click()",
        ):
            assert _cpu_ms(page, metrics, act) < 100, act
        page.get_by_role("searchbox").fill("IMG_00777")
        assert page.get_by_role("status").inner_text() == "1 of 10,000 rows"


def test_filter_and_sort_show_the_right_rows(browser: object, large: str) -> None:
    with Opened(browser, large) as opened:
        page = opened.page
        page.get_by_role("combobox", name="Status").select_option("truncated")
        assert page.get_by_role("status").inner_text() == "200 of 10,000 rows"
        page.get_by_role("combobox", name="Status").select_option("ok")
        head = page.get_by_role("columnheader", name="PSNR")
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert page.locator("tr.row").first.locator("td").nth(7).inner_text() == "20.00"
        head.get_by_role("button").press("Enter")
        assert page.locator("tr.row").first.locator("td").nth(7).inner_text() == "36.00"
        page.locator(".rows").evaluate("box => { box.scrollTop = box.scrollHeight; }")
        page.locator("tr.row[aria-rowindex='9801']").wait_for()
        assert page.locator("tr.row").last.locator("td").nth(7).inner_text() == "20.00"


def test_blind_answers_by_keys_are_downloaded_and_read(
    browser: object, comparison: str, tmp_path: Path
) -> None:
    with Opened(browser, comparison) as opened:
        page = opened.page
        seen = page.locator("body").inner_text()
        assert "mill-x2" not in seen
        assert "bicubic" not in seen
        for key in ("ArrowLeft", "ArrowRight", "Backspace", "ArrowDown"):
            page.keyboard.press(key)
        for _ in range(3):
            page.get_by_role("button", name="Choose the left picture").click()
        page.get_by_role("searchbox", name="Your name").fill("A. Rater")
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Download").click()
        assert waiting.value.suggested_filename == "preferences-A_Rater.json"
        file = tmp_path / "answers.json"
        waiting.value.save_as(file)
    said = json.loads(file.read_text())
    assert [a["choice"] for a in said["answers"]] == ["left", "none", "left", "left", "left"]
    [found] = preferences.read_preferences([str(file)])
    assert (found.rate.decided, found.undecided) == (4, 1)
    expected = sum(a["left"] == "a" for a in said["answers"] if a["choice"] == "left")
    assert found.rate.wins == expected
    assert "bicubic" in found.a


def test_validation_pictures_follow_their_steps_by_keys(browser: object, training: str) -> None:
    with Opened(browser, training) as opened:
        slider = opened.page.get_by_role("slider", name="Step of the validation pictures")
        assert slider.get_attribute("aria-valuetext") == "step 200"
        slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == "step 100"
        assert opened.page.locator("figure.chart svg path").count() == 2
