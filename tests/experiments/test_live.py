"""The live figures compute what the library computes, and every control of them changes what is seen."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from browser import chromium, needs_chromium, show_as_phone
from PIL import Image
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from dcgmm import Sharpening, load_dataset, load_pretrained
from dcgmm.sampling import SamplingOptions
from dcgmm.sharpening import Ascent

sys.path.append(str(Path(__file__).parents[2] / "docs"))
import live  # noqa: E402

PAGES = ("01-tour", "06-top-s", "07-sharpening", "09-inpainting")
SEEN = """
    const seen = box => [...box.querySelectorAll("canvas")].map(canvas => canvas.toDataURL() + canvas.ariaLabel)
        .concat([...box.querySelectorAll("svg, figcaption, .live-status")].map(part => part.outerHTML)).join();
"""
CLOSE = {"atol": 1e-3, "rtol": 1e-3}


@pytest.fixture(scope="module")
def browser(site, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        screen = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.set_script_timeout(120)
        open_page(browser, site / "live.html")
        yield browser
        assert not browser.get_log("browser")


def open_page(browser, path):
    browser.get(path.as_uri())
    wait(browser, lambda: all(box.get_attribute("data-ready") for box in boxes(browser)))


def wait(browser, condition):
    WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda _: condition())


def boxes(browser):
    return browser.find_elements(By.CSS_SELECTOR, ".live[data-figure]")


def compute(browser, instance, body, *arguments):
    """Return what a JavaScript function body computes with a model of the page and some arguments."""
    script = f"""
        const [instance, args, done] = arguments;
        const compute = (model, ...args) => {{ {body} }};
        const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
        const copy = value => JSON.parse(JSON.stringify(value, plain));
        dcgmm.loadModel(instance, "mnist").then(model => done(copy(compute(model, ...args))));
    """
    return browser.execute_async_script(script, instance, [np.asarray(a).tolist() for a in arguments])


def flat(images):
    return np.asarray(images, "float64").reshape(len(images), -1)


@pytest.fixture(scope="module", params=live.INSTANCES)
def instance(request):
    return request.param


@pytest.fixture(scope="module")
def model(instance):
    """The library's model with the numbers that the site has."""
    model = load_pretrained(instance, "mnist")
    for layer in model.gmm_layers:
        means, scales, _ = live.rounded(layer)
        layer.mu.assign(means.astype("float32"))
        layer.s.assign(layer.s.constraint(scales.astype("float32")))
    return model


@pytest.fixture(scope="module")
def digits():
    return load_dataset("mnist")[2][:8]


@pytest.fixture(scope="module")
def samples(model):
    control = np.eye(model.gmm_layers[-1].n_components, dtype="float32")[:4, None, None]
    return model.descent.run(tf.constant(control), SamplingOptions(top_s=1, noise=0.0, seed=0))[0]


@needs_chromium
def test_the_way_up_gives_the_librarys_responsibilities_and_likelihoods(browser, instance, model, digits):
    found = compute(browser, instance, "return args[0].map(image => model.climb(image))", flat(digits))
    for level, (gamma, likelihood) in enumerate(
        zip(model.all_responsibilities(digits), model.log_likelihoods(digits), strict=True)
    ):
        np.testing.assert_allclose([p[level]["responsibilities"] for p in found], flat(gamma), **CLOSE)
        np.testing.assert_allclose([p[level]["logLikelihood"] for p in found], flat(likelihood), **CLOSE)


@needs_chromium
def test_the_way_down_gives_the_librarys_control_signals_and_samples(browser, instance, model, samples):
    body = "return [0, 1, 2, 3].map(k => model.descend(model.topControl(k), { topS: 1, noise: 0 }))"
    found = compute(browser, instance, body)
    controls = {}

    def noted(level, control, part):
        controls[level] = control.numpy()
        return control

    top = np.eye(model.gmm_layers[-1].n_components, dtype="float32")[:4, None, None]
    model.descent.run(tf.constant(top), SamplingOptions(top_s=1, noise=0.0, seed=0), fuse=noted)
    for stages in zip(*found, strict=True):
        level = stages[0]["level"]
        np.testing.assert_allclose([stage["control"] for stage in stages], flat(controls[level]), **CLOSE)
    np.testing.assert_allclose([stages[-1]["signal"] for stages in found], flat(samples), **CLOSE)


