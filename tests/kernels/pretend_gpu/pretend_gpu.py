"""A Jupyter kernel in which ``rnnlib.setup()`` returns a pretend GPU: a CPU that refuses what GPUs refuse.

A chapter that forgets a ``.to(device)`` passes on every machine without a GPU. Here it fails, as it would on CUDA. The
tensors of the device ``pretend`` wrap tensors of the CPU, and every operation on them comes past :func:`run`, which
looks where its arguments are. Refused are

- tensors of both devices in one operation, NumPy, and a CPU's generator for numbers drawn on the device;
- float64, which Apple's GPUs lack;
- what cuDNN refuses: a state that is not contiguous, and gradients of a recurrent layer in evaluation mode or of
  second order.

The device draws random numbers of its own, and its recurrent layers round to TF32 as cuDNN's do, so that no check can
rely on the CPU's numbers. It is slow, and it can't tell how fast a GPU is. PyTorch's own interface for such a device,
``_setup_privateuseone_for_python_backend``, is experimental.
"""

import functools

import torch
from torch.autograd.function import once_differentiable
from torch.nn.modules import rnn
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

DEVICE = torch.device("privateuseone:0")  # which is called pretend:0 once it is installed
RECURRENT = ("rnn_tanh", "rnn_relu", "lstm", "gru")
COPYING = {"_to_copy", "copy_", "_copy_from"}
INDEXING = {"index", "index_put_", "_index_put_impl_"}  # a GPU takes indices from the CPU, not vice versa
PACKING = {"_pack_padded_sequence", "_pack_padded_sequence_backward", "_pad_packed_sequence"}  # lengths are on the CPU
own = torch.Generator().manual_seed(1)  # the device's stream of random numbers
operations = torch.library.Library("aten", "IMPL")  # what is registered with a library lives as long as it does
all_others = torch.library.Library("_", "IMPL")


class OnDevice(torch.Tensor):
    """A tensor that says it is on the device; its numbers are in ``.inner``, on the CPU."""

    @staticmethod
    def __new__(cls, inner):
        if inner.dtype == torch.float64:
            raise TypeError("float64 on the device: Apple's GPUs can't do it")
        shape = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=DEVICE, **shape)

    def __init__(self, inner):
        self.inner = inner

    def __tensor_flatten__(self):
        return ["inner"], None

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return run(operation, *args, **(kwargs or {}))

    def __repr__(self):
        return f"{self.inner!r} on {DEVICE}"

    def tolist(self):
        return self.inner.tolist()

    def new_tensor(self, numbers, **options):
        return torch.tensor(numbers, dtype=options.get("dtype", self.dtype), device=DEVICE)

    def numpy(self, *args, **options):
        raise TypeError(f"can't convert a tensor on {DEVICE} to numpy: copy it with .cpu() first")

    __array__ = numpy


def on_device(x):
    return isinstance(x, OnDevice)


def inner(x):
    return x.inner if on_device(x) else x


def is_pretend(device):
    return device is not None and torch.device(device).type == DEVICE.type


def check_devices(name, args, tensors):
    """Refuse what a GPU would: tensors of two devices, but for numbers without a dimension and for indices."""
    here, elsewhere = [t for t in tensors if on_device(t)], [t for t in tensors if not on_device(t) and t.dim() > 0]
    if name in INDEXING:
        values = args[2:3] if "put" in name else ()
        elsewhere = [t for t in (args[0], *values) if not on_device(t) and t.dim() > 0]
    elif name in COPYING | PACKING:
        elsewhere = []
    if here and elsewhere:
        places = ", ".join(f"{tuple(t.shape)} on {t.device}" for t in tensors)
        raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got {places}")


def run(operation, *args, **kwargs):
    """Run an operation on the CPU, as if on the device."""
    name = operation.name().split("::")[1].split(".")[0]
    flat, spec = pytree.tree_flatten((args, kwargs))
    tensors = [x for x in flat if isinstance(x, torch.Tensor)]
    check_devices(name, args, tensors)
    result_here = any(map(on_device, tensors))
    if kwargs.get("device") is not None:
        result_here = is_pretend(kwargs["device"])
    plain_args, plain = pytree.tree_unflatten([inner(x) for x in flat], spec)
    if "device" in plain:
        plain["device"] = torch.device("cpu")
    if result_here and torch.Tag.nondeterministic_seeded in operation.tags:
        if kwargs.get("generator") is not None:
            raise RuntimeError(f"Expected a '{DEVICE.type}' device type for generator but found 'cpu'")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(torch.randint(2**31, (1,), generator=own)))
            result = operation(*plain_args, **plain)
    else:
        with torch.no_grad():
            result = operation(*plain_args, **plain)
    if result is None:  # lists of tensors, in place
        return None
    if operation._schema.is_mutable:  # in place
        changed = kwargs.get("out", args[0])
        if on_device(changed) and changed.shape != changed.inner.shape:
            raise NotImplementedError(f"{name} changes a shape in place: the pretend GPU can't")
        return changed
    if name == "_copy_from":
        return args[1]
    if name == "_pack_padded_sequence":
        return OnDevice(result[0]), result[1]  # the sizes of the batches stay on the CPU
    return pytree.tree_map_only(torch.Tensor, OnDevice, result) if result_here else result


