"""The geometry page in a real browser: three pictures or one, drag, keys, sliders; a click on a layer; the film."""

from __future__ import annotations

import math
import re
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from browser_tools import Lab, Visit, see
from fake_worker import small_snapshot
from playwright.sync_api import Locator, Page, expect

from beft_core.scores.formulas import magnitude, projection_ratio
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from dashboard.figures.parts.numbers import short

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def motion(visit: Visit) -> None:
    """What moves is to be seen."""
    visit.page.emulate_media(reduced_motion="no-preference")


def query(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


def shown(page: Page) -> list[float]:
    """Projection ratio, Magnitude, L2 and Fisher, as the picture says."""
    return [float(text) for text in page.locator("td.now").all_inner_texts()]


def expected(length: float, ratio: float, angle: float, gradient: float) -> list[float]:
    """The same by the engine; L2 and Fisher by hand."""
    turn = math.radians(angle)
    pre, post = np.array([[length, 0.0]]), length * ratio * np.array([[math.cos(turn), math.sin(turn)]])
    l2 = math.dist(pre[0], post[0])
    return [float(projection_ratio(pre, post)[0]), float(magnitude(pre, post)[0]), l2, gradient**2]


def agrees(page: Page, length: float, ratio: float, angle: float, gradient: float = 0.5) -> None:
    assert np.allclose(shown(page), expected(length, ratio, angle, gradient), atol=6e-4), (ratio, angle)


def drag(page: Page, handle: Locator, by: tuple[float, float]) -> None:
    box = handle.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by[0], y + by[1], steps=6)


