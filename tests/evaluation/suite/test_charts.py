from xml.etree import ElementTree

from logfm.evaluation.svg import Span, interval_chart

NAN = float("nan")


def test_intervals_are_drawn_to_scale_and_what_is_not_finite_is_left_out():
    spans = [
        Span(0.5, 0.25, 0.75, "c0", "half"),
        Span(0.9, NAN, NAN, "c1", "no interval"),
        Span(NAN, 0.1, 0.2, "c2", "nothing"),
    ]
    chart = ElementTree.fromstring(interval_chart([("<linux>", spans), ("empty", [])], "map"))
    circles = chart.findall("circle")
    assert [circle.find("title").text for circle in circles] == ["half", "no interval"]
    (whisker,) = (line for line in chart.findall("line") if line.get("class") == "whisker c0")
    middle = (float(whisker.get("x1")) + float(whisker.get("x2"))) / 2
    assert abs(middle - float(circles[0].get("cx"))) < 0.2
    assert float(circles[1].get("cx")) > float(whisker.get("x2"))
    assert {"<linux>", "empty", "map"} <= {text.text for text in chart.findall("text")}


def test_nothing_to_draw():
    assert "nothing to draw" in interval_chart([("linux", [Span(NAN, NAN, NAN, "c0", "x")])], "map")
