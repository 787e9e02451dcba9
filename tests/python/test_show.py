"""What notebooks show: pictures and curves, read back from what was drawn."""

import base64
import re
import struct
import unittest
import xml.etree.ElementTree as xml
import zlib

import numpy as np

import amdimc
from amdimc.features import Features
from amdimc.show import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH, Curve
from workshop import place, trained


def decoded(data):
    """The picture of a PNG file, (H, W, C), each part of it checked; of files without filters."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + body)
        parts[kind] = body
        at += 12 + length
    width, height, bits, colour, *rest = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert bits == 8 and rest == [0, 0, 0] and b"IEND" in parts
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, {0: 1, 2: 3}[colour])


def drawn(chart):
    """The texts of a chart, and the points of each curve, (N, 2)."""
    root = xml.fromstring(chart.svg)
    paths = [element for element in root.iter("{http://www.w3.org/2000/svg}path") if element.get("fill") == "none"]
    points = [np.array([pair.split() for pair in re.findall(r"[\d.-]+ [\d.-]+", path.get("d"))], float) for path in paths]
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")], points


class Pictures(unittest.TestCase):
    def test_png_is_the_picture(self):
        random = np.random.default_rng(4)
        for shape in ((5, 7), (4, 3, 1), (3, 8, 3)):
            picture = random.integers(0, 256, shape, np.uint8)
            np.testing.assert_array_equal(decoded(amdimc.png(picture)), picture.reshape(*shape[:2], -1))
        np.testing.assert_array_equal(decoded(amdimc.png(picture[:, ::-1])), picture[:, ::-1])

    def test_what_is_no_picture_is_refused(self):
        for wrong in (np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros(3, np.uint8)):
            with self.assertRaisesRegex(ValueError, "a picture is uint8"):
                amdimc.png(wrong)


class Charts(unittest.TestCase):
    def test_points_are_where_their_values_are(self):
        chart = amdimc.Chart({"a<b": Curve([0, 5, 10], [1.0, 3.0, 2.0]), "other": Curve([0, 10], [1.0, 1.0])})
        texts, (first, second) = drawn(chart)
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        middle = (LEFT + right) / 2
        np.testing.assert_allclose(first, [[LEFT, bottom], [middle, TOP], [right, (bottom + TOP) / 2]], atol=0.06)
        np.testing.assert_allclose(second, [[LEFT, bottom], [right, bottom]], atol=0.06)
        for text in ("a<b", "other", "1", "2", "3", "10"):
            self.assertIn(text, texts)

    def test_names_of_many_curves_take_more_lines(self):
        names = [f"accuracy.{n}-to-{m}" for n in range(3) for m in range(3)]
        root = xml.fromstring(amdimc.Chart({name: Curve([0, 1], [2.0, 3.0]) for name in names}).svg)
        places = {text.text: (float(text.get("x")), float(text.get("y")))
                  for text in root.iter("{http://www.w3.org/2000/svg}text")}
        self.assertTrue(all(LEFT <= places[name][0] and places[name][0] + 6 * len(name) < WIDTH for name in names))
        self.assertEqual(len({places[name] for name in names}), len(names))
        lowest = max(places[name][1] for name in names)
        shift = float(re.search(r"translate\(0 (\d+)\)", root.find("{http://www.w3.org/2000/svg}g").get("transform"))[1])
        self.assertLess(lowest, shift + TOP)
        self.assertEqual(float(root.get("height")), HEIGHT + shift)

    def test_a_logarithmic_axis(self):
        texts, (points,) = drawn(amdimc.Chart({"loss": Curve([1, 2, 3], [100.0, 10.0, 1.0])}, log=True))
        np.testing.assert_allclose(np.diff(points, axis=0)[0], np.diff(points, axis=0)[1], atol=0.11)
        self.assertIn("100", texts)

    def test_what_cannot_be_drawn_is_left_out(self):
        chart = amdimc.Chart({"loss": Curve([1, 2, 3, 4], [np.nan, 2.0, -1.0, np.inf])})
        self.assertEqual(len(drawn(chart)[1][0]), 2)
        for empty in ({}, {"none": Curve([], [])}, {"one": Curve([5], [2.0])}):
            for log in (False, True):
                drawn(amdimc.Chart(empty, log=log))

    def test_long_curves_are_thinned_to_means(self):
        values = np.tile([0.0, 1.0], 50 * MOST_POINTS)
        points = drawn(amdimc.Chart({"noise": Curve(np.arange(len(values)), values), "range": Curve([0, 1], [0.0, 1.0])}))[1][0]
        self.assertEqual(len(points), MOST_POINTS)
        np.testing.assert_allclose(points[:, 1], (TOP + HEIGHT - BOTTOM) / 2, atol=0.06)

    def test_smoothing(self):
        smooth = amdimc.Chart({"a": Curve([0, 1, 2, 3], [4.0, 0.0, np.nan, 4.0])}, smooth=0.5).curves["a"].y
        np.testing.assert_allclose(smooth, [4, 4 / 3, (4 / 2 + 0 / 4 + 4 / 8) * 8 / 7])
        with self.assertRaisesRegex(ValueError, "smooth=1"):
            amdimc.Chart({}, smooth=1)

    def test_runs(self):
        run = trained()
        self.assertEqual(len(re.findall("<svg ", run._repr_html_())), 2)
        texts, curves = drawn(run.curves())
        self.assertEqual(len(curves), 3)
        self.assertTrue({"loss", "1-to-7", "5-to-5"} < set(texts))
        with self.assertRaisesRegex(KeyError, "no metric accuracy; there are: step, epoch, loss, "):
            run.curves("accuracy")
        self.assertEqual(list(amdimc.compare({"a": run, "b": run}, "lr").curves), ["a", "b"])
        self.assertIn("srcdoc=", run.report._repr_html_())

    def test_probes_have_a_chart_of_their_own(self):
        folder = place / "probed"
        folder.mkdir()
        (folder / "metrics.jsonl").write_text('{"step":1,"epoch":0,"loss":3,"1-to-5":2,"accuracy.1-to-5":0.1}\n'
                                              '{"step":2,"epoch":0,"loss":2,"probe":0.5,"probe_low":0.4,"probe_high":0.6,'
                                              '"probe.knn":0.5,"probe_low.knn":0.4,"probe_high.knn":0.6}\n')
        charts = re.findall("<svg .*?</svg>", amdimc.Run(folder)._repr_html_())
        self.assertEqual(len(charts), 3)
        self.assertIn(">probe</text>", charts[2])
        self.assertIn(">probe.knn</text>", charts[2])
        self.assertNotIn("probe_", charts[2])

    def test_matplotlib_is_given_the_curves(self):
        drawn_by_it = []

        class Axes:
            def plot(self, x, y, label):
                drawn_by_it.append((label, x.tolist(), y.tolist()))

            def set(self, **settings):
                self.settings = settings

            def legend(self):
                pass

        axes = amdimc.Chart({"a": Curve([0, 1], [2.0, 3.0])}, "title", log=True).plot(Axes())
        self.assertEqual(drawn_by_it, [("a", [0, 1], [2, 3])])
        self.assertEqual(axes.settings, {"title": "title", "xlabel": "step", "yscale": "log"})


class Nearest(unittest.TestCase):
    # On a circle, so that who is near whom is plain.
    ANGLES = np.array([0, 10, 25, 180, 190, 90])
    FEATURES = Features(np.stack([np.cos(np.radians(ANGLES)), np.sin(np.radians(ANGLES))], 1).astype(np.float32) * [[3]],
                        np.array([0, 0, 1, 1, 1, 0]), np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4, 1))

    def test_nearest_by_cosine(self):
        found = self.FEATURES.neighbours([0, 3], k=2)
        self.assertEqual(found.nearest.tolist(), [[1, 2], [4, 5]])
        np.testing.assert_allclose(found.cosine[0], np.cos(np.radians([10, 25])), atol=1e-6)
        self.assertEqual(found.agreement, 0.5)
        self.assertEqual(self.FEATURES.neighbours(3).queries.tolist(), [0, 2, 4])
        self.assertEqual(self.FEATURES.neighbours([5], k=99).nearest.shape, (1, 5))

    def test_shown_with_their_pictures(self):
        html = self.FEATURES.neighbours([0, 3], k=2)._repr_html_()
        shown = [decoded(base64.b64decode(data)) for data in re.findall("base64,([^\"]+)", html)]
        self.assertEqual(len(shown), 6)
        for picture, i in zip(shown, [0, 1, 2, 3, 4, 5]):
            np.testing.assert_array_equal(picture, self.FEATURES.pictures[i])
        table = Features(*self.FEATURES).neighbours([0], k=2)._repr_html_()
        self.assertIn("<td>1: class 0, 0.98</td>", table)

    def test_frame(self):
        try:
            import pandas  # noqa: F401
        except ImportError:
            self.skipTest("no pandas here")
        frame = self.FEATURES.frame()
        self.assertEqual(frame["label"].tolist(), self.FEATURES.labels.tolist())
        np.testing.assert_array_equal(frame[[0, 1]].to_numpy(), self.FEATURES.x)