@needs_chromium
def test_drawn_components_follow_their_weights_and_the_noise_its_rule(browser, instance, model):
    body = """
        const { mixture } = model.levels[0];
        const control = new Float64Array(mixture.nPositions * mixture.nComponents);
        for (let p = 0; p < mixture.nPositions; p++) control.set([3, 1, 2, -5], p * mixture.nComponents);
        const counts = [0, 0, 0, 0];
        const random = new dcgmm.Random(1);
        for (let i = 0; i < 20; i++) {
            mixture.draw(control, random, { topS: 2, noise: 0 }).components.forEach(k => counts[k]++);
        }
        return { counts, values: mixture.draw(control, random, { topS: 1, noise: 1 }).values };
    """
    found = compute(browser, instance, body)
    share = np.array(found["counts"]) / np.sum(found["counts"])
    np.testing.assert_allclose(share, [0.6, 0, 0.4, 0], atol=0.04)
    gmm = model.gmm_layers[0]
    noise = np.reshape(found["values"], (-1, gmm.n_features)) - gmm.means[0]
    learned = gmm.s.numpy()[0] < np.float32(np.sqrt(gmm.max_precision))
    assert not noise[:, ~learned].any()
    np.testing.assert_allclose(noise[:, learned].std(axis=0) * gmm.s.numpy()[0, learned], 1, atol=0.35)


@needs_chromium
def test_twenty_steps_of_sharpening_are_the_librarys(browser, instance, model, samples):
    follow(browser, instance, model.levels[:1], samples)
    # Through the two poolings of 3L-a, the ascent is so rough that rounding decides where it goes: see the next test.
    if instance == "2L-e":
        follow(browser, instance, model.levels, samples)


def follow(browser, instance, levels, samples):
    """Compare twenty steps of an ascent through some levels with the library's."""
    sharpened, _, likelihoods = Ascent(levels)(tf.constant(samples), Sharpening(20))
    body = """
        const ascent = new dcgmm.Ascent(model, 0, 0, args[1] - 1);
        return args[0].map(image => {
            let signal = Float64Array.from(image);
            for (let step = 0; step < 20; step++) {
                const { gradient } = ascent.valueAndGradient(signal);
                signal = signal.map((value, i) => value + 0.001 * gradient[i]);
            }
            return { signal, value: ascent.valueAndGradient(signal).value };
        });
    """
    found = compute(browser, instance, body, flat(samples), len(levels))
    np.testing.assert_allclose([f["signal"] for f in found], flat(sharpened), **CLOSE)
    np.testing.assert_allclose([f["value"] for f in found], likelihoods, **CLOSE)


@needs_chromium
def test_the_gradient_through_all_layers_is_the_librarys(browser, instance, model, samples):
    images = tf.constant(samples)
    _, gradient = Ascent(model.levels)._value_and_gradient(images, images, 0.0)
    body = "return args[0].map(image => new dcgmm.Ascent(model, 0, 0, model.top).valueAndGradient(image).gradient)"
    found = compute(browser, instance, body, flat(samples))
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(found / scale, flat(gradient) / scale, atol=1e-3)


@needs_chromium
def test_in_painting_finds_and_keeps_what_the_library_finds_and_keeps(browser, instance, model, digits):
    mask = np.zeros((28, 28), bool)
    mask[8:18, 10:20] = True
    damaged = digits.copy()
    damaged[:, mask] = 1
    body = """
        const own = { topS: 1, noise: 0 };
        return args[0].map(image => ({
            told: dcgmm.inpaint(model, image, { ...own, mask: args[1] }).image,
            blind: dcgmm.inpaint(model, image, own),
            scores: model.climb(image).map(({ logLikelihood }, level) => model.standardised(level, logLikelihood)),
        }));
    """
    found = compute(browser, instance, body, flat(damaged), mask.ravel())
    options = {"top_s": 1, "noise": 0.0, "seed": 0}
    told, blind = flat(model.inpaint(damaged, mask, **options)), flat(model.inpaint(damaged, **options))
    np.testing.assert_allclose([f["told"] for f in found], told, **CLOSE)
    np.testing.assert_allclose([f["blind"]["image"] for f in found], blind, **CLOSE)
    for level in range(len(model.gmm_layers)):
        inliers = flat(model.inliers(damaged, layer=level)).astype(bool)
        scores = np.array([f["scores"][level] for f in found])
        sure = np.abs(scores + 1) > 1e-3
        assert sure.mean() > 0.99
        assert np.array_equal(~np.array([f["blind"]["damaged"][level] for f in found])[sure], inliers[sure])


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_the_committed_pictures_are_test_images(dataset):
    picture = np.asarray(Image.open(live.TEST_IMAGES / f"{dataset}.png"))
    assert np.array_equal(picture, live.first_test_images(dataset))


