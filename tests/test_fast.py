"""FastRNN computes what ScratchRNN and d2l compute: logits, states, gradients, and the losses of a training."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rnnlib import text, training
from rnnlib.d2l_bridge import load_d2l, scratch_model
from rnnlib.fast import FastRNN
from rnnlib.scratch import ScratchRNN

sizes = st.integers(1, 6)
SENTENCE = "the time traveller for so it will be convenient to speak of him was expounding a recondite matter to us "


def twins(V, H, seed=0, biases=1.0, **options):
    """Return a ScratchRNN and a FastRNN with the same weights, the biases drawn with this standard deviation."""
    torch.manual_seed(seed)
    slow = ScratchRNN(V, H, **options)
    for b in (slow.params[2], slow.params[4]):
        b.data.normal_(std=biases)
    fast = FastRNN(V, H, **options)
    fast.load_state_dict(slow.state_dict())
    return slow, fast


@settings(derandomize=True, deadline=None, max_examples=30)
@given(V=sizes, H=sizes, N=sizes, T=sizes, seed=st.integers(0, 99))
@example(V=1, H=1, N=1, T=1, seed=0)
@example(V=28, H=33, N=4, T=35, seed=0)
def test_is_the_loop_of_the_book(V, H, N, T, seed):
    """Logits, last state and every gradient, that of the first state included."""
    models = twins(V, H, seed, dtype=torch.float64, sigma=H**-0.5)
    ids, first = torch.randint(V, (N, T)), torch.randn(N, H, dtype=torch.float64)
    towards = torch.randn(T * N, V, dtype=torch.float64), torch.randn(N, H, dtype=torch.float64)
    results = []
    for model in models:
        H_0 = first.clone().requires_grad_()
        outputs = model(ids, H_0)
        torch.autograd.backward(outputs, towards)
        results.append([*outputs, H_0.grad, *(p.grad for p in model.params)])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_gradients_are_those_of_finite_differences():
    _, model = twins(3, 4, dtype=torch.float64, sigma=0.5)
    ids, H = torch.randint(3, (2, 5)), torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in model.named_parameters()]

    def run(H, *params):
        return torch.func.functional_call(model, dict(zip(names, params, strict=True)), (ids, H))

    assert torch.autograd.gradcheck(run, (H, *model.params))


def test_tanh_of_any_number():
    """A state is tanh of its input for numbers of any size, to the last digit of a float32."""
    model = FastRNN(9, 1)
    drive = [0.0, 1e-9, -1e-3, 0.5, -3.0, 40.0, -1e38, float("inf"), -float("inf")]
    model.params[0].data = torch.tensor(drive)[:, None]  # W_xh: token i adds the number i
    _, state = model(torch.arange(9)[:, None])
    torch.testing.assert_close(state[:, 0], torch.tanh(torch.tensor(drive)), rtol=0, atol=1.2e-7)


@pytest.mark.parametrize(("num_hiddens", "input_scale"), [(64, 1.0), (128, 0.01)])
def test_trains_step_for_step_as_d2l_and_as_the_loop(monkeypatch, num_hiddens, input_scale):
    """The same weights and minibatches give the same losses in 20 steps, with a carried state and clipping."""
    corpus = text.Vocab(SENTENCE)[(list(SENTENCE) * 9)[: 20 * 4 * 10 + 1]]
    batches = text.sequential_batches(corpus, 4, 10, offset=0)
    slow, fast = twins(28, num_hiddens, biases=0.0, input_scale=input_scale)
    rivals = {"the loop": lambda: train(slow, batches), "fast": lambda: train(fast, batches)}
    try:
        d2l = load_d2l()
    except ImportError:  # tests/test_d2l_bridge.py sees to it that the reason is a good one
        d2l = None
    else:
        theirs = scratch_model(28, num_hiddens, torch.device("cpu"))
        for p, q in zip(slow.params, theirs.params, strict=True):
            q.data.copy_(p.data)
        rivals["d2l"] = lambda: train_as_d2l(d2l, theirs, batches)
    losses, cross_entropy = [], F.cross_entropy

    def recorded(logits, targets):
        losses.append(cross_entropy(logits, targets))
        return losses[-1]

    monkeypatch.setattr(F, "cross_entropy", recorded)
    curves = {}
    for name, run in rivals.items():
        losses.clear()
        run()
        curves[name] = torch.stack(losses).detach()
    fastest = curves.pop("fast")
    assert len(fastest) == 20 and fastest[-1] < fastest[0] - 0.3, "something was learned"
    for curve in curves.values():
        torch.testing.assert_close(fastest, curve, rtol=1e-6, atol=1e-6)


def train(model, batches):
    training.train_epoch(model, batches, torch.optim.SGD(model.parameters(), lr=1.0), clip=1.0)


def train_as_d2l(d2l, net, batches):
    def updater(batch_size):
        d2l.sgd(net.params, 1.0, batch_size)

    d2l.train_epoch_ch8(net, batches, F.cross_entropy, updater, torch.device("cpu"), use_random_iter=False)


def test_a_state_is_not_changed_afterwards():
    """The returned state is the reader's own: no later run writes into it, and ids and weights stay as they were."""
    _, model = twins(5, 4)
    ids, weights = torch.randint(5, (2, 3)), copy.deepcopy(model.state_dict())
    _, state = model(ids)
    before = state.clone()
    logits, _ = model(ids, state)
    logits.sum().backward()
    assert torch.equal(state, before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_wrong_input_is_explained_as_by_the_loop():
    model = FastRNN(5, 4)
    with pytest.raises(ValueError, match=r"^id 5 is outside 0 to 4"):
        model(torch.tensor([[5]]))
    with pytest.raises(ValueError, match="call begin_state"):
        model(torch.tensor([[1], [2]]), torch.zeros(3, 4))
