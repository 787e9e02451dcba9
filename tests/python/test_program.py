"""Compiling, training and all commands, through a program of specs/tiny.yaml."""

import contextlib
import os
import signal
import sys
import threading
import time
import types
import unittest
from unittest import mock

import numpy as np

import amdimc
from amdimc import command
from amdimc import program as module
from workshop import COMPILER, ROOT, compile_quickly, place, printed, quick_compiler, tiny, trained

SPEC = {"name": "from-dict", "input": {"channels": 1, "size": 16, "mean": [0.25], "std": [0.5]}, "batch": 8,
        "encoder": [{"conv": {"out": 8, "kernel": 4, "stride": 4}}, {"conv": {"out": 8, "kernel": 4, "activation": "none"}}],
        "embedding": {"dim": 8}, "loss": {"pairs": ["1-to-4"]}, "schedule": {"epochs": 1, "warmup": 0, "milestones": []}}


@contextlib.contextmanager
def drawing_often():
    """Runs under way are drawn twenty times a second."""
    with mock.patch.multiple(module, SHOW_SECONDS=0, SHOW_SHARE=1e9), mock.patch.object(command, "TICK", 0.05):
        yield


class Finding(unittest.TestCase):
    def test_by_argument_then_environment_then_path(self):
        first, second, third = (place / name / "amdimc" for name in ("first", "second", "third"))
        for path in (first, second, third):
            path.parent.mkdir()
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
        with mock.patch.dict(os.environ, AMDIMC=str(second), PATH=f"{third.parent}{os.pathsep}{os.environ['PATH']}"):
            self.assertEqual(amdimc.find_compiler(first), str(first))
            self.assertEqual(amdimc.find_compiler(), str(second))
            del os.environ["AMDIMC"]
            self.assertEqual(amdimc.find_compiler(), str(third))

    def test_where_there_is_none_it_says_what_to_do(self):
        with mock.patch.dict(os.environ, PATH=str(place)):
            os.environ.pop("AMDIMC", None)
            with self.assertRaisesRegex(FileNotFoundError, "amdimc is not on PATH; build it with `make`"):
                amdimc.find_compiler()
            with self.assertRaisesRegex(FileNotFoundError, r"\$AMDIMC is /no/amdimc: no such program"), \
                    mock.patch.dict(os.environ, AMDIMC="/no/amdimc"):
                amdimc.find_compiler()
            with self.assertRaisesRegex(FileNotFoundError, "compiler=/no/amdimc: no such program"):
                amdimc.find_compiler("/no/amdimc")

    def test_options(self):
        options = {"checkpoint_every": 10, "resume": True, "nice": False, "lr": 2e-4, "data": None, "o": place,
                   "pairs": ["1-to-5", "1-to-7"]}
        self.assertEqual(command.arguments(options), ["--checkpoint-every", "10", "--resume", "--lr", "0.0002", "-o", str(place),
                                                      "--pairs", "1-to-5", "--pairs", "1-to-7"])


class Compiling(unittest.TestCase):
    def test_from_a_file_with_overrides(self):
        program = compile_quickly(ROOT / "specs/tiny.yaml", "overridden", pairs="1-to-7", batch=8)
        self.assertEqual([pair["pair"] for pair in program.info["pairs"]], ["1-to-7"])
        self.assertEqual(program.info["batch"], 8)
        self.assertEqual(repr(program), "<program overridden: 1-to-7>")

    def test_from_a_dict(self):
        info = compile_quickly(SPEC, "from-dict").info
        self.assertEqual((info["name"], info["mean"], info["std"]), ("from-dict", [0.25], [0.5]))

    def test_a_wrong_spec_is_refused_with_its_place(self):
        with printed() as text, self.assertRaises(amdimc.Error) as caught:
            amdimc.compile({**SPEC, "loss": {"pairs": ["1-to-5"]}}, place / "wrong", compiler=COMPILER)
        self.assertRegex(str(caught.exception),
                         r"^from-dict.yaml:\d+:\d+: error: pair 1-to-5: the encoder has no 5x5 scale(.|\n)*\^")
        self.assertEqual(caught.exception.status, 1)
        self.assertEqual(text.getvalue(), "")

    def test_wrong_usage(self):
        with self.assertRaises(amdimc.Error) as caught:
            amdimc.compile(SPEC, place / "wrong", compiler=COMPILER, frobnicate=1)
        self.assertEqual(caught.exception.status, 2)
        self.assertIn("--frobnicate", str(caught.exception))

    def test_explain(self):
        explained = amdimc.explain(ROOT / "specs/tiny.yaml", compiler=COMPILER, batch=32)
        self.assertEqual((explained["batch"], [scale["scale"] for scale in explained["scales"]]), (32, [1, 5, 7, 14]))

    def test_sweep(self):
        result = amdimc.sweep(SPEC, place / "sweep", compiler=COMPILER, cc=quick_compiler(), quiet=True,
                              pairs=["1-to-4", "4-to-4"], set=["optimizer.adam.lr=1e-3,1e-2"], limit=8, epochs=1)
        self.assertEqual(len(result["combinations"]), 4)
        self.assertTrue((place / "sweep/sweep.html").exists())

    def test_no_program(self):
        with self.assertRaisesRegex(FileNotFoundError, "no-program: no program"):
            amdimc.Program(place / "no-program")


