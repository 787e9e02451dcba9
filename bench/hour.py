"""What the same model learns in PyTorch in the same time, on the same views from the same initial weights.

    amdimc SPEC.yaml --emit=pytorch -o model.py
    amdimc SPEC.yaml --emit=library -o library && make -C library
    python3 bench/hour.py model.py library --data cifar-10-batches-bin --out weights.safetensors --warmup STEPS --cosine SHARE

The emitted module is trained by the spec's optimizer for as many steps as fit in the time, by their median measured beforehand; the
module has no schedule, so the spec's warm-up and cosine are given. Views come from the library, which makes those of `train
--seed`; making them does not count. `PROGRAM probe --weights weights.safetensors` says what was learnt. Prints one JSON object.
"""
import argparse
import importlib.util
import json
import math
import pathlib
import statistics
import sys
import time

import numpy as np
import torch

WARM_UP, TIMED = 5, 30  # steps before any training: compiling, then the clock
PICTURE = 1 + 3 * 32 * 32  # bytes of a label and a picture of CIFAR-10's binary release


def load_module(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_pictures(folder):
    """The training pictures, uint8 (N, 32, 32, 3), in the order of the files."""
    files = sorted(pathlib.Path(folder).rglob('data_batch_?.bin'))
    if len(files) != 5:
        sys.exit(f'{folder}: not the binary release of CIFAR-10')
    rows = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, PICTURE) for file in files])
    return np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def find_views(module, library):
    """Where the library's work memory holds the views: (VIEWS * BATCH, SIZE, SIZE, CHANNELS)."""
    shape = (module.CHANNELS, module.SIZE, module.SIZE)
    ramp = np.arange(1, 1 + math.prod(shape), dtype=np.float32).reshape(shape)
    lies = ramp.transpose(1, 2, 0).ravel()
    work = library.work.view(np.float32)
    library.put_float(0, 0, ramp)
    begin = next(i for i in np.flatnonzero(work == lies[0]) if np.array_equal(work[i:i + lies.size], lies))
    count = module.VIEWS * module.BATCH
    views = work[begin:begin + count * lies.size].reshape(count, *shape[1:], shape[0])
    library.put_float(module.VIEWS - 1, module.BATCH - 1, ramp)
    assert np.array_equal(views[-1].ravel(), lies)
    return views


class Trainer:
    """The module, its optimizer and what it is compiled to."""

    def __init__(self, module, args):
        self.module, self.autocast = module, args.autocast
        self.model = module.Model().to(memory_format=torch.channels_last)
        self.fused = args.fused or None
        self.forward = torch.compile(self.model, mode=args.compile) if args.compile else self.model

    def begin(self, tensors):
        """Weights as they are given, moments anew."""
        self.model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        self.optimizer = self.module.make_optimizer([{'params': list(self.model.parameters()), 'fused': self.fused}])
        self.rate = self.optimizer.param_groups[0]['lr']

    def step(self, x):
        """A step on views (VIEWS * BATCH, CHANNELS, SIZE, SIZE); the seconds that it took."""
        begun = time.perf_counter()
        locations = self.module.draw_locations(self.module.BATCH)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast('cpu', torch.bfloat16, enabled=self.autocast):
            loss = self.forward(x, locations)['loss']
        loss.backward()
        self.optimizer.step()
        return time.perf_counter() - begun


def measure(trainer, module):
    x = torch.randn(module.VIEWS * module.BATCH, module.CHANNELS, module.SIZE, module.SIZE)
    x = x.contiguous(memory_format=torch.channels_last)
    return statistics.median([trainer.step(x) for _ in range(WARM_UP + TIMED)][WARM_UP:])


def share_of_rate(step, steps, warm_up, least):
    """Warm-up, then a half cosine towards `least` of the rate (docs/language.md, schedule)."""
    if step < warm_up:
        return (step + 1) / warm_up
    return least + (1 - least) / 2 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


def train(trainer, library, pictures, steps, args):
    batch, views = trainer.module.BATCH, find_views(trainer.module, library)
    order, seconds, each = np.random.default_rng(args.seed), 0, len(pictures) // trainer.module.BATCH
    for step in range(steps):
        if step % each == 0:
            shuffled = order.permutation(len(pictures))
            print(f'step {step} of {steps}, {seconds:.0f} s', file=sys.stderr)
        first = step % each * batch
        for place, number in enumerate(shuffled[first:first + batch]):
            library.put(place, pictures[number], args.seed, step // each, int(number))
        for group in trainer.optimizer.param_groups:
            group['lr'] = trainer.rate * share_of_rate(step, steps, args.warmup, args.cosine)
        seconds += trainer.step(torch.from_numpy(views.copy()).permute(0, 3, 1, 2))
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('model')
    parser.add_argument('library')
    parser.add_argument('--data', required=True)
    parser.add_argument('--out', required=True)
    parser.add_argument('--seconds', type=float, default=3600)
    parser.add_argument('--steps', type=int, help='in place of as many as fit in the time')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--warmup', type=int, required=True, help='steps, as in the spec')
    parser.add_argument('--cosine', type=float, required=True, help='as in the spec')
    parser.add_argument('--compile', nargs='?', const='default', choices=['default', 'max-autotune'])
    parser.add_argument('--autocast', action='store_true')
    parser.add_argument('--fused', action='store_true')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    module, folder = load_module(args.model, 'model'), pathlib.Path(args.library)
    library = load_module(next(folder.glob('*.py')), 'library').Model(seed=args.seed)
    trainer = Trainer(module, args)
    trainer.begin(library.tensors())
    seconds = measure(trainer, module)
    trainer.begin(library.tensors())
    steps = args.steps or int(args.seconds / seconds)
    took = train(trainer, library, read_pictures(args.data), steps, args)
    trainer.model.save(args.out)
    print(json.dumps({'steps': steps, 'pictures': steps * module.BATCH, 'seconds': took, 'measured_step_seconds': seconds,
                      'images_per_second': steps * module.BATCH / took, 'threads': args.threads}))


main()
