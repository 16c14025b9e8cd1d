// Explorers that read what is typed: the chapters' own networks in plain JavaScript. Each reader takes a text and the values
// of the other controls as they are shown, and returns the sentence that Python says, with a picture; what can't be read is
// a RangeError with Python's words. tests/test_readers.py holds them to Python.
"use strict";

// A text as Python writes it in a message.
const quoted = (text) => {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  return mark + text.replaceAll("\\", "\\\\").replaceAll(mark, `\\${mark}`) + mark;
};

// As rnnlib.text.clean: letters of any alphabet in lower case, and single spaces.
const clean = (text) => {
  const lower = text.toLowerCase().normalize("NFC"), cleaned = lower.replace(/[^\p{L}\p{M}]+/gu, " ").trim();
  const [seen, kept] = [lower, cleaned].map((part) => Array.from(part.replace(/\s/g, "")).length);
  if (seen >= 20 && kept < 0.1 * seen) {
    throw new RangeError(
      `clean keeps letters alone: of ${seen.toLocaleString("en")} visible characters ${kept.toLocaleString("en")} are left, ` +
      "so this text is no plain text, or made of numbers and signs: use it as it is",
    );
  }
  return cleaned;
};

// What a reader typed as the network can read it, one character an element: as it is, or cleaned.
const readable = (tokens, text) => {
  let characters = Array.from(text);
  if (!characters.every((character) => tokens.includes(character))) characters = Array.from(clean(text) || text);
  if (!characters.length) throw new RangeError("the text is empty: type some letters that the network has seen");
  const unknown = [...new Set(characters)].filter((character) => !tokens.includes(character));
  if (unknown.length) {
    const shown = unknown.slice(0, 8).map(quoted).join(", ") + (unknown.length > 8 ? " and others" : "");
    throw new RangeError(`the network has never seen ${shown}: type other characters`);
  }
  return characters;
};

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const argmax = (numbers) => numbers.indexOf(Math.max(...numbers));

// x W + b, for W (I, O) row after row, which begins at a place of a longer array.
const affine = (x, W, b, start = 0) => {
  const sum = new Float64Array(b), O = sum.length, even = x.length - x.length % 2;
  for (let i = 0, place = start; i < even; i += 2, place += 2 * O) {  // two at a time, which is faster
    const first = x[i], second = x[i + 1];
    for (let o = 0; o < O; o++) sum[o] += first * W[place + o] + second * W[place + O + o];
  }
  if (even < x.length) for (let o = 0; o < O; o++) sum[o] += x[even] * W[start + even * O + o];
  return sum;
};

// Row k of a table of rows that are so long.
const row = (table, k, length) => table.subarray(k * length, (k + 1) * length);

// How much each entry of x moved what x W became, W (I, O) at a place of a longer array, when that is moved by these amounts.
const pullBack = (moved, W, I, start = 0) => {
  const O = moved.length, sum = new Float64Array(I);
  for (let i = 0, place = start; i < I; i++) {
    let total = 0;
    for (let o = 0; o < O; o++, place++) total += W[place] * moved[o];
    sum[i] = total;
  }
  return sum;
};

const decodeAll = (arrays) => Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, decode(array)]));

// What gate k sums up for an id and a state: W_x (gates, V, H), W_h (gates, H, H), b (gates, H).
const gateSum = ({ W_x, W_h, b, V, H }, k, id, h) => {
  const sum = affine(h, W_h, row(b, k, H), k * H * H), start = (k * V + id) * H;
  for (let j = 0; j < H; j++) sum[j] += W_x[start + j];
  return sum;
};

// -log2 of a probability, for each character from the second on.
const costs = (logits, ids) => ids.slice(1).map((id, t) => -Math.log2(softmax(logits[t])[id]));

// Chapter 2

class UnrollStepper {
  constructor(network) {
    this.tokens = network.tokens;
    this.network = Network.load(network);
  }

  // States and logits after each character; the state is forgotten before one of them.
  follow(ids, resetAt) {
    let h = this.network.begin();
    const states = ids.map((id, t) => (h = this.network.step(id, t + 1 === resetAt ? this.network.begin() : h)));
    return { states, logits: states.map((state) => this.network.readOut(state)) };
  }

  read(typed, reset) {
    const text = readable(this.tokens, typed).slice(0, 40);
    if (text.length < 2) throw new RangeError(`the text ${quoted(text.join(""))} is too short: give at least two characters`);
    const ids = text.map((character) => this.tokens.indexOf(character));
    const resetAt = Number(reset) <= text.length ? Number(reset) : 0, { states, logits } = this.follow(ids, resetAt);
    const undisturbed = mean(costs(this.follow(ids, 0).logits, ids)), bits = costs(logits, ids);
    const guesses = logits.map((scores) => this.tokens[argmax(Array.from(scores))]);
    const sentence = this.describe(text, guesses, mean(bits), undisturbed, resetAt);
    return { sentence, picture: this.draw(text, guesses, bits, states, resetAt) };
  }