class Training(unittest.TestCase):
    def test_progress_is_printed(self):
        with printed() as text:
            run = tiny().train(place / "printed", steps=5)
        self.assertRegex(text.getvalue(), "(?m)^epoch 1/1  step 5/5  loss ")
        self.assertEqual(len(run.metrics["step"]), 5)
        with printed() as text:
            tiny().train(place / "quiet", steps=5, quiet=True)
        self.assertEqual(text.getvalue(), "")

    def test_a_run_is_not_written_over(self):
        with self.assertRaisesRegex(amdimc.Error, "holds a run; --resume goes on"):
            tiny().train(trained().folder, quiet=True)

    def test_weights_to_begin_with(self):
        begun = {name: np.full_like(array, 0.5) for name, array in trained().weights.items() if name.startswith("encoder.0.")}
        run = tiny().train(place / "warm", weights=begun, steps=0, quiet=True)
        np.testing.assert_array_equal(run.weights["encoder.0.bias"], begun["encoder.0.bias"])

    def test_what_goes_on_is_seen(self):
        seen = []
        with drawing_often():
            run = tiny().train(place / "seen", steps=300, quiet=True, each=lambda run: seen.append(len(run.metrics["step"])))
        self.assertGreater(len(seen), 1)
        self.assertEqual(seen, sorted(seen))
        self.assertEqual(seen[-1], len(run.metrics["step"]))

    def test_curves_grow_in_a_notebook(self):
        shown = []

        class Handle:
            def update(self, run):
                shown.append(run)

        def display(run, display_id):
            shown.append(run)
            return Handle()

        ipython = types.ModuleType("IPython")
        ipython.get_ipython = lambda: types.SimpleNamespace(kernel=True)
        ipython.display = types.ModuleType("IPython.display")
        ipython.display.display = display
        with mock.patch.dict(sys.modules, {"IPython": ipython, "IPython.display": ipython.display}), printed(), drawing_often():
            tiny().train(place / "shown", steps=300)
        self.assertGreater(len(shown), 1)
        self.assertTrue(all(isinstance(run, amdimc.Run) for run in shown))

    def test_an_interrupt_saves_the_run(self):
        folder = place / "interrupted"

        def interrupt():  # as soon as it trains
            while not (folder / "metrics.jsonl").exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt, daemon=True)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            thread.start()
            with self.assertRaisesRegex(KeyboardInterrupt, "saved"):
                tiny().train(folder, epochs=1000, quiet=True)
        finally:
            signal.signal(signal.SIGINT, before)
            thread.join()
        steps = int(amdimc.load(folder / "last.safetensors")["progress"][1])
        run = tiny().train(folder, resume=True, epochs=1000, steps=steps + 1, quiet=True)
        self.assertEqual(run.metrics["step"].tolist(), list(range(1, steps + 2)))


