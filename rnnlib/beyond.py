"""Recipes that suit a state: short rows, dropout, a memory that acts (chapter 11)."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from rnnlib import guards
from rnnlib.memory_tasks import TMaze, parity


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


class LockedDropout(nn.Module):
    """Drop the same units at all steps of a row (Gal and Ghahramani, 2016)."""

    def __init__(self, p):
        super().__init__()
        guards.check_shares(p=p)
        self.p = p

    def forward(self, inputs):
        """Return inputs (T, N, D) with units dropped and the others scaled up."""
        guards.check_shapes("inputs (T, N, D)", inputs)
        if not self.training:
            return inputs
        mask = torch.bernoulli(torch.full_like(inputs[:1], 1 - self.p))  # (1, N, D)
        return inputs * mask / (1 - self.p)


def drop_weights(rnn_layer, p):
    """Drop each number of W_hh with probability p, drawn anew (Merity et al., 2018)."""
    guards.check_shares(p=p)
    guards.check_recurrent_weights(rnn_layer)
    for name, _ in list(rnn_layer.named_parameters()):
        if name.startswith("weight_hh"):
            parametrize.register_parametrization(rnn_layer, name, nn.Dropout(p))
    return rnn_layer


class Policy(nn.Module):
    """A network that acts on what it sees (N, 4) and on its state (N, H)."""

    def __init__(self, num_hiddens=32):
        super().__init__()
        guards.check_sizes(num_hiddens=num_hiddens)
        self.num_hiddens = num_hiddens
        self.cell = nn.GRUCell(4, num_hiddens)
        self.scores = nn.Linear(num_hiddens, 3)
        self.value = nn.Linear(num_hiddens, 1)

    def begin_state(self, batch_size):
        """Return zeros (N, H)."""
        guards.check_sizes(batch_size=batch_size)
        return self.scores.weight.new_zeros(batch_size, self.num_hiddens)

    def forward(self, seen, state):
        """Return scores (N, 3), a forecast of the return (N,), the new state (N, H)."""
        guards.check_seen(self.num_hiddens, seen, state)
        state = self.cell(seen, state)
        return self.scores(state), self.value(state).squeeze(1), state


class Forgetful(Policy):
    """The same network, which wakes up afresh at every step."""

    def forward(self, seen, state):
        """Act on what is seen alone."""
        guards.check_seen(self.num_hiddens, seen, state)
        return super().forward(seen, torch.zeros_like(state))


def play(policy, maze, max_steps, generator):
    """Act; return log p of the actions, entropy, forecast, reward, alive: (T, N)."""
    guards.check_play(policy, maze, max_steps, generator)
    state, steps = policy.begin_state(len(maze.sign)), []
    while len(steps) < max_steps and not maze.done.all():
        alive = ~maze.done
        scores, value, state = policy(maze.observe(), state)
        log_p = torch.log_softmax(scores, dim=1)  # (N, 3)
        p = log_p.detach().exp()
        action = torch.multinomial(p, 1, generator=generator)  # (N, 1)
        reward = maze.act(action.squeeze(1))
        entropy = -(log_p.exp() * log_p).sum(1)
        log_p = log_p.gather(1, action).squeeze(1)  # (N,)
        steps.append((log_p, entropy, value, reward, alive))
    return [torch.stack(column) for column in zip(*steps, strict=True)]


def discounted_returns(rewards, gamma=0.99):
    """Return the worth of each step (T, N): its reward and all later, discounted."""
    guards.check_rewards(rewards, gamma)
    worth, backwards = torch.zeros_like(rewards[0]), []
    for reward in reversed(rewards.unbind()):
        worth = reward + gamma * worth  # (N,)
        backwards.append(worth)
    return torch.stack(backwards[::-1])


def policy_loss(log_p, entropy, value, rewards, alive):
    """Return a loss that makes likelier what beat the forecast (Williams, 1992)."""
    guards.check_episode(log_p, entropy, value, rewards, alive)
    worth = discounted_returns(rewards)
    surprise = worth - value.detach()  # (T, N)
    actor = -log_p * surprise - 0.01 * entropy
    critic = (value - worth) ** 2
    return ((actor + 0.5 * critic) * alive).sum() / alive.sum()


def maze_steps(policy, grow, start=10, seed=0, num_mazes=64, lr=5e-3):
    """Train in mazes for ever, of lengths that grow; yield (length, share right)."""
    guards.check_growing(grow, start)
    guards.check_learners(policy=policy)
    guards.check_pace(lr, seed, num_mazes=num_mazes)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr)
    length = start
    while True:
        maze = TMaze(num_mazes, length, generator)
        episode = play(policy, maze, 2 * length + 5, generator)
        optimizer.zero_grad()
        policy_loss(*episode).backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        right = float((episode[3] == 1).any(0).float().mean())
        yield length, right
        length = grow(length, right)
