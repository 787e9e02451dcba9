"""The model of an emitted module over several processes: PyTorch's DistributedDataParallel with gloo.

    python3 -m torch.distributed.run --standalone --nproc-per-node 2 bench/ddp.py MODEL.py check
    python3 -m torch.distributed.run --standalone --nproc-per-node 2 bench/ddp.py MODEL.py bench [--steps N] [--compile]

MODEL.py is what `amdimc --emit=pytorch` wrote. Each process takes its images of the batch. So that it stays one training with
that batch, targets of all processes are gathered with their gradients, and batch normalisation adds up its sums. `check` holds
loss and gradients against the module's own, in one process on the whole batch, and fails above TOLERANCE; `bench` times
steps, and does that first. Rank 0 prints one JSON object.
"""
import argparse
import importlib.util
import inspect
import json
import math
import os
import statistics
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

TOLERANCE = 1e-3
WARM_UP = 3  # steps that are not counted: DDP rebuilds its buckets after the first
EPS, MOMENTUM = 1e-5, 0.1  # batch normalisation's


def load_module(path):
    """The emitted module, and BatchNorm in it in two halves between which processes meet."""
    spec = importlib.util.spec_from_file_location('model', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- meetings ----------------------------------------------------------------

class Gather(torch.autograd.Function):
    """The rows of all processes; a row's gradient is the sum of what it has in each."""

    @staticmethod
    def forward(ctx, own):
        every = own.new_empty((dist.get_world_size() * len(own), *own.shape[1:]))
        dist.all_gather_into_tensor(every, own.contiguous())
        return every

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


class Normalize(torch.autograd.Function):
    """Batch normalisation of each view by the statistics of all processes: (VIEWS * b, C, h, w)."""

    @staticmethod
    def forward(ctx, x, weight, bias, views):
        own = torch.stack([torch.stack(torch.var_mean(view, (0, 2, 3), correction=0)) for view in x.chunk(views)])
        every = own.new_empty((dist.get_world_size(), *own.shape))
        dist.all_gather_into_tensor(every.view(-1, *own.shape[1:]), own)
        mean = every[:, :, 1].mean(0)
        variance = (every[:, :, 0] + (every[:, :, 1] - mean).square()).mean(0)
        scale = (variance + EPS).rsqrt()
        y = torch.cat([F.batch_norm(view, m, v, weight, bias, eps=EPS)
                       for view, m, v in zip(x.chunk(views), mean, variance)])
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx, dy, _dmean, _dvariance):
        x, weight, mean, scale = ctx.saved_tensors
        views = len(mean)
        count = x.numel() // x.shape[1] // views * dist.get_world_size()
        own = torch.stack([torch.stack([d.sum((0, 2, 3)), (d * (v - m[:, None, None])).sum((0, 2, 3)) * s])
                           for d, v, m, s in zip(dy.chunk(views), x.chunk(views), mean, scale)])
        dbias, dweight = own.sum(0)
        dist.all_reduce(own)
        dx = []
        for d, v, m, s, (one, two) in zip(dy.chunk(views), x.chunk(views), mean, scale, own / count):
            slope, step = weight * s, two * s
            dx.append((d - (one - step * m)[:, None, None] - v * step[:, None, None]).mul_(slope[:, None, None]))
        return torch.cat(dx), dweight, dbias, None


# ---- the model ---------------------------------------------------------------

class Shared(torch.nn.Module):
    """A process's part of a step of `module`, whose mean over the processes is the whole batch's."""

    def __init__(self, module, model):
        super().__init__()
        self.module, self.model = module, model
        self.targets = {int(pair.split('-to-')[1]) for pair in module.WEIGHTS}
        self.meet_in_batchnorm()

    def meet_in_batchnorm(self):
        """Puts the meeting into the module's batch normalisations."""
        views = self.module.VIEWS

        def forward(layer, x):
            y, mean, variance = Normalize.apply(x, layer.weight, layer.bias, views)
            count = x.numel() // x.shape[1] // views * dist.get_world_size()
            with torch.no_grad():
                for m, v in zip(mean, variance):
                    layer.running_mean.lerp_(m, MOMENTUM)
                    layer.running_var.lerp_(v * (count / (count - 1)), MOMENTUM)
            return y

        self.module.BatchNorm.forward = forward

    def info_nce(self, source, target, location=None):
        """The module's, with the antecedents of this process and the targets of all."""
        images = torch.arange(len(source))
        location = torch.zeros_like(images) if location is None else location
        antecedents = source.flatten(2)[images, :, location]
        clip, dim = self.module.CLIP, self.module.DIM
        raw = F.conv2d(target, antecedents[:, :, None, None] / math.sqrt(dim))
        scores = clip * torch.tanh(raw / clip)
        own = images + dist.get_rank() * len(source)
        positive = scores[own, images].permute(1, 2, 0)
        mask = torch.arange(len(target))[:, None] == own
        negative = scores.masked_fill(mask[:, :, None, None], -math.inf).logsumexp((0, 2, 3))
        return torch.stack([F.softplus(negative - positive).mean(), raw.square().mean()])

    def forward(self, x, locations):
        module = self.module
        phi = {d: e.chunk(module.VIEWS) for d, e in self.model.embeddings(x).items()}
        targets = {d: [Gather.apply(view) for view in phi[d]] for d in self.targets}
        loss = 0
        for pair, weight in module.WEIGHTS.items():
            n, m = map(int, pair.split('-to-'))
            for view in range(module.VIEWS):
                location = locations[pair][view] if pair in locations else None
                term, squared = self.info_nce(phi[n][view], targets[m][module.VIEWS - 1 - view], location)
                loss = loss + (weight * term + module.PENALTY * squared) / module.VIEWS
        return loss


