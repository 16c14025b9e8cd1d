"""Rows that grow, recurrences h = a h + b, blocks to build with them (chapter 11)."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import guards


def parity(batch_size, length, generator):
    """Draw rows of random bits (N, T, 1); the answer (N,) is 1 for oddly many ones."""
    guards.check_drawn(generator, batch_size=batch_size, length=length)
    bits = torch.randint(2, (batch_size, length), generator=generator)  # (N, T)
    return bits[..., None].to(torch.get_default_dtype()), bits.sum(1) % 2


def grown(length, right, goal):
    """Return the length of the next rows: half as long again, once 97 % were right."""
    guards.check_growth(length, right, goal)
    return min(goal, length + (length + 1) // 2) if right >= 0.97 else length


def parity_steps(model, start, goal=32, seed=0, batch_size=64, lr=5e-3):
    """Train on parity for ever; yield (length, share right) of each minibatch."""
    guards.check_start(start, goal)
    guards.check_answering(model, 1)
    guards.check_pace(lr, seed, batch_size=batch_size)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    device, length = next(model.parameters()).device, start
    while True:
        bits, odd = (part.to(device) for part in parity(batch_size, length, generator))
        logits = model(bits)  # (N, 2)
        optimizer.zero_grad()
        F.cross_entropy(logits, odd).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        right = float((logits.argmax(1) == odd).float().mean())
        yield length, right
        length = grown(length, right, goal)


def learn_parity(model, start, goal=32, seed=0, max_steps=600):
    """Train until the goal's length is 97 % right; return all (length, share right)."""
    guards.check_sizes(max_steps=max_steps)
    history, steps = [], parity_steps(model, start, goal, seed)
    for length, right in itertools.islice(steps, max_steps):
        history.append((length, right))
        if length == goal and right >= 0.97:
            break
    return history


@torch.no_grad()
def parity_right(model, length, num_rows=1000):
    """Return the share of right answers on fresh rows."""
    guards.check_answering(model, 1)
    guards.check_sizes(length=length, num_rows=num_rows)
    bits, odd = parity(num_rows, length, torch.Generator().manual_seed(12345))
    device = next(model.parameters()).device
    return float((model(bits.to(device)).argmax(1).cpu() == odd).float().mean())


def linear_recurrence(a, b, h):
    """Return all states (T, ...) of h_t = a_t h_(t-1) + b_t, begun at h."""
    guards.check_recurrence(a, b, h)
    states = []
    for a_t, b_t in zip(a.unbind(), b.unbind(), strict=True):
        h = a_t * h + b_t
        states.append(h)
    return torch.stack(states)


def combine(earlier, later):
    """Join two stretches of a recurrence into one: h = a2 (a1 h + b1) + b2."""
    (a1, b1), (a2, b2) = earlier, later
    return a1 * a2, a2 * b1 + b2


def doubling_scan(a, b, h):
    """Return the same states in log2(T) rounds (Hillis and Steele, 1986)."""
    guards.check_recurrence(a, b, h)
    b = torch.cat([(a[0] * h + b[0])[None], b[1:]])
    reach = 1  # each pair (a, b) sums up so many steps
    while reach < len(b):
        joined = combine((a[:-reach], b[:-reach]), (a[reach:], b[reach:]))
        a, b = (torch.cat([x[:reach], y]) for x, y in zip((a, b), joined, strict=True))
        reach *= 2
    return b


class MinGRU(nn.Module):
    """A GRU whose gate and candidate read the input alone (Feng et al., 2024)."""

    def __init__(self, num_units):
        super().__init__()
        guards.check_sizes(num_units=num_units)
        self.num_units = num_units
        self.gate = nn.Linear(num_units, num_units)
        self.candidate = nn.Linear(num_units, num_units)

    def begin_state(self, batch_size):
        """Return zeros (N, D)."""
        return self.gate.weight.new_zeros(batch_size, self.num_units)

    def forward(self, inputs, state):
        """Return all states (T, N, D) and the last one (N, D)."""
        Z = torch.sigmoid(self.gate(inputs))  # (T, N, D)
        states = linear_recurrence(1 - Z, Z * self.candidate(inputs), state)
        return states, states[-1]


