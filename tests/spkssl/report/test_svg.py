from xml.etree import ElementTree

from spkssl.report.svg import LIGHT, drawing, inline, new_figure, style


def drawn(name):
    with drawing(name):
        figure = new_figure(2, 2)
        panel = figure.subplots()
        panel.plot([0, 1], [0, 2], label="a < b", **style(0))
        panel.legend()
        return inline(figure, 'the "title"')


def test_figure_holds_no_address_and_no_colour_of_its_own():
    text = drawn("x")
    assert "http" not in text and LIGHT[0] not in text and "#101418" not in text
    assert "var(--s0)" in text and "currentColor" in text


def test_figure_is_well_formed_and_named():
    root = ElementTree.fromstring(drawn("x"))
    assert root.get("role") == "img" and root.get("aria-label") == 'the "title"'
    assert "a < b" in "".join(root.itertext())


def test_same_figure_comes_out_the_same_and_two_on_a_page_do_not_share_clips():
    def clips(text):
        return {e.get("id") for e in ElementTree.fromstring(text).iter("clipPath")}

    assert drawn("x") == drawn("x")
    assert clips(drawn("x")) and not clips(drawn("x")) & clips(drawn("y"))


def test_matplotlibs_settings_are_left_as_they_were():
    from matplotlib import rcParams

    before = rcParams["svg.fonttype"]
    drawn("x")
    assert rcParams["svg.fonttype"] == before


def test_series_beyond_the_colours_differ_by_dash():
    looks = [(look["color"], look["linestyle"]) for look in map(style, range(4 * len(LIGHT)))]
    assert len(set(looks)) == len(looks)