  describe(text, guesses, bits, undisturbed, resetAt) {
    const cost = `a character costs ${bits.toFixed(2)} bits on average`;
    if (resetAt) return `The state was reset before character ${resetAt}: ${cost} instead of ${undisturbed.toFixed(2)}.`;
    const after = (wanted) => guesses.filter((_, t) => text[t] === wanted);
    const repeated = [...new Set(text)].filter((character) => after(character).length > 1);
    if (!repeated.length) return `No character occurs twice; ${cost}.`;
    const differing = repeated.filter((character) => new Set(after(character)).size > 1);
    const chosen = (differing.length ? differing : repeated).reduce((a, b) => (after(b).length > after(a).length ? b : a));
    const verdict = differing.length ? "the state makes the difference" : "here the state makes no difference to the guess";
    const guessed = after(chosen).map((guess) => `“${guess}”`).join(", then ");
    return `After “${chosen}” the model guesses ${guessed}: ${verdict}; ${cost}.`;
  }

  draw(text, guesses, bits, states, resetAt) {
    const x = [-0.5, text.length - 0.5], units = Math.min(12, states[0].length), blind = Math.log2(this.tokens.length);
    const heat = new Axes({ left: 64, right: 712, top: 34, bottom: 206, x, y: [units - 0.5, -0.5] });
    heat.table(Array.from({ length: units }, (_, unit) => states.map((state) => (1 + state[unit]) / 2)), brownToViolet);
    heat.frame([0, 4, 8].filter((unit) => unit < units), "hidden unit");
    heat.title(`${units} of the hidden units after each character, from -1 (brown) to 1 (violet)`);
    const highest = Math.max(1.25 * blind, 1.1 * Math.max(...bits));
    const cost = new Axes({ left: 64, right: 712, top: 222, bottom: 394, x, y: [0, highest] });
    cost.bars(bits.map((_, t) => t + 1), bits, 0.8, BLUE);
    cost.across(blind, { dash: "2 3" });
    cost.text("a blind guess", cost.left + 4, cost.Y(blind) - 4, { size: 12, anchor: "start", colour: GREY });
    cost.frame(roundTicks(0, highest), "bits to predict it");
    cost.letters(text);
    cost.letters(guesses, { below: 36 });
    cost.text("read:", 58, cost.bottom + 18, { size: 13, anchor: "end" });
    cost.text("guess:", 58, cost.bottom + 36, { size: 13, anchor: "end" });
    if (resetAt) for (const axes of [heat, cost]) axes.upright(resetAt - 1.5, ORANGE, { dash: "6 4" });
    return figure(440, [heat, cost]);
  }
}

// Chapter 5

const CLAMPS = {
  "none": {}, "hold: f = 1, i = 0": { f: 1, i: 0 }, "erase: f = 0": { f: 0 }, "only add: f = 1": { f: 1 },
  "write nothing: i = 0": { i: 0 }, "hide: o = 0": { o: 0 },
};

// A language model of one layer: embedding E (V, D), W_in (gates, D, H), W_h (gates, H, H), both biases (gates, H), W_hq (H, V),
// b_q (V).
const languageModel = ({ tokens, kind, ...stored }) => ({ ...withTokens(decodeAll(stored)), tokens, kind });

// A layer with W_x (gates, V, H) too: what each gate sums up of a token.
const withTokens = ({ E, W_in, b_x, b_h, ...others }) => {
  const gates = b_x.length, D = W_in.length / gates, V = E.length / D, H = others.W_h.length / gates;
  const W_x = new Float64Array(V * gates), blank = new Float64Array(H);
  for (let k = 0; k < gates / H; k++) {
    for (let id = 0; id < V; id++) W_x.set(affine(row(E, id, D), W_in, blank, k * D * H), (k * V + id) * H);
  }
  return { ...others, W_in, W_x, b_x, b_h, b: b_x.map((value, i) => value + b_h[i]), V, D, H };
};

class GateConsole {
  constructor(network) {
    Object.assign(this, { tokens: network.tokens, params: languageModel(network) });
  }

  // The gates, cell and state of each step, with gates held fast from a step on.
  follow(ids, held, start) {
    const { H } = this.params, blank = new Float64Array(H);
    let h = blank, c = blank;
    return ids.map((id, t) => {
      const [i, f, g, o] = ["i", "f", "g", "o"].map((name, k) => {
        if (t >= start && name in held) return blank.map(() => held[name]);
        return gateSum(this.params, k, id, h).map(name === "g" ? Math.tanh : sigmoid);
      });
      c = c.map((before, j) => f[j] * before + i[j] * g[j]);
      h = c.map((now, j) => o[j] * Math.tanh(now));
      return { f, i, o, c, h };
    });
  }

  bits(steps, ids) {
    const { H, W_hq, b_q } = this.params;
    return costs(steps.map(({ h }) => affine(h, W_hq, b_q)), ids);
  }

