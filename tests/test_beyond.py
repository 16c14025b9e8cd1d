"""Chapter 11: rows that grow; loop, scan, parallel and recurrent forms are one; forecasts from own forecasts."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.beyond import WaveForecaster, two_waves
from rnnlib import beyond, data
from rnnlib.beyond import Block, GRUMixer, LocalAttention, MinGRU, MixedModel, StepEmbedding, TimeMixing
from rnnlib.layers import ManyToOne


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Parity


def test_parity_by_hand():
    bits, odd = beyond.parity(50, 7, generator())
    assert bits.shape == (50, 7, 1) and odd.shape == (50,)
    for row, answer in zip(bits[..., 0].tolist(), odd.tolist(), strict=True):
        assert answer == row.count(1.0) % 2


@pytest.mark.parametrize(
    ("length", "right", "grown"), [(2, 0.96, 2), (2, 0.97, 3), (3, 1.0, 5), (5, 1.0, 8), (27, 1.0, 32), (32, 1.0, 32)]
)
def test_rows_grow_by_half_once_they_are_right(length, right, grown):
    assert beyond.grown(length, right, 32) == grown


def test_a_curriculum_learns_what_long_rows_alone_do_not_teach():
    torch.manual_seed(1)
    begun_short = ManyToOne(nn.LSTM(1, 32), 2)
    history = beyond.learn_parity(begun_short, start=2, goal=32, seed=1)
    assert history[0][0] == 2 and history[-1][0] == 32 and history[-1][1] >= 0.97
    assert all(after >= before for (before, _), (after, _) in itertools.pairwise(history))
    assert beyond.parity_right(begun_short, 200) > 0.9, "longer than any row it has seen"
    torch.manual_seed(1)
    long_from_the_start = ManyToOne(nn.LSTM(1, 32), 2)
    assert len(beyond.learn_parity(long_from_the_start, start=32, goal=32, seed=1, max_steps=300)) == 300
    assert abs(beyond.parity_right(long_from_the_start, 32) - 0.5) < 0.1


@pytest.mark.parametrize(("start", "goal"), [(33, 32), (0, 32), (2.0, 32)])
def test_rows_that_cannot_grow_are_refused(start, goal):
    with pytest.raises(ValueError, match="start=" + str(start)):
        next(beyond.parity_steps(ManyToOne(nn.LSTM(1, 4), 2), start, goal))


# Recurrences


T, N, D = 11, 3, 8


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64)


@pytest.fixture
def stretch():
    return torch.rand(T, N, D, dtype=torch.float64), draw(T, N, D), draw(N, D)


def test_recurrence_by_hand():
    a, b = torch.tensor([[0.5], [2.0], [0.0]]), torch.tensor([[1.0], [1.0], [3.0]])
    assert beyond.linear_recurrence(a, b, torch.tensor([4.0])).tolist() == [[3.0], [7.0], [3.0]]


def test_loop_and_scan_are_equal_with_their_gradients(stretch):
    stretch = [part.requires_grad_() for part in stretch]
    loop, scan = beyond.linear_recurrence(*stretch), beyond.doubling_scan(*stretch)
    assert (loop - scan).abs().max() < 1e-12
    pairs = zip(*(torch.autograd.grad((out**3).sum(), stretch) for out in (loop, scan)), strict=True)
    assert max((one - other).abs().max() for one, other in pairs) < 1e-10


def test_loop_and_scan_in_single_precision(stretch):
    single = [part.float() for part in stretch]
    assert (beyond.linear_recurrence(*single) - beyond.doubling_scan(*single)).abs().max() < 1e-5


@pytest.mark.parametrize("num_steps", [1, 2, 3, 8, 9])
def test_scan_for_any_length(num_steps):
    stretch = torch.rand(num_steps, 2), torch.rand(num_steps, 2), torch.rand(2)
    assert torch.allclose(beyond.doubling_scan(*stretch), beyond.linear_recurrence(*stretch), atol=1e-6)


def test_scan_goes_on_from_a_state(stretch):
    a, b, h = stretch
    whole = beyond.linear_recurrence(a, b, h)
    for cut in (1, 4, T - 1):
        first = beyond.doubling_scan(a[:cut], b[:cut], h)
        second = beyond.doubling_scan(a[cut:], b[cut:], first[-1])
        assert (torch.cat([first, second]) - whole).abs().max() < 1e-12


def test_combine_is_associative_and_not_commutative():
    one, two, three = ((draw(5), draw(5)) for _ in range(3))
    left = beyond.combine(beyond.combine(one, two), three)
    right = beyond.combine(one, beyond.combine(two, three))
    for a, b in zip(left, right, strict=True):
        assert (a - b).abs().max() < 1e-12
    assert not torch.allclose(beyond.combine(one, two)[1], beyond.combine(two, one)[1])


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
    assert (beyond.wkv(k, v, empty_average(), decay, bonus)[0] - expected).abs().max() < 1e-12
    assert (beyond.wkv_parallel(k, v, decay, bonus) - expected).abs().max() < 1e-12
    single = [part.float() for part in (k, v, decay, bonus)]
    state = [part.float() for part in empty_average()]
    both = beyond.wkv(*single[:2], state, *single[2:])[0], beyond.wkv_parallel(*single)
    assert (both[0] - both[1]).abs().max() < 1e-6


def test_wkv_goes_on_from_a_state():
    k, v, decay, bonus = draw(T, N, D), draw(T, N, D), torch.rand(D, dtype=torch.float64), draw(D)
    expected = beyond.wkv_parallel(k, v, decay, bonus)
    _, state = beyond.wkv(k[:4], v[:4], empty_average(), decay, bonus)
    rest, _ = beyond.wkv(k[4:], v[4:], state, decay, bonus)
    assert (rest - expected[4:]).abs().max() < 1e-12


def test_wkv_does_not_overflow():
    k, v = 500 * draw(T, N, D).float(), draw(T, N, D).float()
    state = [part.float() for part in empty_average()]
    decay = torch.rand(D)
    outputs, _ = beyond.wkv(k, v, state, decay, torch.zeros(D))
    assert torch.allclose(outputs, beyond.wkv_parallel(k, v, decay, torch.zeros(D)), atol=1e-3)
    assert not torch.isfinite(k.exp()).all(), "plain exponentials would have overflown"


def test_wkv_gradients_are_those_of_the_parallel_form():
    given = [draw(T, N, D), draw(T, N, D), torch.rand(D, dtype=torch.float64), draw(D)]
    given = [part.requires_grad_() for part in given]
    k, v, decay, bonus = given
    outputs = beyond.wkv(k, v, empty_average(), decay, bonus)[0], beyond.wkv_parallel(k, v, decay, bonus)
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
    got, _ = beyond.selective_scan(held * x, step, -torch.ones(D, 1).double(), one, one, torch.zeros(N, D, 1))
    z = torch.sigmoid(s)
    expected = beyond.linear_recurrence(1 - z, z * x, torch.zeros(N, D))
    assert (got - expected).abs().max() < 1e-12


def test_a_selective_space_by_hand():
    x, step = draw(T, N, 2), torch.rand(T, N, 2, dtype=torch.float64)
    A, B, C = -torch.rand(2, 3, dtype=torch.float64), draw(T, N, 3), draw(T, N, 3)
    got, last = beyond.selective_scan(x, step, A, B, C, torch.zeros(N, 2, 3))
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
    got, _ = beyond.matrix_memory(q, k, v, ones, ones, zeros)
    scores = torch.einsum("tnd,snd->nts", q, k).tril()
    expected = torch.einsum("nts,snd->tnd", scores, v)
    size = scores.sum(2).T.abs().clamp(min=1)[..., None]
    assert (got - expected / size).abs().max() < 1e-10


def test_a_matrix_memory_goes_on_from_a_state():
    q, k, v = draw(3, T, N, 5)
    gates, state = torch.rand(2, T, N, 1).double(), (draw(N, 5, 5), draw(N, 5))
    whole, _ = beyond.matrix_memory(q, k, v, *gates, state)
    first, middle = beyond.matrix_memory(q[:4], k[:4], v[:4], *gates[:, :4], state)
    second, _ = beyond.matrix_memory(q[4:], k[4:], v[4:], *gates[:, 4:], middle)
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


# Forecasts


def test_forecasts_from_true_values_are_those_of_the_layer():
    torch.manual_seed(0)
    model, wave = WaveForecaster(7), torch.randn(6, 3, 1)
    layer = nn.GRU(1, 7)
    layer.load_state_dict({f"{name}_l0": value for name, value in model.cell.state_dict().items()})
    expected = model.read_out(layer(wave)[0])
    assert torch.allclose(model(wave, 6, 0.0), expected, atol=1e-6)
    assert torch.allclose(model(wave, 0, 1.0), expected, atol=1e-6)


def test_left_alone_it_reads_its_own_forecasts():
    torch.manual_seed(0)
    model, wave = WaveForecaster(7), torch.randn(9, 3, 1)
    own = model(wave, 4, 0.0)
    changed = wave.clone()
    changed[4:] = 100.0
    assert torch.equal(model(changed, 4, 0.0), own), "what comes later is not read"
    assert not torch.allclose(model(changed, 4, 0.5, generator()), own)
    by_hand = wave.clone()
    for t in range(4, 9):
        by_hand[t] = model(by_hand, 9, 1.0)[t - 1]
    assert torch.allclose(own[4:], model(by_hand, 9, 1.0)[4:], atol=1e-6)


def test_waves():
    clean, seen = two_waves(300, 80, generator())
    assert clean.shape == seen.shape == (80, 300, 1)
    assert abs((seen - clean).std() - 0.1) < 0.01
    assert 0.6 < clean.std() < 0.9


# What was recorded, and what the chapter says of it


ROWS = data.load_results("beyond")


def recorded(part, **wanted):
    return [row for row in ROWS if row["part"] == part and wanted.items() <= row.items()]


def column(name, part, **wanted):
    values = [row[name] for row in recorded(part, **wanted)]
    assert len(values) == 3, "three seeds"
    return values


def test_recorded_weight_drop_wins_on_a_small_text():
    small = {name: {"characters": 10_000, "dropout": name} for name in {row["dropout"] for row in recorded("dropout")}}
    best = {name: column("best", "dropout", **wanted) for name, wanted in small.items()}
    end = {name: column("held out", "dropout", **wanted) for name, wanted in small.items()}
    winner = "weight drop 0.4, locked output 0.4"
    for values in (best, end):
        others = [value for name in values if name != winner for value in values[name]]
        assert max(values[winner]) < min(others)
    assert sum(end["none"]) / 3 > 2 * sum(end[winner]) / 3
    plain, locked = (end[f"{kind}, before the read-out, 0.4"] for kind in ("plain", "locked"))
    assert abs(sum(plain) / 3 - sum(locked) / 3) < 0.3, "level"
    assert abs(sum(best["plain, before the read-out, 0.4"]) - sum(best["none"])) / 3 < 0.1, "next to nothing"


def test_recorded_dropout_loses_where_nothing_overfits():
    none = column("held out", "dropout", characters=100_000, dropout="none")
    for name in {row["dropout"] for row in recorded("dropout", characters=100_000)} - {"none"}:
        assert min(column("held out", "dropout", characters=100_000, dropout=name)) > max(none)


def test_recorded_scheduled_sampling_is_no_cure():
    def errors(trained, name):
        return sum(column(name, "exposure", **{"trained with": trained})) / 3

    for name in ("one step ahead", "alone, first 20"):
        assert errors("teacher forcing", name) < min(errors("scheduled sampling", name), errors("own outputs", name))
    longest = "alone, all 60"
    assert errors("own outputs", longest) < errors("teacher forcing", longest)
    assert abs(errors("scheduled sampling", longest) - errors("own outputs", longest)) < 0.03, "level"
    assert errors("teacher forcing", longest) > 0.9 * errors("teacher forcing", "saying 0")


def test_recorded_scan_is_slower_than_the_loop_on_a_cpu():
    ratios = [row["doubling scan"] / row["loop, unbind"] for row in recorded("scans")]
    assert len(ratios) == 3 and ratios == sorted(ratios) and ratios[0] > 2
    assert all(row["nn.GRU"] > 3 * row["loop, unbind"] for row in recorded("scans"))


def test_recorded_mingru_is_compared_at_as_many_units_and_as_many_weights():
    min_gru, wide, narrow = (
        sum(p.numel() for p in layer.parameters()) for layer in (beyond.MinGRU(128), nn.GRU(128, 128), nn.GRU(128, 58))
    )
    assert wide == 3 * min_gru and abs(narrow / min_gru - 1) < 0.02
    for row in recorded("scans"):
        assert 0.25 < row["minGRU"] / row["nn.GRU"] < 0.4, "a third"
        assert 0.4 < row["minGRU"] / row["nn.GRU, 58"] < 0.6, "half"


def test_recorded_index_is_quadratic():
    ratios = [row["batch first, a[:, t]"] / row["batch first, unbind(1)"] for row in recorded("scans")]
    assert ratios == sorted(ratios) and ratios[2] > 9 * ratios[0], "the ratio grows about as the steps, here 16-fold"


def test_recorded_mazes_need_a_state():
    for length in (5, 10, 20):
        assert min(column("right", "maze", policy="GRU", length=length)) >= 0.95
        assert max(column("right", "maze", policy="GRU, wiped at each step", length=length)) < 0.6
    assert max(column("seconds", "maze", policy="GRU", length=10)) < 10


def test_recorded_curricula_need_a_start_that_is_learned_by_itself():
    for start in (1, 2, 3):
        assert all(column("solved", "curriculum", start=start)), start
    for start in (4, 8, 32):
        assert not any(column("solved", "curriculum", start=start)), start
    assert min(column("right at 1000", "curriculum", start=2)) > 0.95


def test_recorded_mixers_are_told_as_they_are():
    said = {
        "minGRU, 2 blocks": 4.2,
        "GRU": 4.2,
        "attention over a GRU": 4.5,
        "local attention over minGRU": 4.5,
        "RWKV-like, 1 block": 4.7,
        "attention, position embeddings": 5.9,
        "attention, no positions": 9.2,
    }
    assert {row["model"] for row in recorded("mixers")} == set(said)
    for name, perplexity in said.items():
        assert round(sum(column("held out", "mixers", model=name)) / 3, 1) == perplexity
    rates = {row["model"]: row["rate"] for row in recorded("mixers")}
    assert list(rates.values()).count(0.02) == 4, "four of seven took the largest"
    steps = {name: sum(column("steps", "mixers", model=name)) for name in said}
    assert 0.3 < steps["RWKV-like, 1 block"] / steps["minGRU, 2 blocks"] < 0.4, "a third of the minibatches"
    assert max(column("held out", "mixers", model="GRU")) < min(
        column("held out", "mixers", model="attention over a GRU")
    )