class Figure:
    """A live figure of a page, and what a reader does with it."""

    def __init__(self, browser, name):
        self.browser = browser
        self.box = browser.find_element(By.CSS_SELECTOR, f".live[data-figure={name}]")

    def seen(self):
        return self.browser.execute_script(f"{SEEN} return seen(arguments[0])", self.box)

    def controls(self):
        """Return the names of all controls: labels of inputs and lists, texts of buttons, legends, and the pad."""
        return self.browser.execute_script(
            """
            const own = [...arguments[0].querySelectorAll("select, button, input:not([type=radio])")]
                .map(control => control.labels?.[0]?.textContent.trim() || control.textContent);
            const groups = [...arguments[0].querySelectorAll("legend")].map(legend => legend.textContent);
            return own.concat(groups, arguments[0].querySelector(".live-pad") ? ["pad"] : []);
            """,
            self.box,
        )

    def find(self, name):
        return self.browser.execute_script(
            """
            const [box, name] = arguments;
            if (name === "pad") return box.querySelector(".live-pad");
            const group = [...box.querySelectorAll("legend")].find(legend => legend.textContent === name);
            if (group) return group.parentElement;
            return [...box.querySelectorAll("select, button, input")].find(control =>
                (control.labels?.[0]?.textContent.trim() || control.textContent) === name);
            """,
            self.box,
            name,
        )

    def move(self, name, how):
        control = self.find(name)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", control)
        kind = control.tag_name if control.tag_name != "input" else control.get_attribute("type")
        getattr(self, f"{how}_{kind}")(control)

    def press(self, control, *keys):
        self.browser.execute_script("arguments[0].focus()", control)
        ActionChains(self.browser).send_keys(*keys).perform()

    def keyboard_button(self, control):
        self.press(control, Keys.ENTER)

    def keyboard_checkbox(self, control):
        self.press(control, Keys.SPACE)

    def keyboard_select(self, control):
        last = Select(control).options[-1].is_selected()
        self.press(control, Keys.ARROW_UP if last else Keys.ARROW_DOWN)

    def keyboard_range(self, control):
        last = control.get_attribute("value") == control.get_attribute("max")
        self.press(control, *[Keys.ARROW_LEFT if last else Keys.ARROW_RIGHT] * 2)

    def keyboard_fieldset(self, control):
        self.press(control.find_element(By.CSS_SELECTOR, "input:checked"), Keys.ARROW_RIGHT)

    def keyboard_div(self, pad):
        self.press(pad, Keys.ARROW_UP, Keys.SPACE)

    def pointer_button(self, control):
        ActionChains(self.browser).click(control).perform()

    pointer_checkbox = pointer_button

    def pointer_select(self, control):
        chosen = Select(control).first_selected_option
        next(option for option in Select(control).options[::-1] if option != chosen).click()

    def pointer_range(self, control):
        share = float(control.get_attribute("value")) - float(control.get_attribute("min"))
        share /= float(control.get_attribute("max")) - float(control.get_attribute("min"))
        width = control.size["width"]
        place = int(width * (0.2 if share > 0.5 else 0.8) - width / 2)
        ActionChains(self.browser).move_to_element_with_offset(control, place, 0).click().perform()

    def pointer_fieldset(self, control):
        other = control.find_elements(By.CSS_SELECTOR, "label:not(:has(:checked))")[7]
        ActionChains(self.browser).click(other).perform()

    def pointer_div(self, pad):
        stroke = ActionChains(self.browser).move_to_element_with_offset(pad, -90, -90).click_and_hold()
        stroke.move_by_offset(40, 160).release().perform()


# Controls to use first, so that a control can have an effect.
FIRST = {
    "Clear": ["Next image"],
    "Restore": ["Next image"],
    "Back to the start": ["Step"],
    "Length of a step": ["Back to the start", "Step"],
    "Steps at a time": ["Back to the start", "Step"],
}
# Controls to use after it, where it acts on the next step only.
AFTER = {name: FIRST[name] for name in ("Length of a step", "Steps at a time")}
TOLD = "Tell the model which pixels are damaged"


