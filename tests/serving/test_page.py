"""The page in a browser: every kind of model is asked by keyboard and pointer, on a desk and on a phone."""

import json
import shutil

import pytest

selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="needs chromium and chromedriver (Debian: chromium-driver)"
)


@pytest.fixture(scope="module")
def browser():
    options = selenium.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(option)
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, server):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select, WebDriverWait

    class Page:
        """What a person does there."""

        def __init__(self) -> None:
            browser.get(server.url)

        def find(self, css: str):
            return WebDriverWait(browser, 20).until(lambda one: one.find_element(By.CSS_SELECTOR, css))

        def model(self, name: str) -> None:
            Select(self.find("#model")).select_by_visible_text(name)
            kinds = {
                "reviews": "textarea",
                "rows": "#f0",
                "sales": "#f0",
                "films": "#user",
                "pictures": "#file",
            }
            self.find(kinds[name])

        def press(self, text: str) -> None:
            browser.find_element(By.XPATH, f"//button[text()='{text}']").click()

        def text_of(self, css: str, having: str) -> str:
            WebDriverWait(browser, 20).until(lambda _: having in self.find(css).text)
            return self.find(css).text

        def errors(self) -> list[str]:
            return [one["message"] for one in browser.get_log("browser") if one["level"] == "SEVERE"]

    return Page()


def test_a_review_is_read_and_its_words_are_coloured(page) -> None:
    page.model("reviews")
    page.find("#text").send_keys("a fine film")
    page.press("Answer")
    assert "%" in page.text_of("#result", "Answer")
    page.press("Why?")
    page.text_of("#why", "fine")
    colours = page.find("#why .words span:nth-of-type(2)").value_of_css_property("background-color")
    assert colours not in ("rgba(0, 0, 0, 0)", "transparent")
    assert page.errors() == []


def test_a_row_is_filled_in_and_moved(page, browser) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    page.model("sales")
    browser.execute_script("document.getElementById('f0').value = '2023-02-04'")
    size = page.find("#f2")
    size.clear()
    size.send_keys("5", Keys.ENTER)  # the keyboard alone
    before = page.text_of("#result", "What if")
    slider = page.find("#result input[type=range]")
    slider.send_keys(Keys.ARROW_RIGHT * 5)
    WebDriverWait(browser, 20).until(lambda _: page.find("#result").text != before)
    page.press("Why?")
    page.text_of("#why", "kind")
    size = page.find("#f2")
    size.clear()
    size.send_keys("many", Keys.ENTER)
    page.text_of("#result", "many is no number")
    assert page.errors() == []


def test_lists_of_users_and_of_somebody_new(page) -> None:
    page.model("films")
    page.find("#user").send_keys("3")
    page.press("List")
    assert "Film <" in page.text_of("#result", "List")  # titles are text, not HTML
    page.find("#item").send_keys("Film <7>")
    page.press("Add rating")
    page.press("List")
    page.text_of("#result", "List")
    assert page.errors() == []


def test_a_picture_is_answered_and_corrected(page, exported, server) -> None:
    page.model("pictures")
    page.find("#file").send_keys(str(exported["picture"]))
    page.text_of("#result", "Answer")
    page.press("Why?")
    assert page.find("#why img").get_attribute("src").startswith("data:image/png")
    page.find("details summary").click()
    page.press("It should have been this")
    page.text_of("details", "Kept for the next training")
    lines = [json.loads(line) for line in server.record.read_text().splitlines()]
    assert any("truth" in one for one in lines)
    assert page.errors() == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_lies_beside_the_window(page, browser, width) -> None:
    browser.set_window_size(width, 800)
    for name in ("reviews", "sales", "films", "pictures", "rows"):
        page.model(name)
        wide, shown = browser.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= shown, name
        labelled = browser.execute_script(
            "return [...document.querySelectorAll('input, select, textarea')].filter((one) => "
            "!one.labels?.length && !one.getAttribute('aria-label')).map((one) => one.id)"
        )
        assert labelled == [], name
