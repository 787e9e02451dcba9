"""onnx_runtime.py MODEL.onnx FEATURES.npy PICTURES: onnx's checker takes the file, and ONNX Runtime gives the features of the
pictures, bytes (N, side, side, 3), all at once and one by one."""
import sys

import numpy
import onnx
import onnxruntime

onnx.checker.check_model(onnx.load(sys.argv[1]), full_check=True)
want = numpy.load(sys.argv[2])
pixels = numpy.fromfile(sys.argv[3], numpy.uint8)
side = round((len(pixels) / len(want) / 3) ** 0.5)
pictures = (pixels.reshape(len(want), side, side, 3).transpose(0, 3, 1, 2) / 255).astype(numpy.float32)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
together = session.run(None, {"x": pictures})[0]
alone = numpy.concatenate([session.run(None, {"x": picture[None]})[0] for picture in pictures])
print(sys.argv[1], together.shape, abs(together - want).max(), abs(alone - want).max())
assert together.shape == want.shape
assert abs(together - want).max() < 1e-4
assert abs(alone - together).max() < 1e-4