  read(typed, unit, clamp) {
    const text = readable(this.tokens, typed);
    if (text.length < 4 || text.length > 60) throw new RangeError(`the text has ${text.length} characters: give it 4 to 60`);
    const ids = text.map((character) => this.tokens.indexOf(character)), start = Math.floor(text.length / 2);
    const [free, held] = [{}, CLAMPS[clamp]].map((gates) => {
      const steps = this.follow(ids, gates, start);
      const traces = Object.fromEntries(Object.keys(steps[0]).map((name) => [name, steps.map((step) => step[name][unit])]));
      return { ...traces, bits: this.bits(steps, ids) };
    });
    return { sentence: this.describe(free, held, unit, clamp, start), picture: this.draw(text, free, held, unit, clamp, start) };
  }

  describe(free, held, unit, clamp, start) {
    const c = held.c.slice(start - 1), moves = c.slice(1).map((now, t) => Math.abs(now - c[t]));
    const [cost, freeCost] = [held, free].map(({ bits }) => mean(bits.slice(start)).toFixed(2));  // bits[t] is character t + 1's
    const most = Math.max(...moves).toFixed(3);
    const sentence = `unit ${unit}: from the middle on its memory cell moves by at most ${most} in one step, ` +
      `from ${c[0].toFixed(2)} to ${c.at(-1).toFixed(2)}`;
    if (clamp === "none") return `${sentence}; a character of the second half costs ${freeCost} bits.`;
    return `${sentence}; a character of the second half costs ${cost} bits instead of ${freeCost}.`;
  }

  draw(text, free, held, unit, clamp, start) {
    const place = { left: 70, right: 556, x: [-0.6, text.length - 0.4] };
    const gates = new Axes({ ...place, top: 30, bottom: 203, y: [-0.05, 1.05] });
    const lines = [["f, forget", BLUE, {}], ["i, input", ORANGE, { dash: "8 4" }], ["o, output", GREEN, { dash: "2 3" }]];
    for (const [name, colour, style] of lines) gates.line(held[name[0]], colour, style);
    gates.legend(lines);
    gates.frame([0, 0.5, 1], "gates");
    gates.title(`unit ${unit}, clamp: ${clamp}`);
    const values = [0, ...free.c, ...held.c, ...held.h], low = Math.min(...values), high = Math.max(...values);
    const room = 0.05 * (high - low), memory = new Axes({ ...place, top: 244, bottom: 417, y: [low - room, high + room] });
    memory.across(0);
    memory.line(free.c, GREY, { width: 1.2 });
    memory.line(held.c, INK);
    memory.line(held.h, PINK, { dash: "8 4" });
    memory.legend([
      ["c, not clamped", GREY, { width: 1.2 }], ["c, memory cell", INK, {}], ["h, hidden state", PINK, { dash: "8 4" }],
    ]);
    memory.frame(roundTicks(low - room, high + room), "memory");
    const most = 1.05 * Math.max(...free.bits, ...held.bits), cost = new Axes({ ...place, top: 458, bottom: 574, y: [0, most] });
    for (const [{ bits }, shift, colour] of [[free, -0.2, SKY], [held, 0.2, ORANGE]]) {
      cost.bars(bits.map((_, t) => t + 1 + shift), bits, 0.37, colour);
    }
    cost.legend([["not clamped", SKY, { width: 9 }], ["clamped", ORANGE, { width: 9 }]]);
    cost.frame(roundTicks(0, most, 3), "bits");
    for (const axes of [gates, memory, cost]) {
      axes.letters(text, { size: 12 });
      if (clamp !== "none") axes.upright(start - 0.5, GREY, { dash: "2 3" });
    }
    return figure(600, [gates, memory, cost]);
  }
}