def wkv_step(k, v, state, decay, bonus):
    """Return an average of all values so far, by key and age, and the new state.

    All are (N, D). The state: a sum of values, the sum of their weights, and the
    exponent that both are divided by (RWKV, version 4; Peng et al., 2023).
    """
    total, weight, top = state
    high = torch.maximum(top, k + bonus)  # so that no exponential overflows
    old, new = torch.exp(top - high), torch.exp(k + bonus - high)
    output = (old * total + new * v) / (old * weight + new)
    high = torch.maximum(top - decay, k)
    old, new = torch.exp(top - decay - high), torch.exp(k - high)
    return output, (old * total + new * v, old * weight + new, high)


def wkv(k, v, state, decay, bonus):
    """Step through keys and values (T, N, D); return all outputs and the last state."""
    guards.check_wkv(k, v, decay, bonus)
    guards.check_shapes("k (T, N, D), state (N, D) (N, D) (N, D)", k, state)
    outputs = []
    for k_t, v_t in zip(k.unbind(), v.unbind(), strict=True):
        output, state = wkv_step(k_t, v_t, state, decay, bonus)
        outputs.append(output)
    return torch.stack(outputs), state


def wkv_parallel(k, v, decay, bonus):
    """Return the outputs from an empty state at once: a softmax over the past."""
    guards.check_wkv(k, v, decay, bonus)
    t = torch.arange(len(k), device=k.device)
    age = (t[:, None] - t)[..., None, None]  # (T, T, 1, 1): how long ago
    scores = torch.where(age == 0, k + bonus, k - (age - 1) * decay)  # (T, T, N, D)
    weights = torch.softmax(scores.masked_fill(age < 0, -torch.inf), dim=1)
    return (weights * v).sum(1)


class TimeMixing(nn.Module):
    """The recurrent half of an RWKV block, version 4 (Peng et al., 2023)."""

    def __init__(self, num_units):
        super().__init__()
        guards.check_sizes(num_units=num_units)
        self.num_units = num_units
        self.mix = nn.Parameter(torch.full((3, num_units), 0.5))
        square = (nn.Linear(num_units, num_units, bias=False) for _ in range(4))
        self.r, self.k, self.v, self.out = square
        self.log_decay = nn.Parameter(torch.linspace(-5, 1, num_units))
        self.bonus = nn.Parameter(torch.zeros(num_units))

    def begin_state(self, batch_size):
        """Return the last input, and an empty average: four tensors (N, D)."""
        zeros = self.mix.new_zeros(batch_size, self.num_units)
        return zeros, zeros, zeros, torch.full_like(zeros, -torch.inf)

    def forward(self, inputs, state):
        """Return outputs (T, N, D) and the state after them."""
        last, *average = state
        before = torch.cat([last[None], inputs[:-1]])  # (T, N, D)
        r, k, v = (torch.lerp(before, inputs, share) for share in self.mix)
        k, v, decay = self.k(k), self.v(v), self.log_decay.exp()
        outputs, average = wkv(k, v, average, decay, self.bonus)
        return self.out(torch.sigmoid(self.r(r)) * outputs), (inputs[-1], *average)


class GRUMixer(nn.GRU):
    """PyTorch's GRU as part of a block."""

    def begin_state(self, batch_size):
        """Return zeros (1, N, H)."""
        return self.weight_hh_l0.new_zeros(1, batch_size, self.hidden_size)


class LocalAttention(nn.Module):
    """Attention over the last steps; its state is what it has kept of them."""

    def __init__(self, num_units, window, num_heads=4):
        super().__init__()
        guards.check_heads(num_heads, num_units=num_units)
        guards.check_sizes(window=window)
        self.num_units, self.window, self.num_heads = num_units, window, num_heads
        self.qkv = nn.Linear(num_units, 3 * num_units)
        self.out = nn.Linear(num_units, num_units)

    def begin_state(self, batch_size):
        """Return no keys and no values, (0, N, D) each."""
        nothing = self.out.weight.new_zeros(0, batch_size, self.num_units)
        return nothing, nothing

    def forward(self, inputs, state):
        """Return outputs (T, N, D), and the keys and values of the last steps."""
        q, *new = self.qkv(inputs).chunk(3, dim=2)  # (T, N, D) each
        k, v = (torch.cat([kept, part]) for kept, part in zip(state, new, strict=True))
        now = torch.arange(len(k), device=k.device)  # of all steps that are kept
        age = now[len(k) - len(q) :, None] - now  # (T, kept + T)
        seen = (age >= 0) & (age < self.window)
        split = (x.unflatten(2, (self.num_heads, -1)) for x in (q, k, v))
        heads = (x.permute(1, 2, 0, 3) for x in split)  # (N, heads, T, D / heads)
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=seen)
        kept = k[1 - self.window :], v[1 - self.window :]
        return self.out(mixed.permute(2, 0, 1, 3).flatten(2)), kept


