// Chapter 2's network in plain JavaScript: a tanh recurrence over one-hot characters, its gradients through time, one step of
// SGD with clipping. tests/test_network.py holds it to PyTorch.
"use strict";

// Random numbers in [0, 1) from a seed (mulberry32); they are not PyTorch's.
const randomNumbers = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let x = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
  return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
};

const normal = (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

const softmax = (logits) => {
  const largest = Math.max(...logits), powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
};

// The distribution to draw from: proportional to exp(logit / T); T = 0 is greedy.
const nextProbabilities = (logits, temperature) => {
  if (temperature > 0) return softmax(Array.from(logits, (logit) => logit / temperature));
  const best = logits.indexOf(Math.max(...logits));
  return Array.from(logits, (_, id) => Number(id === best));
};

// A stored array in base64: numbers of float16, all their lower bytes first; or whole numbers of so many bytes, the lowest first,
// and the unit they are counted in.
const decode = ({ half, unit, width, packed }) => (half ? decodeHalf(atob(half)) : decodeCounts(atob(packed), width, unit));

const decodeHalf = (bytes) => Float64Array.from({ length: bytes.length / 2 }, (_, i) => {
  const high = bytes.charCodeAt(bytes.length / 2 + i), exponent = (high >> 2) & 31;
  const digits = ((high & 3) << 8) | bytes.charCodeAt(i), size = exponent ? 2 ** (exponent - 25) * (1024 + digits) : 2 ** -24 * digits;
  return high & 128 ? -size : size;
});

const decodeCounts = (bytes, width, unit) => Float64Array.from({ length: bytes.length / width }, (_, i) => {
  const unused = 32 - 8 * width;
  let count = 0;
  for (let k = 0; k < width; k++) count |= bytes.charCodeAt(width * i + k) << (8 * k);
  return unit * ((count << unused) >> unused);  // its sign
});

// A whole number stored as a letter of a text: 0, -1, 1, -2, 2 are "#", "$" and so on, some letters left out.
const countOf = (text, place) => {
  const letter = text.charCodeAt(place), printed = letter > 126 ? letter - 129 : letter, n = printed - 35 - (printed > 92);
  return n % 2 ? -(n + 1) / 2 : n / 2;
};

class Network {
  // W_xh (V, H), W_hh (H, H), b_h (H), W_hq (H, V), b_q (V), row after row; drawn as the book draws them.
  constructor(V, H, random) {
    const draw = (size, scale) => Float64Array.from({ length: size }, () => scale * normal(random));
    Object.assign(this, { V, H });
    this.params = {
      W_xh: draw(V * H, 1), W_hh: draw(H * H, 0.01), b_h: new Float64Array(H), W_hq: draw(H * V, 0.01), b_q: new Float64Array(V),
    };
  }

  // A trained network, as a chapter's page stores it.
  static load({ tokens, ...arrays }) {
    const network = Object.create(Network.prototype);
    const params = Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, decode(array)]));
    return Object.assign(network, { V: tokens.length, H: params.b_h.length, params });
  }

  // The state after reading one character from state h.
  step(id, h) {
    const { H, params: { W_xh, W_hh, b_h } } = this, sum = Float64Array.from(b_h);
    for (let j = 0; j < H; j++) sum[j] += W_xh[id * H + j];
    for (let i = 0; i < H; i++) for (let j = 0; j < H; j++) sum[j] += h[i] * W_hh[i * H + j];
    return sum.map(Math.tanh);
  }

  // The scores of the next character.
  readOut(h) {
    const { H, V, params: { W_hq, b_q } } = this, logits = Float64Array.from(b_q);
    for (let i = 0; i < H; i++) for (let q = 0; q < V; q++) logits[q] += h[i] * W_hq[i * V + q];
    return logits;
  }

  begin() { return new Float64Array(this.H); }

  // Read rows of ids X with targets Y, each row from its state; the mean negative log-likelihood in nats, its gradients by
  // backpropagation through time, and the states after the last step.
  gradients(X, Y, states) {
    const { H, V, params: { W_hh, W_hq } } = this, count = X.length * X[0].length;
    const grads = Object.fromEntries(Object.entries(this.params).map(([name, W]) => [name, new Float64Array(W.length)]));
    let nll = 0;
    const after = X.map((row, n) => {
      const past = [states[n]], errors = [];
      row.forEach((id, t) => {
        past.push(this.step(id, past[t]));
        const p = softmax(this.readOut(past[t + 1]));
        nll -= Math.log(p[Y[n][t]]) / count;
        p[Y[n][t]] -= 1;
        errors.push(p.map((error) => error / count));  // of the logits
      });
      let fromLater = this.begin();  // of h, by way of the next step
      for (let t = row.length - 1; t >= 0; t--) {
        const h = past[t + 1], before = past[t], error = errors[t], sum = new Float64Array(H);
        for (let j = 0; j < H; j++) {
          let dh = fromLater[j];
          for (let q = 0; q < V; q++) {
            dh += error[q] * W_hq[j * V + q];
            grads.W_hq[j * V + q] += h[j] * error[q];
          }
          sum[j] = dh * (1 - h[j] * h[j]);  // the slope of tanh
          grads.b_h[j] += sum[j];
          grads.W_xh[row[t] * H + j] += sum[j];
        }
        for (let q = 0; q < V; q++) grads.b_q[q] += error[q];
        fromLater = new Float64Array(H);
        for (let i = 0; i < H; i++) {
          for (let j = 0; j < H; j++) {
            grads.W_hh[i * H + j] += before[i] * sum[j];
            fromLater[i] += sum[j] * W_hh[i * H + j];
          }
        }
      }
      return past.at(-1);
    });
    return { nll, grads, states: after };
  }

  // One step of SGD, the norm of all gradients together clipped.
  update(grads, lr, clip) {
    const norm = Math.sqrt(Object.values(grads).reduce((sum, g) => sum + g.reduce((s, x) => s + x * x, 0), 0));
    const scale = lr * Math.min(1, clip / norm);
    for (const [name, W] of Object.entries(this.params)) grads[name].forEach((g, i) => { W[i] -= scale * g; });
    return norm;
  }

  // Read a prefix of ids and write on; the state is carried, each character read once.
  write(prefix, count, temperature, random) {
    const written = [];
    let h = prefix.reduce((state, id) => this.step(id, state), this.begin());
    for (let i = 0; i < count; i++) {
      const p = nextProbabilities(this.readOut(h), temperature);
      let left = random(), id = p.findIndex((share) => (left -= share) < 0);
      if (id < 0) id = p.indexOf(Math.max(...p));  // rounding left a crumb
      written.push(id);
      h = this.step(id, h);
    }
    return written;
  }
}

// Cut a text into as many rows that are read side by side, and these into minibatches of so many steps, as sequential_batches
// does: each row of a minibatch continues that of the one before.
const sequentialBatches = (ids, batchSize, numSteps) => {
  const length = numSteps * Math.floor((ids.length - 1) / (batchSize * numSteps)), batches = [];
  for (let start = 0; start < length; start += numSteps) {
    const rows = (shift) => Array.from({ length: batchSize }, (_, n) => {
      const from = n * length + start + shift;
      return ids.slice(from, from + numSteps);
    });
    batches.push([rows(0), rows(1)]);
  }
  return batches;
};

if (typeof module !== "undefined") module.exports = { Network, nextProbabilities, randomNumbers, sequentialBatches };
