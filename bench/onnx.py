"""onnx.py MODEL.onnx: pictures a second that ONNX Runtime encodes, one by one, on one thread: the median of several rounds."""
import sys
import time

import numpy
import onnxruntime

ROUNDS = 15

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
shape = [1] + session.get_inputs()[0].shape[1:]
picture = {"x": (numpy.arange(numpy.prod(shape)) * 37 % 251 / 255).reshape(shape).astype(numpy.float32)}


def seconds_of(pictures):
    begun = time.perf_counter()
    for _ in range(pictures):
        session.run(None, picture)
    return time.perf_counter() - begun


seconds_of(5)
pictures = max(1, int(0.1 / (seconds_of(2) / 2)) + 1)
print(f"{numpy.median([pictures / seconds_of(pictures) for _ in range(ROUNDS)]):.1f}")
