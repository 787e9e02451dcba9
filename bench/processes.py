"""What bench/ranks and bench/cluster-model share: compiling specs for ranks, running them over processes, what they send."""
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

OPEN_MPI = {'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}
# What has Open MPI send all bytes by the loopback, and none by shared memory.
TCP = '--mca pml ob1 --mca btl self,tcp --mca btl_tcp_if_include lo --mca oob_tcp_if_include lo'.split()
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def fail(text):
    sys.exit(f'{os.path.relpath(sys.argv[0])}: {text}')


def run(command, **options):
    """The standard output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **OPEN_MPI}, **options)
    if done.returncode != 0:
        fail(f'`{" ".join(command)}` failed with status {done.returncode}:\n{done.stderr[-1000:]}')
    return done.stdout


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


def is_open_mpi():
    return 'Open MPI' in run(['mpirun', '--version'])


def mpirun(processes, *options):
    """The words before a program for it to run as so many processes of this machine."""
    if not shutil.which('mpirun'):
        fail('no mpirun; `make setup-mpi` installs one')
    if is_open_mpi():
        return ['mpirun', '-n', str(processes), '--oversubscribe', '--bind-to', 'none', *options]
    return ['mpirun', '-n', str(processes), '-bind-to', 'none', *options]


def median(samples, field):
    return statistics.median(sample[field] for sample in samples)


def machine():
    with open('/proc/cpuinfo') as cpuinfo:
        names = [line.split(':', 1)[1].strip() for line in cpuinfo if line.startswith('model name')]
    return f'{names[0] if names else "unknown processor"}, {os.cpu_count()} processors'


class Program:
    """A spec compiled for so many ranks."""

    def __init__(self, build, work, spec, ranks, options=(), name=None):
        self.name = name or os.path.splitext(os.path.basename(spec))[0]
        self.ranks = ranks
        self.path = f'{work}/{self.name}-{ranks}'
        self.options = [spec, '--ranks', str(ranks), *options]
        self.build = build

    def compile(self):
        run([f'{self.build}/amdimc', *self.options, '-o', self.path, '--gen-dir', f'{self.path}.c', '--quiet'])
        return self

    def explained(self):
        return json.loads(run([f'{self.build}/amdimc', '--explain=json', *self.options]))

    def bench(self, steps, threads, processes=1, options=()):
        launcher = mpirun(processes, *options) if processes > 1 else []
        return last_json(run([*launcher, os.path.abspath(self.path), 'bench', '--steps', str(steps), '--threads', str(threads),
                              '--json']))

    def sent(self):
        """What each of `ranks` processes sends in a step, as --explain says: its object "ranks"; of one share nothing."""
        return self.explained()['ranks'] if self.ranks > 1 else None


def peak_of(command):
    """Runs a command; its status, and the largest resident size that its process had."""
    process, peak = subprocess.Popen(command, stdout=subprocess.DEVNULL), 0
    while process.poll() is None:
        with open(f'/proc/{process.pid}/status') as status:
            told = [line.split()[1] for line in status if line.startswith('VmHWM:')]
        peak = int(told[0]) * 1024 if told else peak
        time.sleep(0.01)
    return process.returncode, peak