WATCH = """() => {
  const all = (element, query) => [...element.querySelectorAll(query)];
  const find = query => {
    const inside = node => {
      const here = node.querySelector(query);
      if (here) return here;
      for (const one of node.querySelectorAll("*")) {
        const there = one.shadowRoot && inside(one.shadowRoot);
        if (there) return there;
      }
      return null;
    };
    return inside(document);
  };
  const sandbox = find(".sandbox");
  window.frames_seen = [];
  const look = () => {
    const inputs = all(sandbox, ".sliders input");
    window.frames_seen.push({
      numbers: all(sandbox, "td.now").map(cell => cell.textContent), words: sandbox.querySelector(".seen").textContent,
      ratio: inputs[0].value, angle: inputs[1].value,
    });
    if (window.frames_seen.length < 2000) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""


def said(length: float, ratio: float, angle: float) -> str:
    """What the words beside the picture say of its Magnitude."""
    return f"Magnitude adds up how far each coordinate moved, {short(expected(length, ratio, angle, 0.5)[1])},"


def slider(page: Page, name: str) -> Locator:
    return page.get_by_role("slider", name=re.compile(f"^{name}"))


def test_the_drawing_stays_where_it_is_when_a_pair_or_a_place_is_picked(visit: Visit) -> None:
    page = visit.open("geometry", overlay="true")
    picture = page.locator("svg.picture")
    expect(page.locator("td.now").first).not_to_be_empty()
    pair = page.get_by_text("Opposite order").first
    see(pair)  # the buttons are above, and their script may come later than the picture's
    visit.settle()
    place = picture.bounding_box()
    pair.click()
    see(page.get_by_text("A only grew"))
    for mark in ("B", "A"):
        page.locator("g.mark", has_text=mark).dispatch_event("click")  # an arrow may lie over it
        page.wait_for_timeout(500)
        assert picture.bounding_box() == place
    page.get_by_text("Reversed", exact=True).first.click()
    see(page.get_by_text("Beyond 90° the shadow"))
    assert picture.bounding_box() == place
    expect(page.locator(".case.active .formula")).to_contain_text("= 1 +")  # not 1 - 1.00 · -1.000
    expect(page.locator(".seen")).to_contain_text("is reversed and the score is above 1")


def test_sandbox_by_hand(visit: Visit) -> None:
    page = visit.open("geometry", overlay="true")
    tip = page.get_by_role("slider", name="Tip of b′")
    tip.scroll_into_view_if_needed()
    agrees(page, 1, 1.3, 50)
    before = shown(page)
    page.evaluate(WATCH)
    drag(page, tip, (40, 90))
    during = shown(page)  # still held: everything moved already, and nobody asked the server
    assert during[:3] != before[:3] and during[3] == before[3] and "r=" not in page.url
    frames = page.evaluate("window.frames_seen")  # numbers, words and sliders as each frame showed them
    assert len(frames) > 3 and len({frame["words"] for frame in frames}) > 3
    for frame in frames:
        tip_is = [float(frame["ratio"]), float(frame["angle"])]
        assert np.allclose([float(n) for n in frame["numbers"]], expected(1, *tip_is, 0.5), atol=6e-4)
        assert said(1, *tip_is) in frame["words"], frame
    page.mouse.up()
    visit.link("angle=", "tour=sandbox")
    at = query(page)
    agrees(page, 1, float(at["r"]), float(at["angle"]))
    assert during == shown(page)
    expect(slider(page, "Length of b′")).to_have_value(at["r"].rstrip("0").rstrip("."))
    tip.press("ArrowUp")
    tip.press("Shift+ArrowLeft")
    page.wait_for_url(re.compile(re.escape(f"angle={float(at['angle']) + 10:g}")))
    agrees(page, 1, float(at["r"]) + 0.01, float(at["angle"]) + 10)
    slider(page, "Length of the gradient").fill("0.9")  # input and change, as a hand makes them
    visit.link("grad=0.9")
    assert shown(page)[3] == pytest.approx(0.81)
    visit.check("geometry-sandbox", figure=False)
    visit.resize(900)
    tip.scroll_into_view_if_needed()
    drag(page, tip, (-30, 50))
    held = shown(page)
    page.mouse.up()
    turned = float(at["angle"]) + 10
    page.wait_for_url(lambda url: parse_qs(urlparse(url).query)["angle"] != [f"{turned:g}"])
    at = query(page)
    agrees(page, 1, float(at["r"]), float(at["angle"]), 0.9)
    assert held == shown(page)


def test_three_pictures_share_one_vector(visit: Visit) -> None:
    page = visit.open("geometry")
    page.set_viewport_size({"width": 1280, "height": 720})
    tips = page.locator("g.handle.post")
    expect(tips).to_have_count(3)
    numbers = page.locator("figcaption output")

    def agree() -> tuple[float, ...]:
        at = [float(page.get_by_role("slider", name=name).input_value()) for name in ("Length of b′", "Angle from")]
        ratio, magnitude, _, fisher = expected(1, *at, 0.5)
        assert np.allclose([float(n) for n in numbers.all_inner_texts()], [magnitude, fisher, ratio], atol=6e-4)
        assert len({tip.get_attribute("transform") for tip in tips.all()}) == 1  # one b′ in all three
        return magnitude, fisher, ratio

    before = agree()
    assert all(0 < box["y"] + box["height"] < 720 for one in tips.all() if (box := one.bounding_box()))  # on one screen
    for picture in range(3):
        drag(page, tips.nth(picture), (10, 30))
        during = agree()  # while it is held
        page.mouse.up()
        assert during != before and during[1] == before[1]
        before = during
    visit.link("angle=", "tour=sandbox")
    page.get_by_role("slider", name="Tip of b′, the bias after the fine-tune in (b)").press("ArrowLeft")
    assert agree() != before
    page.wait_for_timeout(500)  # keys are sent together, a moment after the last
    visit.settle()
    page.get_by_text("All in one picture").click()
    expect(tips).to_have_count(1)
    visit.link("overlay=true")
    at = query(page)
    agrees(page, 1, float(at["r"]), float(at["angle"]))
    page.get_by_text("All in one picture").click()
    expect(tips).to_have_count(3)
    visit.check("geometry-panels", figure=False)


def test_sandbox_agrees_with_the_engine_and_walks_along_a_rhombus(visit: Visit) -> None:
    page = visit.open("geometry")
    for length, ratio, angle in [(1, 0.4, 20), (0.5, 1.75, -130), (0.8, 1, 90), (1, 2, 0), (0.4, 0, 50), (1, 1, 0)]:
        page.goto(f"{visit.lab.url}/geometry?overlay=true&r={ratio}&angle={angle}&len={length}&grad=0.35")
        expect(page.locator("td.now").first).not_to_be_empty()
        agrees(page, length, ratio, angle, 0.35)
        lit = page.locator(".case.active").get_attribute("data-onto")
        assert lit == ("post" if ratio > 1 else "pre")
    page.get_by_text("Same Magnitude, other ratio").first.click()
    see(page.get_by_text("A only turned"))
    page.wait_for_timeout(600)
    agrees(page, 1, 1, 29, 0.35)
    page.get_by_role("button", name="Walk from A to B and back").click()
    seen = []
    for _ in range(30):
        seen.append(shown(page))
        page.wait_for_timeout(130)
    ratios, magnitudes = np.array(seen)[:, 0], np.array(seen)[:, 1]
    assert np.ptp(ratios) > 0.4 and np.ptp(magnitudes) < 2e-3
    agrees(page, 1, 1, 29, 0.35)
    visit.check("geometry-jump", figure=False)


def click_layer_of_q(page: Page, number: int) -> None:
    expect(page.locator('[data-stale="true"]')).to_have_count(0)
    point = page.locator(".js-plotly-plot").first.locator(".trace.scatter .points path.point")
    colour = re.compile(r"rgb\(0, 114, 178\)")  # b_q is blue
    blue = [one for one in point.all() if colour.search(one.get_attribute("style") or "")]
    assert len(blue) == 6
    blue[number].scroll_into_view_if_needed()
    box = blue[number].bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_a_layer_by_link_and_by_click(visit: Visit) -> None:
    page = visit.open("geometry", geo_layer="2", geo_term="v")
    expect(page.get_by_role("tab", name="Every layer")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("combobox", name="Layer")).to_have_value("2")
    see(page.locator(".js-plotly-plot .main-svg").first)
    visit.check("geometry-layer")
    click_layer_of_q(page, 4)
    expect(page.get_by_role("combobox", name="Term")).to_have_value("q")
    in_the_wide_window = page.get_by_role("combobox", name="Layer").input_value()
    visit.settle()
    visit.resize(900)
    click_layer_of_q(page, 1)
    expect(page.get_by_role("combobox", name="Layer")).not_to_have_value(in_the_wide_window)
    expect(page.get_by_role("combobox", name="Term")).to_have_value("q")
    chosen = page.get_by_role("combobox", name="Layer").input_value()
    probe = small_snapshot()
    score = projection_ratio(probe.pre("encoder", "q"), probe.post("encoder", "q"))[int(chosen)]
    see(page.locator(".katex", has_text=f"{score:.3g}").first)
    page.get_by_text("Unroll: angle across").click()
    see(page.get_by_text("angle between before and after").first)
    link = visit.link()
    page.goto(link)
    expect(page.get_by_role("combobox", name="Term")).to_have_value("q")
    expect(page.get_by_role("combobox", name="Layer")).to_have_value(chosen)
    visit.check("geometry-unrolled")


@pytest.fixture
def followed(lab: Lab) -> None:
    probe = small_snapshot()
    pre, post = ({key: read(*key) for key in probe.keys()} for read in (probe.pre, probe.post))  # noqa: SIM118
    steps = {
        key: np.stack([pre[key] + t * (post[key] - pre[key]) for t in (0.25, 0.5, 0.75, 1)])
        for key in pre
        if key[1] != "k"
    }
    snapshot = Snapshot.build(probe.meta, pre, post, steps=steps, trajectory_step=np.array([10, 20, 30, 40]))
    write_snapshot(lab.samples / "other.beft.safetensors", snapshot)


@pytest.mark.usefixtures("followed")
@pytest.mark.parametrize("visit", [900], indirect=True)
def test_the_film_plays_steps_and_is_in_the_link(visit: Visit) -> None:
    page = visit.open("geometry", geo="Through training")
    page.get_by_role("button", name="Another probe").click()
    expect(page.locator("output")).to_have_text("step 40 of 40")
    page.get_by_role("button", name="One checkpoint back").click()
    page.wait_for_url(re.compile("step=30"))
    dot = page.locator("circle.dot").nth(3)
    here = dot.get_attribute("cx")
    page.get_by_role("button", name="Play").click()
    places = set()
    for _ in range(12):
        places.add(dot.get_attribute("cx"))
        page.wait_for_timeout(100)
    assert len(places) > 3, "only the two checkpoints, nothing between"
    page.wait_for_url(re.compile("step=40"))
    see(page.get_by_role("button", name="Play"))
    scrub = page.get_by_role("slider", name="Step of the fine-tune")
    scrub.press("ArrowLeft")
    page.wait_for_url(re.compile("step=30"))
    assert dot.get_attribute("cx") == here
    page.goto(page.url)
    expect(page.locator("output")).to_have_text("step 30 of 40")
    visit.check("geometry-film", figure=False)


def test_presenter_mode_in_the_dark(dark_visit: Visit) -> None:
    page = dark_visit.open("geometry", present="true", hide="settings", jump="Opposite order", r="1.9", angle="0")
    see(page.get_by_text("A only grew"))
    expect(page.get_by_role("slider", name="Angle from b to b′")).to_be_hidden()
    now = page.locator("figcaption output").first
    expect(now).to_have_css("color", "rgb(230, 233, 239)")
    expect(now).to_have_css("font-size", re.compile(r"^(35\.[1-9]|3[6-9]|[4-9]\d)"))  # is read in the last row
    dark_visit.check("geometry-presenter", figure=False)