// One step of each kind of layer, forward and back. A step keeps what its gates were; back is given how much the state after it
// counts, and returns the same of what each gate summed up (sums; past, where it was another for what came from the state
// before), and of the state before as far as it was handed on as it was (dh, dc).
const LAYERS = {
  RNN_TANH: {
    step: (net, id, { h }) => ({ h: gateSum(net, 0, id, h).map(Math.tanh) }),
    back: ({ h }, before, { dh }) => ({ sums: [dh.map((g, j) => g * (1 - h[j] ** 2))], dh: dh.map(() => 0) }),
  },
  GRU: {
    step: (net, id, { h }) => {
      const { W_h, b_h, W_x, b_x, V, H } = net, [r, z] = [0, 1].map((k) => gateSum(net, k, id, h).map(sigmoid));
      const past = affine(h, W_h, row(b_h, 2, H), 2 * H * H), seen = row(W_x, 2 * V + id, H), bias = row(b_x, 2, H);
      const n = past.map((value, j) => Math.tanh(seen[j] + bias[j] + r[j] * value));
      return { r, z, n, past, h: n.map((value, j) => (1 - z[j]) * value + z[j] * h[j]) };
    },
    back: ({ r, z, n, past }, before, { dh }) => {
      const candidate = dh.map((g, j) => g * (1 - z[j]) * (1 - n[j] ** 2));
      const sums = [
        candidate.map((g, j) => g * past[j] * r[j] * (1 - r[j])),
        dh.map((g, j) => g * (before.h[j] - n[j]) * z[j] * (1 - z[j])),
      ];
      return { sums: [...sums, candidate], past: [...sums, candidate.map((g, j) => g * r[j])], dh: dh.map((g, j) => g * z[j]) };
    },
  },
  LSTM: {
    step: (net, id, { h, c }) => {
      const [i, f, g, o] = [0, 1, 2, 3].map((k) => gateSum(net, k, id, h));
      const [out, now, state] = [c, c, c].map(({ length }) => new Float64Array(length));
      for (let j = 0; j < net.H; j++) {
        i[j] = sigmoid(i[j]);
        f[j] = sigmoid(f[j]);
        g[j] = Math.tanh(g[j]);
        o[j] = sigmoid(o[j]);
        now[j] = f[j] * c[j] + i[j] * g[j];
        out[j] = Math.tanh(now[j]);
        state[j] = o[j] * out[j];
      }
      return { i, f, g, o, out, c: now, h: state };
    },
    back: ({ i, f, g, o, out }, before, { dh, dc }) => {
      const cell = dc.map((later, j) => later + dh[j] * o[j] * (1 - out[j] ** 2));
      const sums = [
        cell.map((d, j) => d * g[j] * i[j] * (1 - i[j])),
        cell.map((d, j) => d * before.c[j] * f[j] * (1 - f[j])),
        cell.map((d, j) => d * i[j] * (1 - g[j] ** 2)),
        dh.map((d, j) => d * out[j] * o[j] * (1 - o[j])),
      ];
      return { sums, dh: dh.map(() => 0), dc: cell.map((d, j) => d * f[j]) };
    },
  },
};

class Connectivity {
  constructor(networks) {
    this.nets = Object.fromEntries(Object.entries(networks).map(([name, network]) => [name, languageModel(network)]));
    this.followed = {};  // the text that was read last, and all steps of each network
  }

  // Steps of a network through ids; the first is the state before all of them.
  follow(net, ids) {
    let now = { h: new Float64Array(net.H), c: new Float64Array(net.H) };
    return [now, ...ids.map((id) => (now = LAYERS[net.kind].step(net, id, now)))];
  }

  // How much log p of the token at a position moves with each input before it, as norms; and p.
  influence(net, steps, ids, position) {
    const { W_h, W_in, W_hq, b_q, D, H } = net, p = softmax(affine(steps[position].h, W_hq, b_q)), norms = [];
    const error = Float64Array.from(p, (share, id) => Number(id === ids[position]) - share);
    let later = { dh: pullBack(error, W_hq, H), dc: new Float64Array(H) };
    for (let t = position; t > 0; t--) {
      const { sums, past = sums, dh, dc } = LAYERS[net.kind].back(steps[t], steps[t - 1], later), input = new Float64Array(D);
      sums.forEach((moved, k) => pullBack(moved, W_in, D, k * D * H).forEach((value, d) => { input[d] += value; }));
      past.forEach((moved, k) => pullBack(moved, W_h, H, k * H * H).forEach((value, j) => { dh[j] += value; }));
      norms.unshift(Math.hypot(...input));
      later = { dh, dc };
    }
    return { norms, p: p[ids[position]] };
  }

  read(typed, shown) {
    const { tokens } = Object.values(this.nets)[0], text = readable(tokens, typed), position = Number(shown);
    if (position >= text.length) {
      throw new RangeError(`a text of ${text.length} characters ends before character ${position}: type more or move left`);
    }
    const ids = text.map((character) => tokens.indexOf(character));
    if (this.followed.text !== typed) {
      const steps = Object.fromEntries(Object.entries(this.nets).map(([name, net]) => [name, this.follow(net, ids)]));
      this.followed = { text: typed, steps };
    }
    const rows = Object.entries(this.nets).map(([name, net]) => {
      const { norms, p } = this.influence(net, this.followed.steps[name], ids, position);
      const total = Math.max(norms.reduce((a, b) => a + b), 1e-300);
      return { name, p, share: norms.map((norm) => norm / total) };
    });
    for (const each of rows) each.reach = this.reach(each.share);
    return { sentence: this.describe(text, position, rows), picture: this.draw(text, position, rows) };
  }

  // How many of the last entries hold nine tenths of the total.
  reach(share) {
    let left = 0.9 * share.reduce((a, b) => a + b), count = 0;
    while (left > 0) left -= share.at(-++count);
    return count;
  }

