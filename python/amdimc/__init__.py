"""amdimc from Python: compile a spec, train, encode and probe by the programs that come of it, and have what they write as numpy.

    import amdimc
    program = amdimc.compile("specs/tiny.yaml", "tiny")
    run = program.train("run", epochs=2)
    features = program.encode(run)

docs/python.md is the page on it. Needs numpy; pandas and matplotlib are used where they are asked for.
"""

from .command import Error, find_compiler
from .data import save_pictures
from .features import Features, Neighbours, load_features
from .program import Program, compile, explain, sweep
from .run import Report, Run, compare
from .show import Chart, Gallery, png
from .tensors import load, load_metadata, save

__all__ = ["Chart", "Error", "Features", "Gallery", "Neighbours", "Program", "Report", "Run", "compare", "compile",
           "explain", "find_compiler", "load", "load_features", "load_metadata", "png", "save", "save_pictures", "sweep"]
