"""Chapter 11: loop, scan, parallel and recurrent forms are one, also with a state handed over in the middle."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import recurrences
from rnnlib.recurrences import Block, GRUMixer, LocalAttention, MinGRU, MixedModel, StepEmbedding, TimeMixing

T, N, D = 11, 3, 8


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64)


@pytest.fixture
def stretch():
    return torch.rand(T, N, D, dtype=torch.float64), draw(T, N, D), draw(N, D)


def test_recurrence_by_hand():
    a, b = torch.tensor([[0.5], [2.0], [0.0]]), torch.tensor([[1.0], [1.0], [3.0]])
    assert recurrences.linear_recurrence(a, b, torch.tensor([4.0])).tolist() == [[3.0], [7.0], [3.0]]


def test_loop_and_scan_are_equal_with_their_gradients(stretch):
    stretch = [part.requires_grad_() for part in stretch]
    loop, scan = recurrences.linear_recurrence(*stretch), recurrences.doubling_scan(*stretch)
    assert (loop - scan).abs().max() < 1e-12
    pairs = zip(*(torch.autograd.grad((out**3).sum(), stretch) for out in (loop, scan)), strict=True)
    assert max((one - other).abs().max() for one, other in pairs) < 1e-10


def test_loop_and_scan_in_single_precision(stretch):
    single = [part.float() for part in stretch]
    assert (recurrences.linear_recurrence(*single) - recurrences.doubling_scan(*single)).abs().max() < 1e-5


@pytest.mark.parametrize("num_steps", [1, 2, 3, 8, 9])
def test_scan_for_any_length(num_steps):
    stretch = torch.rand(num_steps, 2), torch.rand(num_steps, 2), torch.rand(2)
    assert torch.allclose(recurrences.doubling_scan(*stretch), recurrences.linear_recurrence(*stretch), atol=1e-6)


def test_scan_goes_on_from_a_state(stretch):
    a, b, h = stretch
    whole = recurrences.linear_recurrence(a, b, h)
    for cut in (1, 4, T - 1):
        first = recurrences.doubling_scan(a[:cut], b[:cut], h)
        second = recurrences.doubling_scan(a[cut:], b[cut:], first[-1])
        assert (torch.cat([first, second]) - whole).abs().max() < 1e-12


def test_combine_is_associative_and_not_commutative():
    one, two, three = ((draw(5), draw(5)) for _ in range(3))
    left = recurrences.combine(recurrences.combine(one, two), three)
    right = recurrences.combine(one, recurrences.combine(two, three))
    for a, b in zip(left, right, strict=True):
        assert (a - b).abs().max() < 1e-12
    assert not torch.allclose(recurrences.combine(one, two)[1], recurrences.combine(two, one)[1])


def test_min_gru_by_its_paper():
    """h_t = (1 - z_t) h_(t-1) + z_t h~_t, with z and h~ from the input alone (Feng et al., 2024, section 3.1)."""
    torch.manual_seed(0)
    layer = MinGRU(D).double()
    inputs, h = draw(T, N, D), draw(N, D)
    got, last = layer(inputs, h)
    for t, X in enumerate(inputs):
        z = 1 / (1 + torch.exp(-(X @ layer.gate.weight.T + layer.gate.bias)))
        h = (1 - z) * h + z * (X @ layer.candidate.weight.T + layer.candidate.bias)
        assert (got[t] - h).abs().max() < 1e-12
    assert torch.equal(last, got[-1])


def empty_average():
    zeros = torch.zeros(N, D, dtype=torch.float64)
    return zeros, zeros, torch.full_like(zeros, -torch.inf)


def wkv_by_its_paper(k, v, decay, bonus):
    """The average as Peng et al. (2023) write it: two loops, nothing that guards against overflow."""
    outputs = []
    for t in range(len(k)):
        total, weight = torch.exp(bonus + k[t]) * v[t], torch.exp(bonus + k[t])
        for i in range(t):
            share = torch.exp(-(t - 1 - i) * decay + k[i])
            total, weight = total + share * v[i], weight + share
        outputs.append(total / weight)
    return torch.stack(outputs)


def test_wkv_in_three_forms():
    k, v, decay, bonus = draw(T, N, D), draw(T, N, D), torch.rand(D, dtype=torch.float64), draw(D)
    expected = wkv_by_its_paper(k, v, decay, bonus)
    assert (recurrences.wkv(k, v, empty_average(), decay, bonus)[0] - expected).abs().max() < 1e-12
    assert (recurrences.wkv_parallel(k, v, decay, bonus) - expected).abs().max() < 1e-12
    single = [part.float() for part in (k, v, decay, bonus)]
    state = [part.float() for part in empty_average()]
    both = recurrences.wkv(*single[:2], state, *single[2:])[0], recurrences.wkv_parallel(*single)
    assert (both[0] - both[1]).abs().max() < 1e-6


def test_wkv_goes_on_from_a_state():
    k, v, decay, bonus = draw(T, N, D), draw(T, N, D), torch.rand(D, dtype=torch.float64), draw(D)
    expected = recurrences.wkv_parallel(k, v, decay, bonus)
    _, state = recurrences.wkv(k[:4], v[:4], empty_average(), decay, bonus)
    rest, _ = recurrences.wkv(k[4:], v[4:], state, decay, bonus)
    assert (rest - expected[4:]).abs().max() < 1e-12


def test_wkv_does_not_overflow():
    k, v = 500 * draw(T, N, D).float(), draw(T, N, D).float()
    state = [part.float() for part in empty_average()]
    decay = torch.rand(D)
    outputs, _ = recurrences.wkv(k, v, state, decay, torch.zeros(D))
    assert torch.allclose(outputs, recurrences.wkv_parallel(k, v, decay, torch.zeros(D)), atol=1e-3)
    assert not torch.isfinite(k.exp()).all(), "plain exponentials would have overflown"


def test_wkv_gradients_are_those_of_the_parallel_form():
    given = [draw(T, N, D), draw(T, N, D), torch.rand(D, dtype=torch.float64), draw(D)]
    given = [part.requires_grad_() for part in given]
    k, v, decay, bonus = given
    outputs = recurrences.wkv(k, v, empty_average(), decay, bonus)[0], recurrences.wkv_parallel(k, v, decay, bonus)
    pairs = zip(*(torch.autograd.grad((out**3).sum(), given) for out in outputs), strict=True)
    assert max((one - other).abs().max() for one, other in pairs) < 1e-10


PARTS = {
    "minGRU": lambda: [Block(MinGRU(D), D)],
    "RWKV-like": lambda: [Block(TimeMixing(D), D), Block(TimeMixing(D), D)],
    "GRU": lambda: [Block(GRUMixer(D, D), D)],
    "position embeddings": lambda: [StepEmbedding(D, 32), Block(LocalAttention(D, 100), D)],
    "a GRU in their place": lambda: [GRUMixer(D, D), Block(LocalAttention(D, 100), D)],
    "local attention over a state": lambda: [Block(MinGRU(D), D), Block(LocalAttention(D, 4), D)],
}


@pytest.mark.parametrize("name", PARTS)
def test_all_at_once_is_step_by_step(name):
    torch.manual_seed(0)
    model, ids = MixedModel(10, D, *PARTS[name]()).double(), torch.randint(10, (N, T))
    whole, _ = model(ids)
    assert whole.shape == (T * N, 10)
    state, steps = None, []
    for t in range(T):
        logits, state = model(ids[:, t : t + 1], state)
        steps.append(logits)
    assert (torch.cat(steps) - whole).abs().max() < 1e-12
    for cut in (1, 5, T - 1):
        first, state = model(ids[:, :cut])
        second, _ = model(ids[:, cut:], state)
        assert (torch.cat([first, second]) - whole).abs().max() < 1e-12


@pytest.mark.parametrize("name", PARTS)
def test_nothing_looks_ahead_and_all_learns(name):
    torch.manual_seed(0)
    model, ids = MixedModel(10, D, *PARTS[name]()).double(), torch.randint(10, (N, T))
    other = ids.clone()
    other[:, 6:] = (other[:, 6:] + 1) % 10
    one, two = (model(rows)[0].unflatten(0, (T, N)) for rows in (ids, other))
    assert (one[:6] - two[:6]).abs().max() < 1e-12 and not torch.allclose(one[6:], two[6:])
    F.cross_entropy(one.flatten(0, 1), ids.T.flatten()).backward()
    for parameter in model.parameters():
        assert torch.isfinite(parameter.grad).all()


def test_local_attention_is_that_of_torch():
    torch.manual_seed(0)
    window, heads = 4, 2
    ours, theirs = LocalAttention(D, window, heads).double(), nn.MultiheadAttention(D, heads, dtype=torch.float64)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.weight.data, theirs.out_proj.bias.data = ours.out.weight.data, ours.out.bias.data
    inputs = draw(T, N, D)
    t = torch.arange(T)
    hidden = (t > t[:, None]) | (t <= t[:, None] - window)
    expected, _ = theirs(inputs, inputs, inputs, attn_mask=hidden)
    got, (k, v) = ours(inputs, ours.begin_state(N))
    assert (got - expected).abs().max() < 1e-12
    assert len(k) == len(v) == window - 1, "the state is bounded"


def test_a_selective_space_with_one_number_is_a_gate():
    """A = -1 and a step softplus(s): a = 1 - sigmoid(s), the gate of a GRU (Gu and Dao, 2023, theorem 1)."""
    s, x = draw(T, N, D), draw(T, N, D)
    step, one = F.softplus(s), torch.ones(T, N, 1, dtype=torch.float64)
    held = -torch.expm1(-step) / step  # the exact integral in place of its first order, step
    got, _ = recurrences.selective_scan(held * x, step, -torch.ones(D, 1).double(), one, one, torch.zeros(N, D, 1))
    z = torch.sigmoid(s)
    expected = recurrences.linear_recurrence(1 - z, z * x, torch.zeros(N, D))
    assert (got - expected).abs().max() < 1e-12


def test_a_selective_space_by_hand():
    x, step = draw(T, N, 2), torch.rand(T, N, 2, dtype=torch.float64)
    A, B, C = -torch.rand(2, 3, dtype=torch.float64), draw(T, N, 3), draw(T, N, 3)
    got, last = recurrences.selective_scan(x, step, A, B, C, torch.zeros(N, 2, 3))
    for n in range(N):
        for d in range(2):
            h = torch.zeros(3, dtype=torch.float64)
            for t in range(T):
                h = torch.exp(step[t, n, d] * A[d]) * h + step[t, n, d] * B[t, n] * x[t, n, d]
                assert abs(got[t, n, d] - C[t, n] @ h) < 1e-12
            assert (last[n, d] - h).abs().max() < 1e-12


def test_a_matrix_memory_that_keeps_all_is_attention_without_softmax():
    q, k, v = draw(3, T, N, 5)
    ones, zeros = torch.ones(T, N, 1).double(), (torch.zeros(N, 5, 5).double(), torch.zeros(N, 5).double())
    got, _ = recurrences.matrix_memory(q, k, v, ones, ones, zeros)
    scores = torch.einsum("tnd,snd->nts", q, k).tril()
    expected = torch.einsum("nts,snd->tnd", scores, v)
    size = scores.sum(2).T.abs().clamp(min=1)[..., None]
    assert (got - expected / size).abs().max() < 1e-10


def test_a_matrix_memory_goes_on_from_a_state():
    q, k, v = draw(3, T, N, 5)
    gates, state = torch.rand(2, T, N, 1).double(), (draw(N, 5, 5), draw(N, 5))
    whole, _ = recurrences.matrix_memory(q, k, v, *gates, state)
    first, middle = recurrences.matrix_memory(q[:4], k[:4], v[:4], *gates[:, :4], state)
    second, _ = recurrences.matrix_memory(q[4:], k[4:], v[4:], *gates[:, 4:], middle)
    assert (torch.cat([first, second]) - whole).abs().max() < 1e-12


def test_the_model_is_one_of_the_book():
    """It trains with fit, is measured by perplexity, and writes with generate."""
    from rnnlib import text
    from rnnlib.scratch import generate, perplexity
    from rnnlib.training import fit

    vocab = text.Vocab("abcd")
    ids = torch.randint(1, 5, (400,))
    batches = text.sequential_batches(ids, 4, 8)
    model = MixedModel(len(vocab), D, *PARTS["local attention over a state"]())
    before = perplexity(model, batches)
    fit(model, batches, 2, optimizer=torch.optim.Adam(model.parameters(), 1e-2), report=lambda *_: None)
    assert perplexity(model, batches) < before
    assert len(generate(model, vocab, "ab", 5, temperature=0)) == 7