  describe(text, position, rows) {
    const before = text.slice(Math.max(0, position - 12), position).join("");
    const reaches = rows.map(({ name, reach }) => `${name} ${reach}`).join(", ");
    return `predicting “${text[position]}” after “${before}”, 90 % of the gradient lies in the last: ${reaches}.`;
  }

  draw(text, position, rows) {
    const x = [-0.6, Math.max(position + 1, 30) - 0.4], height = 100 * (1 + rows.length), high = (height - 16) / rows.length;
    return figure(height, rows.map(({ name, p, share, reach }, r) => {
      const axes = new Axes({ left: 8, right: 712, top: 34 + r * high, bottom: 4 + (r + 1) * high, x, y: [0, 1] });
      const most = Math.max(...share, 1e-300), tint = share.map((part) => Math.sqrt(part / most));  // small shares are seen, too
      const middle = (axes.top + axes.bottom) / 2 + 5, style = { size: 15, family: "monospace" };
      axes.table([tint], (value) => whiteToBlue(value / 1.15));
      tint.forEach((value, t) => axes.text(text[t], axes.X(t), middle, { ...style, colour: value > 0.7 ? "#fff" : INK }));
      axes.text(visible(text[position]), axes.X(position), middle, { ...style, colour: ORANGE, weight: "bold" });
      const title = `${name}: p = ${p.toFixed(3)}, 90 % of the gradient in the last ${reach}`;
      axes.text(title, 360, axes.top - 8, { size: 15 });
      return axes;
    }));
  }
}

// Chapter 7

const TOKEN = new RegExp(
  String.raw`[\p{L}\p{Nl}\p{No}]+(?=n't)|n't|'(?:s|m|re|ve|ll|d)(?![\p{L}\p{N}_])|[\p{L}\p{N}_]+|\.{2,}|[^\p{L}\p{N}_\s]`, "gu",
);

// As rnnlib.sentiment.tokenize_review.
const reviewWords = (text) => text.replaceAll("<br />", " ").replaceAll("’", "'").toLowerCase().match(TOKEN) ?? [];

const UNK = 0, PREFIXES = 100, LEFT_OUT = 100, BARS = 10, MOST_WORDS = 600;

// A number as Python's format writes it with its sign: so many digits after the point, or two digits in all.
const signed = (x, text) => (x < 0 || Object.is(x, -0) ? "" : "+") + text;
const fixed = (x) => signed(x, x.toFixed(2));
const twoDigits = (x) => {
  const [digits, power] = x.toExponential(1).split("e").map(Number);
  if (power >= -4 && power < 2) return signed(x, String(Number(x.toFixed(1 - power))));
  return signed(x, `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`);
};
const probability = (p) => (p < 0.001 ? "below 0.001" : p > 0.999 ? "above 0.999" : p.toFixed(3));
const shortened = (word) => (Array.from(word).length > 28 ? `${Array.from(word).slice(0, 27).join("")}…` : word);

// At most so many whole numbers from 1 to T, evenly spaced; halves go to the even neighbour.
const evenlySpaced = (T, most) => {
  const count = Math.min(T, most), step = count > 1 ? (T - 1) / (count - 1) : 0;
  const rounded = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
  return [...new Set(Array.from({ length: count }, (_, i) => (i + 1 === count ? T : rounded(1 + i * step))))];
};

// The states of an LSTM after each id; what two texts in a row begin with is read once.
class Follower {
  constructor(net) { Object.assign(this, { net, ids: [], steps: [] }); }

  follow(ids) {
    let same = 0;
    while (same < Math.min(ids.length, this.ids.length) && ids[same] === this.ids[same]) same++;
    const steps = this.steps.slice(0, same), blank = new Float64Array(this.net.H);
    for (const id of ids.slice(same)) steps.push(LAYERS.LSTM.step(this.net, id, steps.at(-1) ?? { h: blank, c: blank }));
    Object.assign(this, { ids, steps });
    return steps;
  }
}

// What a function makes of each unit's values in all states, one after the other.
const over = (states, join, begin) => {
  const found = Array(states[0].length).fill(begin);
  for (const state of states) for (let j = 0; j < found.length; j++) found[j] = join(found[j], state[j]);
  return found;
};

class RunningVerdict {
  // vectors: a letter for each number, axis after axis (D, V).
  constructor({ words, max_length, vectors, ahead, back, linear }) {
    this.words = new Map(words.split(" ").map((word, id) => [word, id]));
    Object.assign(this, { vectors, maxLength: max_length, directions: [ahead, back].map(decodeAll), linear: decodeAll(linear) });
  }

  // The logit of ids, read both ways: means and maxima of the states.
  score(ids, [ahead, back]) {
    const states = [ahead.follow(ids), back.follow([...ids].reverse())].map((steps) => steps.map(({ h }) => h));
    const means = states.flatMap((hs) => over(hs, (sum, value) => sum + value, 0).map((sum) => sum / hs.length));
    const maxima = states.flatMap((hs) => over(hs, Math.max, -1));
    return affine([...means, ...maxima], this.linear.W, this.linear.b)[0];
  }