def share_of(module, x, locations):
    """This process's part of a whole batch."""
    size = module.BATCH // dist.get_world_size()
    mine = slice(dist.get_rank() * size, (dist.get_rank() + 1) * size)
    return (torch.cat([view[mine] for view in x.chunk(module.VIEWS)]).contiguous(memory_format=torch.channels_last),
            {pair: drawn[:, mine] for pair, drawn in locations.items()})


def make_model(module):
    """The same weights in every process; none zero, as those of conv2 are at first, so that every gradient counts."""
    torch.manual_seed(0)
    model = module.Model()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return model.to(memory_format=torch.channels_last)


def distribute(module, model):
    """DDP as its manual has it for speed: no buffers to broadcast, as all processes move the same running statistics."""
    names = inspect.signature(DistributedDataParallel.__init__).parameters
    sync = 'forward_sync_buffers' if 'forward_sync_buffers' in names else 'broadcast_buffers'
    return DistributedDataParallel(Shared(module, model), gradient_as_bucket_view=True, **{sync: False})


def worst_error(module):
    """Of the loss and every gradient, against the module's own in one process, in the Euclidean norm."""
    torch.manual_seed(1)
    x = torch.randn(module.VIEWS * module.BATCH, module.CHANNELS, module.SIZE, module.SIZE)
    locations = module.draw_locations(module.BATCH)
    whole = make_model(module)
    expected = whole(x, locations)['loss']
    expected.backward()
    shared = distribute(module, make_model(module))
    loss = shared(*share_of(module, x, locations))
    loss.backward()
    mean = loss.detach() / dist.get_world_size()
    dist.all_reduce(mean)
    errors = [abs(mean.item() - expected.item()) / expected.item()]
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in whole.parameters()))
    for has, (name, wants) in zip(shared.parameters(), whole.named_parameters()):
        # That of a bias before a batch normalisation is zero but for rounding.
        room = norm if name.endswith('shortcut.bias') else wants.grad.norm().item() + 1e-4 * norm
        errors.append((has.grad - wants.grad).norm().item() / room)
    return max(errors)


def peak_bytes():
    """The largest resident size of this process so far."""
    with open('/proc/self/status') as status:
        for line in status:
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) * 1024


def bench(module, args):
    """Seconds of a full training step of the whole batch, the median of `steps`."""
    torch.manual_seed(0)
    model = module.Model().to(memory_format=torch.channels_last)
    shared = distribute(module, model)
    optimizer = module.make_optimizer([{'params': list(model.parameters()), 'fused': True}])
    step = torch.compile(shared) if args.compile else shared
    x, locations = share_of(module, torch.randn(module.VIEWS * module.BATCH, module.CHANNELS, module.SIZE, module.SIZE),
                            module.draw_locations(module.BATCH))
    seconds = []
    for _ in range(WARM_UP + args.steps):
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = step(x, locations)
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - begun)
    peaks = torch.tensor([float(peak_bytes())])
    dist.all_reduce(peaks, dist.ReduceOp.MAX)
    median = statistics.median(seconds[WARM_UP:])
    return {'step_seconds': median, 'images_per_second': module.BATCH / median, 'peak_bytes': int(peaks)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('model')
    parser.add_argument('command', choices=['check', 'bench'])
    parser.add_argument('--steps', type=int, default=6)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--compile', action='store_true')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    dist.init_process_group('gloo')
    module = load_module(args.model)
    if args.command == 'check':
        error = worst_error(module)
        figures = {'worst_relative_error': error}
    else:
        error = 0
        figures = bench(module, args)
    if dist.get_rank() == 0:
        print(json.dumps(figures), flush=True)
    dist.destroy_process_group()
    if error > TOLERANCE:
        sys.exit(f'bench/ddp.py: loss or a gradient is off by {error:.2g} of its norm, more than {TOLERANCE}')


if __name__ == '__main__':
    main()
