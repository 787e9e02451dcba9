"""Files of tensors: read, written, and known by their digest."""

import json
import unittest

import numpy as np

import amdimc
from amdimc import tensors
from workshop import place, tiny, trained


def handmade(header, data=b""):
    """A file of this header and these data."""
    path = place / "handmade.safetensors"
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


class Digest(unittest.TestCase):
    # The sums that xxHash's own tests and every other writer of it give.
    KNOWN = {b"": 0xEF46DB3751D8E999, b"a": 0xD24EC4F1A98C6E5B, b"abc": 0x44BC2CF5AD770999,
             b"Nobody inspects the spammish repetition": 0xFBCEA83C8A378BF1}

    def test_known_sums(self):
        for data, digest in self.KNOWN.items():
            self.assertEqual(tensors.xxh64_plain(data), digest)
            self.assertEqual(tensors.xxh64(data), digest)

    def test_of_every_length(self):
        if not tensors._xxhash:
            self.skipTest("libxxhash is not here to compare with")
        data = np.random.default_rng(1).bytes(1000)
        for length in [*range(100), 999, 1000]:
            self.assertEqual(tensors.xxh64_plain(data[:length]), tensors.xxh64(data[:length]), length)


class Files(unittest.TestCase):
    def test_what_is_saved_is_loaded(self):
        path = place / "all.safetensors"
        random = np.random.default_rng(2)
        saved = {f"tensor.{dtype}": (100 * random.random((3, 2))).astype(dtype)
                 for dtype in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")}
        saved.update(empty=np.zeros((0, 3), np.float32), scalar=np.float32(7), turned=saved["tensor.f4"].T,
                     swapped=saved["tensor.f4"].astype(">f4"), ünicode=np.arange(3))
        amdimc.save(path, saved, {"format": "pt", "a": 'quote "'})
        loaded = amdimc.load(path)
        self.assertEqual(set(loaded), set(saved))
        for name, array in saved.items():
            self.assertEqual(loaded[name].shape, np.shape(array))
            np.testing.assert_array_equal(loaded[name], array)
            self.assertTrue(loaded[name].flags.writeable)
        self.assertEqual(amdimc.load_metadata(path), {"format": "pt", "a": 'quote "'})

    def test_bfloat16_is_read_as_float32(self):
        data = np.array([0x3F80, 0xC000, 0x7F80], "<u2").tobytes()  # 1, -2, infinity
        loaded = amdimc.load(handmade({"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}, data))
        np.testing.assert_array_equal(loaded["x"], np.array([1, -2, np.inf], np.float32))

    def test_what_is_no_file_of_tensors_is_refused(self):
        good = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        wrong = {"cut short": {**good, "data_offsets": [0, 12]}, "of another size": {**good, "shape": [3]},
                 "of no type": {**good, "dtype": "F7"}, "backwards": {**good, "data_offsets": [8, 0]},
                 "before the data": {**good, "data_offsets": [-8, 0]}, "of a half": {**good, "shape": [2.5]},
                 "no object": [1], "nothing": {}}
        for what, entry in wrong.items():
            with self.subTest(what), self.assertRaisesRegex(ValueError, "handmade.safetensors: tensor x: "):
                amdimc.load(handmade({"x": entry}, bytes(8)))
        for what in (b"", b"no JSON", b"[]", b"\xff"):
            with self.subTest(what), self.assertRaisesRegex(ValueError, "not a safetensors file"):
                amdimc.load(handmade(what))
        (place / "short").write_bytes(b"\x10\x00\x00")
        with self.assertRaisesRegex(ValueError, "not a safetensors file"):
            amdimc.load(place / "short")

    def test_a_type_that_no_file_has_is_refused_and_what_was_there_stays(self):
        path = place / "kept.safetensors"
        amdimc.save(path, {"x": np.zeros(2)})
        before = path.read_bytes()
        with self.assertRaisesRegex(TypeError, "tensor y is of complex128"):
            amdimc.save(path, {"y": np.zeros(2, complex)})
        self.assertEqual(path.read_bytes(), before)
        self.assertEqual([p.name for p in place.glob(".*")], [])


class Checkpoints(unittest.TestCase):
    def test_the_program_s_digest_fits(self):
        loaded = amdimc.load(trained().checkpoint)
        self.assertNotIn("digest", loaded)
        self.assertEqual(loaded["progress"][:2].tolist(), [3, 40])
        self.assertEqual(amdimc.load_metadata(trained().checkpoint)["name"], "tiny")

    def test_a_damaged_one_is_refused(self):
        data = bytearray(trained().checkpoint.read_bytes())
        data[len(data) // 2] ^= 1
        path = place / "damaged.safetensors"
        path.write_bytes(data)
        with self.assertRaisesRegex(ValueError, "damaged.safetensors: damaged: .*digest"):
            amdimc.load(path)
        self.assertIn("progress", amdimc.load(path, check=False))

    def test_one_without_its_digest_is_refused(self):
        path = place / "unsigned.safetensors"
        path.write_bytes(trained().checkpoint.read_bytes().replace(b'"digest":{"dtype"', b'"digesd":{"dtype"'))
        with self.assertRaisesRegex(ValueError, "digest"):
            amdimc.load(path)

    def test_a_changed_one_is_a_checkpoint_for_the_program(self):
        source = trained().checkpoint
        state = amdimc.load(source)
        name = "encoder.0.bias"
        state[name] = state[name] + 1
        run = place / "changed"
        run.mkdir()
        amdimc.save(run / "last.safetensors", state, amdimc.load_metadata(source))
        again = tiny().train(run, steps=40, resume=True, quiet=True)
        np.testing.assert_array_equal(again.weights[name], state[name])
        amdimc.save(run / "last.safetensors", state, {**amdimc.load_metadata(source), "format": "pt"})
        tiny().train(run, steps=41, resume=True, quiet=True)
