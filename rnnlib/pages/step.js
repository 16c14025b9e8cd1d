// One step of a recurrent network in plain JavaScript: the next scores and the next state, for one id.
function unpack(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
}
function load(weights) { // name: [type, shape, base64] -> name: Float32Array, the scales multiplied in
  const found = {};
  for (const [name, [type, shape, packed]] of Object.entries(weights)) {
    const numbers = new (type === "int8" ? Int8Array : Float32Array)(unpack(packed));
    found[name] = Float32Array.from(numbers);
    found[name].width = shape[1];
  }
  for (const name of Object.keys(found).filter((name) => found[name + ".scale"])) {
    const W = found[name];
    W.forEach((q, i) => (W[i] = q * found[name + ".scale"][Math.floor(i / W.width)]));
  }
  return found;
}
function product(W, x, b) { // W x + b, W row after row
  const y = Float32Array.from(b);
  for (let i = 0, k = 0; i < y.length; i++) for (let j = 0; j < x.length; j++) y[i] += W[k++] * x[j];
  return y;
}
const logistic = (z) => 1 / (1 + Math.exp(-z));
function cell(a, b, h, c) { // a: share of the input, b: of the state; PyTorch's order of gates
  const H = h.length, kind = a.length / H;
  for (let j = 0; j < H; j++) {
    const sum = (gate) => a[gate * H + j] + b[gate * H + j];
    if (kind === 1) h[j] = Math.tanh(sum(0));
    if (kind === 3) { // GRU: r, z, n
      const n = Math.tanh(a[2 * H + j] + logistic(sum(0)) * b[2 * H + j]);
      h[j] = n + logistic(sum(1)) * (h[j] - n);
    }
    if (kind === 4) { // LSTM: i, f, g, o
      c[j] = logistic(sum(1)) * c[j] + logistic(sum(0)) * Math.tanh(sum(2));
      h[j] = logistic(sum(3)) * Math.tanh(c[j]);
    }
  }
}
function begin(net) { // a state of zeros: h and c of each level
  const state = [];
  for (let l = 0; net["rnn.weight_hh_l" + l]; l++) {
    const H = net["rnn.weight_hh_l" + l].width;
    state.push([new Float32Array(H), new Float32Array(H)]);
  }
  return state;
}
function step(net, id, state) { // changes the state, returns the scores
  const W = net["rnn.weight_ih_l0"], E = net["embedding.weight"];
  let x = E ? E.subarray(id * W.width, (id + 1) * W.width) : Float32Array.from({ length: W.width }, (_, j) => +(j === id));
  state.forEach(([h, c], l) => {
    const a = product(net["rnn.weight_ih_l" + l], x, net["rnn.bias_ih_l" + l]);
    cell(a, product(net["rnn.weight_hh_l" + l], h, net["rnn.bias_hh_l" + l]), h, c);
    x = h;
  });
  return product(net["linear.weight"], x, net["linear.bias"]);
}