  // Both layers over the words of one text, each word's vector multiplied into the gates once.
  layers(ids) {
    const distinct = [...new Set([UNK, ...ids])], V = distinct.length, size = this.words.size, D = this.vectors.length / size;
    const E = Float64Array.from({ length: V * D }, (_, i) => countOf(this.vectors, (i % D) * size + distinct[Math.floor(i / D)]));
    const nets = this.directions.map((arrays) => withTokens({ ...arrays, E }));
    return { local: ids.map((id) => distinct.indexOf(id)), nets };
  }

  measure(review, wanted) {
    const found = reviewWords(review), words = found.length ? found : ["<unk>"], T = words.length;
    if (T > MOST_WORDS) throw new RangeError(`a review of ${T} words is too long for a page: give it ${MOST_WORDS} at most`);
    const ids = words.map((word) => this.words.get(word) ?? UNK), { local, nets } = this.layers(ids);
    const judge = () => {
      const followers = nets.map((net) => new Follower(net));
      return (text) => this.score(text.slice(-this.maxLength), followers);
    };
    const ends = evenlySpaced(T, PREFIXES), prefixes = ends.map((end) => local.slice(0, end)).map(judge());
    const span = Math.min(wanted, T), first = Math.max(0, T - Math.min(LEFT_OUT, this.maxLength)), scoreWithout = judge();
    const places = Array.from({ length: T - span + 1 - first }, (_, i) => first + i), p = prefixes.map(sigmoid);
    const bars = places.map((begin) => {
      const left = local.map((id, t) => (t >= begin && t < begin + span ? 0 : id)), same = left.every((id, t) => id === local[t]);
      const change = same ? 0 : prefixes.at(-1) - scoreWithout(left);  // the first of the distinct ids is <unk>
      return { name: words.slice(begin, begin + span).join(" "), place: begin + 1, change };
    });
    const steps = p.slice(1).map((now, i) => Math.abs(now - p[i])), turned = prefixes.map((logit) => logit > 0);
    return {
      words, ends, p, first, unknown: ids.filter((id) => id === UNK).length,
      turn: turned.findLastIndex((now, i) => i > 0 && now !== turned[i - 1]),
      leap: steps.length ? 1 + steps.indexOf(Math.max(...steps)) : 0,
      bars: bars.sort((a, b) => Math.abs(b.change) - Math.abs(a.change)).slice(0, BARS),
    };
  }

  read(review, span) {
    const data = this.measure(review, Number(span));
    return { sentence: this.describe(data), picture: this.draw(data) };
  }

  place({ words, ends }, number) {
    const [before, end] = ends.slice(number - 1);
    return end - before > 1 ? `between words ${before} and ${end}` : `at “${shortened(words[before])}” (${end})`;
  }

  describe(data) {
    const { words, p, turn, leap, first, unknown, bars: [{ name, place, change }] } = data, last = p.at(-1);
    const parts = [
      `${last > 0.5 ? "positive" : "negative"} after word ${words.length}, the last: P(positive) ${probability(last)}`,
      turn > 0 ? `it turned for the last time ${this.place(data, turn)}` : "it never turned",
    ];
    if (leap && p[leap] !== p[leap - 1]) {
      parts.push(`its largest step, ${fixed(p[leap] - p[leap - 1])}, came ${this.place(data, leap)}`);
    }
    const among = first ? ` (of the last ${words.length - first})` : "", most = `“${shortened(name)}” at ${place}`;
    if (change === 0) parts.push("no word changes it when it is left out");
    else parts.push(`most influential${among}: ${most}, which adds ${twoDigits(change)} to the logit`);
    if (unknown) parts.push(`unknown to the model: ${unknown} of ${words.length} words`);
    return `${parts.join("; ")}.`;
  }