def prepare(figure, control):
    """Bring a figure into a state in which a control has an effect."""
    for other in FIRST.get(control, []):
        figure.move(other, "pointer")
    if figure.find("Restore") and control == "pad":
        figure.move("Restore", "pointer")
    if figure.find(TOLD) and control in ("c of Eq. 6", "S", "Noise", "Draw again"):
        figure.move("Next image", "pointer")  # with a hole
        if figure.find(TOLD).is_selected() == (control == "c of Eq. 6"):
            figure.move(TOLD, "pointer")


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("how", ["keyboard", "pointer"])
@pytest.mark.parametrize("name", live.FIGURES)
def test_every_control_changes_what_is_seen(browser, site, name, how):
    open_page(browser, site / "live.html")
    figure = Figure(browser, name)
    controls = figure.controls()
    assert len(set(controls)) == len(controls) >= 6
    frame = ["Data set", "Model"]
    unchanged = []
    for control in [c for c in controls if c not in frame] + frame:
        prepare(figure, control)
        before = figure.seen()
        figure.move(control, how)
        for other in AFTER.get(control, []):
            figure.move(other, "pointer")
        try:
            wait(browser, lambda before=before: figure.seen() != before)
        except TimeoutException:
            unchanged.append(control)
        if control == "Play":
            figure.move("Pause", how)
    assert not unchanged
    assert not browser.get_log("browser")


@needs_chromium
def test_less_motion_means_no_animation(browser, site):
    media = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        open_page(browser, site / "live.html")
        figure = Figure(browser, "sampling")
        before = figure.seen()
        figure.move("Sample again", "pointer")
        at_once = figure.seen()
        assert at_once != before
        later = f"{SEEN} setTimeout(() => arguments[1](seen(arguments[0])), 400)"
        assert browser.execute_async_script(later, figure.box) == at_once
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@needs_chromium
@pytest.mark.parametrize("page", ["live.html", *(f"notebooks/{n}-{d}.html" for n in PAGES for d in live.CLASS_NAMES)])
def test_a_phone_shows_each_figure_described_and_takes_a_finger(site, tmp_path, page):
    with chromium(tmp_path) as browser:
        show_as_phone(browser)
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        open_page(browser, site / page)
        found = browser.execute_script("""
            const all = selector => [...document.querySelectorAll(`.live :is(${selector})`)];
            const described = part => (part.ariaLabel && part.role === "img") || part.closest("[aria-hidden=true]");
            return {
                wide: [document.documentElement, document.querySelector(".content")].map(box => box.scrollWidth),
                pictures: all("canvas, svg").filter(part => !described(part)).length,
                controls: all("input, select").filter(control => !control.ariaLabel && !control.labels.length).length,
                elsewhere: performance.getEntriesByType("resource").map(entry => entry.name)
                    .filter(name => !name.startsWith("file:") && !name.startsWith("data:")),
            };""")
        assert max(found["wide"]) <= 360
        assert not found["pictures"] and not found["controls"] and not found["elsewhere"]
        for box in boxes(browser):
            for pad in box.find_elements(By.CSS_SELECTOR, ".live-pad"):
                figure = Figure(browser, box.get_attribute("data-figure"))
                before = figure.seen()
                touch(browser, pad)
                wait(browser, lambda figure=figure, before=before: figure.seen() != before)
        assert not browser.get_log("browser")


def touch(browser, pad):
    """Draw with a finger, from the middle to the left."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", pad)
    box = browser.execute_script(
        "const {x, y, width} = arguments[0].getBoundingClientRect(); return [x, y, width]", pad
    )
    for kind, share in [("touchStart", 0.2), ("touchMove", 0.15), ("touchMove", 0.1), ("touchEnd", None)]:
        points = [] if share is None else [{"x": box[0] + box[2] * share, "y": box[1] + box[2] * share}]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_without_javascript_a_sentence_stands_in_place_of_a_figure(site):
    for page in ["live.html", *(f"notebooks/{name}-mnist.html" for name in PAGES)]:
        assert "<noscript><p>This figure needs JavaScript." in (site / page).read_text("utf-8")