class Commands(unittest.TestCase):
    def test_encode(self):
        features = tiny().encode(trained(), limit=3, pictures=True)
        self.assertEqual((features.x.shape, features.x.dtype), ((30, 48), np.float32))
        self.assertEqual(np.bincount(features.labels).tolist(), [3] * 10)
        self.assertEqual((features.pictures.shape, features.pictures.dtype), ((30, 16, 16, 3), np.uint8))
        x, labels = tiny().encode(str(trained().folder), limit=3, scale=7)
        self.assertEqual(x.shape, (30, 32, 7, 7))
        again, _ = tiny().encode(trained().weights, limit=3)
        np.testing.assert_array_equal(again, features.x)
        self.assertIn("<img ", features.neighbours(2)._repr_html_())

    def test_encode_pictures_without_labels(self):
        random = np.random.default_rng(7)
        np.save(place / "unlabelled.npy", random.integers(0, 256, (5, 16, 16, 3), np.uint8))
        features = tiny().encode(trained(), place / "unlabelled.npy", pictures=True)
        self.assertEqual((len(features), features.labels), (5, None))
        self.assertIn("no labels", repr(features))
        near = features.neighbours(2, k=3)
        self.assertTrue(np.isnan(near.agreement))
        self.assertEqual(repr(near), "<the 3 nearest of 2 pictures>")
        self.assertIn("<img ", near._repr_html_())
        features.pictures = None
        self.assertIn("<th>0</th>", features.neighbours([0])._repr_html_())

    def test_what_a_command_printed_before_it_failed(self):
        folder = place / "damaged" / "a"
        folder.mkdir(parents=True)
        (folder / "whole.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        with self.assertRaises(amdimc.Error) as raised:
            tiny()("check", data=place / "damaged")
        self.assertIn("whole.png", raised.exception.output)

    def test_pictures_are_what_is_encoded(self):
        """The first convolution of f_14 of the pictures, by numpy, is close to the program's, which saw no rounding to bytes."""
        program = compile_quickly(SPEC, "from-dict-2")
        run = program.train(place / "from-dict-run", limit=2, steps=1, quiet=True)
        features = program.encode(run, limit=2, pictures=True, scale=4, raw=True)
        weight, bias = (run.weights[f"encoder.0.{name}"] for name in ("weight", "bias"))
        x = (features.pictures[..., 0] / np.float32(255) - 0.25) / 0.5
        patches = x.reshape(-1, 4, 4, 4, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 4, 4, 16)
        expected = np.maximum(patches @ weight.reshape(8, 16).T + bias, 0).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(features.x, expected, atol=0.02 * np.abs(weight).reshape(8, -1).sum(1).max())
        self.assertGreater(features.x.max(), 0.2)

    def test_pictures_from_arrays(self):
        random = np.random.default_rng(5)
        pictures, labels = random.integers(0, 256, (12, 16, 16, 3), np.uint8), np.array([10, 2, 0] * 4)
        data = amdimc.save_pictures(place / "arrays", (pictures, labels), (pictures[:3], labels[:3]))
        order = np.argsort(labels, kind="stable")
        np.testing.assert_array_equal(tiny().pictures(data, split="train"), pictures[order])
        self.assertEqual(tiny().encode(trained(), data, split="train").labels.tolist(), [0] * 4 + [1] * 4 + [2] * 4)
        self.assertEqual(len(tiny().encode(trained(), data)), 3)
        with self.assertRaises(FileExistsError):
            amdimc.save_pictures(data, (pictures, labels))
        for wrong in (labels[:-1], labels + 0.5, labels - 1):
            with self.assertRaisesRegex(ValueError, "train: 12 pictures need as many labels"):
                amdimc.save_pictures(place / "wrong-arrays", (pictures, wrong))

    def test_views(self):
        views = tiny().views(count=5, seed=1)
        self.assertEqual((views.shape, views.dtype), ((5, 2, 3, 16, 16), np.float32))
        self.assertEqual(tiny().as_pictures(views).shape, (5, 2, 16, 16, 3))

    def test_replay(self):
        weights, views = trained().weights, tiny().views(count=16)
        batch = {"x.1": views[:, 0], "x.2": views[:, 1], "loc.5-to-5.1": [3] * 16, "loc.5-to-5.2": np.arange(16)}
        result = tiny().replay(weights, batch)
        np.testing.assert_allclose(result["loss"], result["loss.1-to-7"] + 0.5 * result["loss.5-to-5"] + 0.05 * result["penalty"],
                                   rtol=1e-5)
        self.assertEqual(result["embed.7.1"].shape, (16, 32, 7, 7))
        # The gradient of a bias is what the loss changes by.
        name, step = "embed.7.bn.bias", 1e-2
        direction = np.sign(result[f"grad.{name}"])
        moved = [tiny().replay({**weights, name: weights[name] + sign * np.float32(step) * direction}, batch)["loss"][0]
                 for sign in (1, -1)]
        slope = np.abs(result[f"grad.{name}"]).sum()
        self.assertAlmostEqual((moved[0] - moved[1]) / (2 * step), slope, delta=0.02 * slope)
        with self.assertRaisesRegex(amdimc.Error, "loc.5-to-5"):
            tiny().replay(weights, {"x.1": views[:, 0], "x.2": views[:, 1]})

    def test_probe(self):
        probe = tiny().probe(trained(), head="knn", limit=20)
        self.assertEqual((probe["head"], probe["images"]), ("knn", 2000))
        self.assertTrue(0.1 < probe["low"] < probe["accuracy"] < probe["high"] < 1)
        self.assertNotEqual(tiny().probe(untrained=True, limit=20)["accuracy"], probe["accuracy"])

    def test_bench_and_others(self):
        self.assertGreater(tiny().bench(steps=2)["images_per_second"], 0)
        self.assertIn("march", tiny()("info"))
        with self.assertRaisesRegex(amdimc.Error, "none: No such file"):
            tiny().probe(place / "none")
        with self.assertRaisesRegex(amdimc.Error, "nowhere"):
            tiny().views(place / "nowhere")

    def test_a_command_that_is_killed(self):
        path = place / "dies"
        path.write_text("#!/bin/sh\necho working >&2\nkill -9 $$\n")
        path.chmod(0o755)
        with self.assertRaisesRegex(amdimc.Error, "dies was ended by SIGKILL") as caught:
            amdimc.Program(path)("train")
        self.assertEqual(caught.exception.status, -9)
