"""A maze that asks for a memory, and a policy that learns to walk it (chapter 11)."""

import torch
import torch.nn.functional as F
from torch import nn

from rnnlib import guards


class TMaze:
    """N corridors at once: a sign at the start says where to turn (Bakker, 2002).

    Actions: 0 ahead, 1 up, 2 down. Rewards: 1 turned right, -1 wrong, -0.05 a bump.
    """

    def __init__(self, num_mazes, length, generator):
        guards.check_drawn(generator, num_mazes=num_mazes, length=length)
        self.length = length
        self.sign = torch.randint(1, 3, (num_mazes,), generator=generator)  # an action
        self.place = torch.zeros_like(self.sign)
        self.done = torch.zeros(num_mazes, dtype=torch.bool)

    def observe(self):
        """Return what is seen, one-hot (N, 4): sign up or down, corridor, junction."""
        junction = 3 - (self.place < self.length).long()  # 3, and 2 in the corridor
        seen = torch.where(self.place == 0, self.sign - 1, junction)
        return F.one_hot(seen, 4).to(torch.get_default_dtype())

    def act(self, action):
        """Move by the actions (N,); return the rewards (N,), 0 where all is done."""
        guards.check_actions(self.sign, action)
        at_end, ahead = self.place == self.length, action == 0
        turned = at_end & ~ahead & ~self.done
        bumped = (at_end == ahead) & ~self.done
        right = (action == self.sign).float()
        self.place = self.place + (ahead & ~at_end)
        self.done = self.done | turned
        return turned * (2 * right - 1) - 0.05 * bumped


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