class StepEmbedding(nn.Module):
    """Add to each step a vector for its number; the state counts the steps."""

    def __init__(self, num_units, longest=512):
        super().__init__()
        guards.check_sizes(num_units=num_units, longest=longest)
        self.table = nn.Embedding(longest, num_units)

    def begin_state(self, batch_size):
        """Return 0 for each row, (N,)."""
        return self.table.weight.new_zeros(batch_size, dtype=torch.int64)

    def forward(self, inputs, state):
        """Return inputs (T, N, D) with their places added, and the new count (N,)."""
        t = torch.arange(len(inputs), device=inputs.device)[:, None]
        return inputs + self.table(state + t), state + len(inputs)


class Block(nn.Module):
    """Mix over time, then think at each step alone; both add to what was there."""

    def __init__(self, mixer, num_units):
        super().__init__()
        guards.check_mixers(num_units, mixer)
        self.mixer, self.norm = mixer, nn.LayerNorm(num_units)
        widen = nn.Linear(num_units, 2 * num_units)
        narrow = nn.Linear(2 * num_units, num_units)
        self.think = nn.Sequential(nn.LayerNorm(num_units), widen, nn.GELU(), narrow)

    def begin_state(self, batch_size):
        """Return the state of the part that mixes over time."""
        return self.mixer.begin_state(batch_size)

    def forward(self, inputs, state):
        """Return outputs of the same shape (T, N, D), and the state after them."""
        mixed, state = self.mixer(self.norm(inputs), state)
        inputs = inputs + mixed
        return inputs + self.think(inputs), state


class MixedModel(nn.Module):
    """A language model of parts, each ``outputs, state = part(inputs, state)``."""

    def __init__(self, vocab_size, num_units, *parts):
        super().__init__()
        guards.check_sizes(vocab_size=vocab_size)
        guards.check_mixers(num_units, *parts)
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, num_units)
        self.parts = nn.ModuleList(parts)
        scores = nn.Linear(num_units, vocab_size)
        self.read_out = nn.Sequential(nn.LayerNorm(num_units), scores)

    def begin_state(self, batch_size, device=None):
        """Return the state of each part before the first token."""
        guards.check_begin(batch_size, device)
        return tuple(part.begin_state(batch_size) for part in self.parts)

    def forward(self, ids, state=None):
        """Read ids (N, T); return logits (T * N, V), time first, and the states."""
        guards.check_mixed_inputs(self, ids, state)
        if state is None:
            state = self.begin_state(len(ids))
        vectors, states = self.embedding(ids.T), []  # (T, N, D)
        for part, before in zip(self.parts, state, strict=True):
            vectors, after = part(vectors, before)
            states.append(after)
        return self.read_out(vectors).flatten(0, 1), tuple(states)


def selective_scan(x, step, A, B, C, h):
    """Run a selective state space (Gu and Dao, 2023) from the state h (N, D, S).

    x and step are (T, N, D), A is (D, S) and negative, B and C are (T, N, S).
    """
    guards.check_selective(x, step, A, B, C, h)
    a = torch.exp(step[..., None] * A)  # (T, N, D, S)
    b = (step * x)[..., None] * B[:, :, None]  # (T, N, D, S)
    states = linear_recurrence(a, b, h)
    return (states * C[:, :, None]).sum(-1), states[-1]


def matrix_memory(q, k, v, keep, write, state):
    """Run a memory that is a matrix (xLSTM's mLSTM; Beck et al., 2024).

    q, k, v are (T, N, D), the gates (T, N, 1); the state is a matrix (N, D, D) and
    the sum of its keys (N, D).
    """
    guards.check_matrix_memory(q, k, v, keep, write, state)
    memory, keys = state
    pairs = v[..., :, None] * k[..., None, :]  # (T, N, D, D)
    memories = linear_recurrence(keep[..., None], write[..., None] * pairs, memory)
    sums = linear_recurrence(keep, write * k, keys)
    found = (memories @ q[..., None]).squeeze(-1)  # (T, N, D)
    size = (sums * q).sum(-1, keepdim=True).abs().clamp(min=1)  # (T, N, 1)
    return found / size, (memories[-1], sums[-1])