class Cudnn(torch.autograd.Function):
    """A recurrent layer as cuDNN runs it: forward and backward are one operation each."""

    @staticmethod
    def forward(ctx, layer, rebuild, training, *tensors):
        """Run ``layer(*rebuild(tensors))`` with operands rounded to TF32."""
        with torch.enable_grad():
            operands = [tf32(inner(t)).requires_grad_(t.is_floating_point()) for t in tensors]
            results = layer(*rebuild(operands))
        ctx.operands, ctx.results, ctx.training = operands, results, training
        return tuple(OnDevice(result.detach()) for result in results)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        """Refuse in evaluation mode."""
        if not ctx.training:
            raise RuntimeError("cudnn RNN backward can only be called in training mode")
        sources = [t for t in ctx.operands if t.requires_grad]
        found = iter(torch.autograd.grad(ctx.results, sources, map(inner, gradients), allow_unused=True))
        found = [next(found) if t.requires_grad else None for t in ctx.operands]
        return None, None, None, *(None if g is None else OnDevice(g) for g in found)


def tf32(t):
    """Round to TF32's 10 bits; whole numbers stay."""
    t = t.detach().contiguous()
    if t.dtype != torch.float32:
        return t
    return ((t.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def as_cudnn(layer):
    """Make PyTorch's function for a recurrent layer one that runs as cuDNN would on the device.

    Its arguments are (inputs, states, weights, biases, layers, dropout, training, …), and for packed inputs
    (inputs, sizes of batches, states, weights, biases, layers, dropout, training, …).
    """

    def call(*args):
        flat, spec = pytree.tree_flatten(args)
        places = [i for i, x in enumerate(flat) if isinstance(x, torch.Tensor)]
        packed = isinstance(args[1], torch.Tensor) and not args[1].is_floating_point()
        states, training = args[1 + packed], args[6 + packed]
        states = [states] if isinstance(states, torch.Tensor) else list(states)
        here = {on_device(t) for t in [args[0], *states, *args[2 + packed]]}
        if here == {False}:
            return layer(*args)
        if len(here) > 1:
            raise RuntimeError("Input, hidden and parameter tensors are not at the same device")
        if not all(state.is_contiguous() for state in states):
            raise RuntimeError("rnn: hx is not contiguous")

        def rebuild(tensors):
            replaced = dict(zip(places, tensors, strict=True))
            return pytree.tree_unflatten([replaced.get(i, x) for i, x in enumerate(flat)], spec)

        return Cudnn.apply(layer, rebuild, training, *(flat[i] for i in places))

    return call


class Functions:
    """PyTorch's functions with the recurrent layers replaced."""

    def __init__(self, functions):
        self.functions = functions

    def __getattr__(self, name):
        function = getattr(self.functions, name)
        return as_cudnn(function) if name in RECURRENT else function


class Backend(_DummyBackendModule):
    """What PyTorch asks a device for: seeds."""

    def manual_seed_all(self, seed):
        own.manual_seed(seed + 1)

    def get_rng_state(self, device=None):
        return own.get_state()

    def set_rng_state(self, state, device=None):
        own.set_state(state)


def from_cpu(make):
    """Let a function such as ``torch.tensor`` make its tensor on the CPU and copy it to the device."""

    def call(numbers, *args, device=None, **options):
        if is_pretend(device):
            return make(numbers, *args, **options).to(device)
        return make(numbers, *args, device=device, **options)

    return call


def install():
    """Register the device and make it the one that ``rnnlib.setup()`` finds."""
    import rnnlib.environment

    _setup_privateuseone_for_python_backend("pretend", backend_module=Backend())
    for overload in ("default", "start", "start_step"):  # PyTorch's own would change a shape in place
        arange = getattr(torch.ops.aten.arange, overload)
        operations.impl(arange, functools.partial(run, arange), "PrivateUse1")
    all_others.fallback(run, "PrivateUse1")
    rnn._VF = Functions(rnn._VF)
    torch.tensor, torch.as_tensor = from_cpu(torch.tensor), from_cpu(torch.as_tensor)
    rnnlib.environment.best_device = lambda: DEVICE


if __name__ == "__main__":
    from ipykernel.kernelapp import launch_new_instance

    install()
    launch_new_instance()
