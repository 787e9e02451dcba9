"""Runs as they are read."""

import json
import sys
import types
import unittest
from unittest import mock

import numpy as np

import amdimc
from workshop import STEPS, place, trained


def handmade(name, text):
    folder = place / name
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(text)
    return amdimc.Run(folder)


class Metrics(unittest.TestCase):
    def test_columns_are_what_the_lines_say(self):
        run = trained()
        lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        metrics = run.metrics
        self.assertEqual(list(metrics), list(lines[0]))
        self.assertEqual(metrics["step"].dtype, np.int64)
        for name, column in metrics.items():
            self.assertEqual(column.shape, (STEPS,))
            np.testing.assert_array_equal(column, [line[name] for line in lines])
        self.assertEqual(run.pairs, ["1-to-7", "5-to-5"])
        self.assertRegex(repr(run), f"{STEPS} steps, loss {lines[-1]['loss']:.4f}")

    def test_what_a_step_lacks_is_not_a_number(self):
        run = handmade("gaps", '{"step":1,"epoch":0,"loss":null}\n{"step":2,"epoch":0,"loss":3,"probe":0.5}\n{"step":3,"epo')
        self.assertEqual(run.metrics["step"].tolist(), [1, 2])
        np.testing.assert_array_equal(run.metrics["loss"], [np.nan, 3])
        np.testing.assert_array_equal(run.metrics["probe"], [np.nan, 0.5])

    def test_a_run_that_grows_is_read_anew(self):
        run = handmade("grows", "")
        self.assertEqual(run.metrics["step"].tolist(), [])
        self.assertIn("no steps yet", repr(run) + run._repr_html_())
        with open(run.folder / "metrics.jsonl", "a") as file:
            file.write('{"step":1,"epoch":0,"loss":2.5}\n')
        self.assertEqual(run.metrics["loss"].tolist(), [2.5])

    def test_no_folder_is_said(self):
        with self.assertRaisesRegex(FileNotFoundError, "nowhere: no folder of a run"):
            amdimc.Run(place / "nowhere")

    def test_frame(self):
        try:
            import pandas
        except ImportError:
            # Without pandas: what it would be given.
            class DataFrame(dict):
                def set_index(self, name):
                    self.index = self.pop(name)
                    return self

            pandas = types.SimpleNamespace(DataFrame=DataFrame)
        with mock.patch.dict(sys.modules, pandas=pandas):
            frame = trained().frame()
        self.assertEqual(list(frame.index), list(range(1, STEPS + 1)))
        np.testing.assert_array_equal(np.asarray(frame["loss"]), trained().metrics["loss"])


class Weights(unittest.TestCase):
    def test_weights_are_the_model_s_alone(self):
        weights = trained().weights
        self.assertEqual(weights["encoder.0.weight"].shape, (16, 3, 3, 3))
        self.assertEqual({name.split(".")[0] for name in weights}, {"encoder", "embed"})
        self.assertEqual({array.dtype for array in weights.values()}, {np.dtype(np.float32)})
        self.assertTrue(all(np.isfinite(array).all() for array in weights.values()))

    def test_spec(self):
        self.assertIn("\npair 5-to-5 0.5\n", trained().spec)