  draw(data) {
    const { words, ends, p, turn, first, bars } = data, T = words.length;
    const curve = new Axes({ left: 76, right: 698, top: 30, bottom: 216, x: [0.5 - 0.01 * T, 1.01 * T + 0.5], y: [-0.04, 1.04] });
    const points = p.map((value, i) => [curve.X(ends[i]), curve.Y(value)]);
    curve.across(0.5, { dash: "2 3" });
    curve.path(points, BLUE);
    for (const [x, y] of points) curve.dot(x, y, 2.6, BLUE);
    let title = ends.length < T ? `the verdict at ${ends.length} places of ${T} words` : `the verdict after each of ${T} words`;
    if (turn > 0) {
      const [x, y] = points[turn];
      curve.path([[x - 6, y - 6], [x + 6, y - 6], [x + 6, y + 6], [x - 6, y + 6], [x - 6, y - 6]], ORANGE);
      title += `; the square: the last turn, ${this.place(data, turn)}`;
    }
    curve.title(title);
    curve.frame([0, 0.5, 1], "P(positive)");
    curve.ticksBelow(roundTicks(1, T, 6).filter(Number.isInteger));
    const most = Math.max(...bars.map(({ change }) => Math.abs(change)), 0.01), x = [-1.05 * most, 1.05 * most];
    const chart = new Axes({ left: 76, right: 698, top: 284, bottom: 488, x, y: [0.2 - BARS, 0.7] });
    bars.forEach(({ name, place, change }, i) => {
      const y = chart.Y(-i), zero = chart.X(0), side = change >= 0 ? -1 : 1;  // the name stands opposite its bar
      chart.path([[zero, y], [chart.X(change), y]], change >= 0 ? BLUE : ORANGE, { width: 11 });
      chart.text(`${shortened(name)} (${place})`, zero + 8 * side, y + 4, { size: 13, anchor: change >= 0 ? "end" : "start" });
    });
    chart.upright(0, INK, { width: 1 });
    chart.ticksBelow(roundTicks(...x, 6));
    chart.text("what the word adds to the logit: left, against; right, in favour", 387, 530);
    chart.title(`the words (of ${first ? `the last ${T - first}` : `all ${T}`}) that the verdict rests on, and their places`);
    return figure(540, [curve, chart]);
  }
}

// Chapter 9

const BOS = 2, EOS = 3, MAX_STEPS = 20;

// A GRU that reads ids.
class Gru {
  constructor(arrays) { this.net = withTokens(decodeAll(arrays)); }

  step(id, h) { return LAYERS.GRU.step(this.net, id, { h }).h; }

  // The state after each id.
  follow(ids) {
    let h = new Float64Array(this.net.H);
    return ids.map((id) => (h = this.step(id, h)));
  }
}

// From letters to phonemes, with attention by dot products.
class Pronouncer {
  constructor({ letters, phonemes, ahead, back, decoder, ...linear }) {
    Object.assign(this, { letters, phonemes, ahead: new Gru(ahead), back: new Gru(back), decoder: new Gru(decoder) });
    this.linear = Object.fromEntries(Object.entries(linear).map(([name, arrays]) => [name, decodeAll(arrays)]));
  }

  apply(name, ...vectors) {
    const { W, b } = this.linear[name];
    return affine(vectors.flatMap((vector) => Array.from(vector)), W, b);
  }

  // Keys of all letters, and the state from which the decoder starts.
  encode(letters) {
    const ids = letters.map((letter) => this.letters.indexOf(letter));
    const ahead = this.ahead.follow(ids), back = this.back.follow([...ids].reverse()).reverse();
    const keys = ahead.map((h, s) => this.apply("keys", h, back[s]));
    return { keys, state: this.apply("state", ahead.at(-1), back[0]).map(Math.tanh) };
  }

  // One step of the decoder: its state, where it looks, and what it would say.
  look(id, before, keys) {
    const state = this.decoder.step(id, before);
    const weights = softmax(keys.map((key) => key.reduce((sum, k, j) => sum + k * state[j], 0)));
    const context = state.map((_, j) => keys.reduce((sum, key, s) => sum + weights[s] * key[j], 0));
    return { state, weights, p: softmax(this.apply("readout", this.apply("join", context, state).map(Math.tanh))) };
  }
}

const lettersOf = (typed) => {
  const letters = Array.from(typed.trim().toLowerCase());
  if (!letters.length || letters.length > 16 || !letters.every((letter) => /^[a-z]$/.test(letter))) {
    throw new RangeError(`${quoted(typed)} can't be read: type one word of 1 to 16 letters from a to z`);
  }
  return letters;
};

const END = "<eos>", marked = (phoneme) => phoneme.replace(END, "⏎");

class AttentionInspector {
  constructor(network) { this.network = new Pronouncer(network); }

  // What is written for a word, step by step, its end included.
  write(letters) {
    const steps = [];
    let { keys, state } = this.network.encode(letters), id = BOS;
    while (id !== EOS && steps.length < MAX_STEPS) {
      const seen = this.network.look(id, state, keys);
      ({ state } = seen);
      id = argmax(seen.p);
      steps.push({ ...seen, phoneme: this.network.phonemes[id] });
    }
    return steps;
  }

  read(typed, wanted) {
    const letters = lettersOf(typed), steps = this.write(letters), step = Math.min(Number(wanted), steps.length);
    return { sentence: this.describe(letters, steps, step), picture: this.draw(letters, steps, step) };
  }

  describe(letters, steps, step) {
    const { weights, phoneme } = steps[step - 1], place = argmax(weights);
    const spoken = steps.map((each) => each.phoneme).filter((each) => each !== END).join(" ");
    return `“${letters.join("")}” is read as ${spoken}. At step ${step} it says ${phoneme.replace(END, "the end (⏎)")} and ` +
      `looks most at letter ${place + 1}, “${letters[place]}”, with weight ${weights[place].toFixed(2)}.`;
  }

