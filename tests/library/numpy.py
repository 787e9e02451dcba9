"""numpy.py FOLDER WEIGHTS FEATURES.npy: the Python module of a library agrees with the program's `encode`, and with itself."""
import importlib
import os
import resource
import signal
import sys

# A script's own folder comes first, where this file would be taken for the library of its name.
sys.path[0] = sys.argv[1]
import numpy

model = importlib.import_module("photos")
m = model.Model()
m.load(sys.argv[2])
want = numpy.load(sys.argv[3])
side = model.SIZE
y, x, c = numpy.mgrid[0:side, 0:side, 0:3]
pictures = numpy.stack([
    (127.5 + 127 * numpy.sin(0.2 * (n + 1) * (x + c) + 0.15 * y * (n % 3 - 1) + n)).astype(numpy.uint8) for n in range(len(want))])
features = m.encode(pictures)
assert features.shape == want.shape
assert numpy.linalg.norm(features - want) < 1e-3 * numpy.linalg.norm(want)  # sines round pixels their own way

# What is saved is loaded again, and encodes the same; the file keeps its mode.
m.save("saved.safetensors")
os.chmod("saved.safetensors", 0o640)
m.save("saved.safetensors")
assert os.stat("saved.safetensors").st_mode & 0o777 == 0o640
other = model.Model(seed=2)
other.load("saved.safetensors")
assert (other.encode(pictures) == features).all()

# What cannot be written whole leaves the file that was there; what is no such file is told by its name.
before = open("saved.safetensors", "rb").read()
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
try:
    m.save("saved.safetensors")
    raise AssertionError("written beyond the limit")
except OSError:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
assert open("saved.safetensors", "rb").read() == before
assert not [name for name in os.listdir() if name.endswith(".amdim-tmp")]
with open("cut.safetensors", "wb") as cut:
    cut.write(before[:len(before) // 2])
for name in "cut.safetensors", __file__:
    try:
        other.load(name)
    except ValueError as error:
        assert str(error).startswith(name + ": not a safetensors file"), error
    else:
        raise AssertionError(f"{name} was loaded")

# A gradient is what the loss changes by.
for place in range(model.BATCH):
    m.put(place, pictures[place], 1, 0, place)
locations = {pair: numpy.zeros((model.VIEWS, model.BATCH), int) for pair in model.LOCATED}
result, gradients = m.gradients(locations)
assert set(gradients) == {name for name in m.shapes if "running_" not in name}
weights = m.tensors()
whole = numpy.sqrt(sum((g.astype(float) ** 2).sum() for g in gradients.values()))
step = 1e-2 / whole
losses = []
for sign in (1, -1):
    m.set({name: weights[name] + numpy.float32(sign * step / whole) * gradients.get(name, 0) for name in weights})
    losses.append(m.gradients(locations)[0].loss)
m.set(weights)
assert abs((losses[0] - losses[1]) / (2 * step) / whole - 1) < 0.05, (losses, step, whole)

before = result.loss
for number in range(20):
    result = m.step(1, number, 1e-3)
assert result.loss < before
try:
    m.encode(pictures.astype(numpy.float64))
    raise SystemExit("took float64")
except ValueError:
    pass
try:
    m.put(model.BATCH, pictures[0], 1, 0, 0)
    raise SystemExit("took a place beyond the batch")
except IndexError:
    pass