  draw(letters, steps, step) {
    const S = letters.length, T = steps.length, x = [-0.5, S - 0.5], { weights, p } = steps[step - 1];
    const map = new Axes({ left: 72, right: 698, top: 30, bottom: 308, x, y: [T - 0.5, -0.5] });
    map.table(steps.map((each) => each.weights), whiteToBlue);
    map.title("each row: where the decoder looks before it says this phoneme");
    steps.forEach(({ phoneme }, t) => map.text(marked(phoneme), 66, map.Y(t) + 5, { anchor: "end", family: "monospace" }));
    map.letters(letters, { size: 14 });
    const [top, bottom] = [step - 1.5, step - 0.5].map((y) => map.Y(y));
    map.path([[72, top], [698, top], [698, bottom], [72, bottom], [72, top]], ORANGE);
    const bars = new Axes({ left: 72, right: 698, top: 372, bottom: 490, x, y: [0, 1.05] });
    bars.bars(weights.map((_, s) => s), weights, 0.8, ORANGE);
    bars.frame([0, 0.5, 1], "weight");
    bars.letters(letters, { size: 14 });
    const likeliest = p.map((share, id) => [share, this.network.phonemes[id]]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    const named = likeliest.map(([share, name]) => `${marked(name)} ${share.toFixed(2)}`).join(", ");
    bars.title(`step ${step}; likeliest: ${named}`);
    return figure(520, [map, bars]);
  }
}

class BeamTree {
  constructor(network) { this.network = new Pronouncer(network); }

  // The steps of the search, each a list of nodes, the best first, with two that fell out; and the texts that were found.
  search(letters, width) {
    const { keys, state } = this.network.encode(letters), steps = [], ended = [];
    let alive = [{ id: BOS, state, score: 0, place: 0, said: [] }];
    while (alive.length && steps.length < MAX_STEPS) {
      const room = width - ended.length;
      const ways = alive.flatMap((node) => {
        const seen = this.network.look(node.id, node.state, keys);
        const phonemes = this.network.phonemes, shared = { state: seen.state, parent: node.place, before: node };
        return seen.p.map((p, id) => ({ ...shared, id, phoneme: phonemes[id], score: node.score + Math.log(p) }));
      });
      const nodes = ways.sort((a, b) => b.score - a.score).slice(0, room + 2).map(({ before, ...node }, place) => {
        const fate = place >= room ? "cut" : node.id === EOS ? "ended" : "kept";
        return { ...node, place, fate, said: node.id === EOS ? before.said : [...before.said, node.phoneme] };
      });
      steps.push(nodes);
      ended.push(...nodes.filter(({ fate }) => fate === "ended"));
      alive = nodes.filter(({ fate }) => fate === "kept");
    }
    return { steps, found: [...ended, ...alive].sort((a, b) => b.score - a.score) };
  }

  read(typed, wanted) {
    const letters = lettersOf(typed), width = Number(wanted), { steps, found } = this.search(letters, width);
    const texts = found.slice(0, 3).map(({ said, score }) => `${said.join(" ")} (${score.toFixed(2)})`).join("; ");
    const sentence = `“${letters.join("")}” with a beam of ${width}: ${texts}.`;
    return { sentence, picture: this.draw(letters.join(""), steps) };
  }

  draw(word, steps) {
    const rows = Math.max(4, ...steps.map((nodes) => nodes.length)), columns = Math.max(4, steps.length);
    const tree = new Axes({ left: 14, right: 709, top: 30, bottom: 414, x: [-0.5, columns + 0.4], y: [0.4 - rows, 0.6] });
    const colours = { kept: SKY, ended: YELLOW, cut: "#EEEEEE" }, size = steps.length <= 9 ? 13 : 10;
    steps.forEach((nodes, t) => nodes.forEach(({ parent, fate }, place) => {
      const ends = [[tree.X(t), tree.Y(-parent)], [tree.X(t + 1), tree.Y(-place)]];
      tree.path(ends, GREY, { width: 1, dash: fate === "cut" ? "2 3" : "" });
    }));
    tree.box(tree.X(0) - 5 * word.length, tree.Y(0) - 12, 10 * word.length, 24, "#fff");
    tree.text(word, tree.X(0), tree.Y(0) + 5);
    steps.forEach((nodes, t) => nodes.forEach(({ phoneme, score, fate }, place) => {
      const x = tree.X(t + 1), y = tree.Y(-place);
      tree.box(x - 1.6 * size, y - 1.4 * size, 3.2 * size, 2.8 * size, colours[fate]);
      tree.text(marked(phoneme), x, y - 0.2 * size, { size });
      tree.text(score.toFixed(1), x, y + size, { size });
    }));
    tree.title("blue: kept, yellow: ended (⏎), grey: cut; the numbers are log p so far");
    return figure(440, [tree]);
  }
}

const readers = { AttentionInspector, BeamTree, Connectivity, GateConsole, RunningVerdict, UnrollStepper };
