// A page on which chapter 2's network learns a text of the reader's choice. Needs network.js.
"use strict";
(() => {
  const BATCH_SIZE = 8, NUM_STEPS = 25, HELD_OUT = 0.1, CLIP = 1, LR = 1;
  const BUSY = 40;  // milliseconds of training between two looks at the page
  const SAY = 1000;  // milliseconds between two findings, so that a screen reader isn't flooded
  const part = (name) => document.getElementById(`train-${name}`);
  let run = null, going = false, saidAt = 0;

  // The characters that the network reads: small letters, one space where there are several.
  const clean = (text) => text.toLowerCase().replace(/\s+/g, " ");

  const start = () => {
    const text = clean(part("text").value.trim()), tokens = [...new Set(text)].sort();
    const ids = Array.from(text, (character) => tokens.indexOf(character));
    const cut = Math.floor((1 - HELD_OUT) * ids.length), train = ids.slice(0, cut), valid = ids.slice(cut);
    if (train.length <= BATCH_SIZE * NUM_STEPS) {
      throw new RangeError(`a text of ${ids.length} characters is too short: take 300 or more`);
    }
    const network = new Network(tokens.length, Number(part("units").value), randomNumbers(Number(part("seed").value)));
    const counts = tokens.map((_, id) => train.filter((other) => other === id).length + 1);  // none is 0
    const sum = counts.reduce((a, b) => a + b);
    const unigram = Math.exp(-valid.reduce((nats, id) => nats + Math.log(counts[id] / sum), 0) / valid.length);
    const batches = sequentialBatches(train, BATCH_SIZE, NUM_STEPS);
    return { tokens, network, batches, valid, unigram, history: [], place: 0, nll: 0, states: null };
  };

  // One minibatch; at the end of an epoch, its perplexities.
  const learn = (run) => {
    if (run.place === 0) Object.assign(run, { nll: 0, states: Array.from({ length: BATCH_SIZE }, () => run.network.begin()) });
    const [X, Y] = run.batches[run.place];
    const found = run.network.gradients(X, Y, run.states);
    run.network.update(found.grads, LR, CLIP);
    run.states = found.states;
    run.nll += found.nll / run.batches.length;
    run.place = (run.place + 1) % run.batches.length;
    if (run.place === 0) {
      const held = run.network.gradients([run.valid.slice(0, -1)], [run.valid.slice(1)], [run.network.begin()]);
      run.history.push({ train: Math.exp(run.nll), valid: Math.exp(held.nll) });
    }
  };

  const draw = (run) => {
    const [left, right, top, bottom] = [45, 560, 12, 205], epochs = Math.max(10, run.history.length);
    const highest = 1.3 * Math.max(run.tokens.length, ...run.history.map((row) => row.valid));
    const x = (epoch) => left + (right - left) * epoch / epochs;
    const y = (perplexity) => bottom - (bottom - top) * Math.log(perplexity) / Math.log(highest);
    const line = (key) => run.history.map((row, i) => `${i ? "L" : "M"}${x(i + 1).toFixed(1)},${y(row[key]).toFixed(1)}`).join("");
    const marks = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000].filter((mark) => mark < highest);
    const ticks = marks.map((mark) => `<text x="${left - 6}" y="${y(mark) + 4}" text-anchor="end">${mark}</text>`);
    const landmarks = { uniform: run.tokens.length, unigram: run.unigram };
    const dotted = Object.entries(landmarks).map(([name, value]) => (
      `<path class="landmark" d="M${left},${y(value)}H${right}"/><text x="${right + 6}" y="${y(value) + 4}">${name}</text>`));
    part("curve").innerHTML = `
      <path class="axis" d="M${left},${top}V${bottom}H${right}"/>${ticks.join("")}${dotted.join("")}
      <text x="${right}" y="${bottom + 18}" text-anchor="end">epoch ${run.history.length}</text>
      <text x="${left + 6}" y="${top + 4}">perplexity (log)</text>
      <path class="train" d="${line("train")}"/><path class="valid" d="${line("valid")}"/>
      <path class="train" d="M${left + 150},${top}h28"/><text x="${left + 184}" y="${top + 4}">training</text>
      <path class="valid" d="M${left + 260},${top}h28"/><text x="${left + 294}" y="${top + 4}">held-out</text>`;
  };

  const sample = () => {
    const known = Array.from(clean(part("prefix").value)).filter((character) => run?.tokens.includes(character));
    part("temperature-value").textContent = part("temperature").value;
    if (!run?.history.length) return;
    const prefix = known.map((character) => run.tokens.indexOf(character));
    const written = run.network.write(prefix, 120, Number(part("temperature").value), randomNumbers(1));
    part("sample").textContent = known.join("") + written.map((id) => run.tokens[id]).join("");
  };

  const say = (run, state) => {
    const best = run.history.reduce((a, b) => (b.valid < a.valid ? b : a)), last = run.history.at(-1);
    saidAt = performance.now();
    part("finding").textContent =
      `${state}: ${run.history.length} epochs; training perplexity ${last.train.toFixed(2)}, held-out ${last.valid.toFixed(2)}, ` +
      `best held-out ${best.valid.toFixed(2)} at epoch ${run.history.indexOf(best) + 1}. ` +
      `A uniform guess has ${run.tokens.length}, letters by their frequency ${run.unigram.toFixed(1)}.`;
    part("curve").setAttribute("aria-label", part("finding").textContent);
  };

  const look = () => {
    const now = performance.now(), known = run.history.length;
    while (going && performance.now() - now < BUSY) learn(run);
    if (run.history.length > known) {
      draw(run);
      if (!going || performance.now() - saidAt > SAY) {
        sample();
        say(run, "Training");
      }
    }
    if (going) setTimeout(look);
  };

  const show = () => {
    part("go").textContent = going ? "Stop" : run ? "Go on" : "Train";
    document.getElementById("train").dataset.state = going ? "training" : run ? "stopped" : "ready";
  };

  const press = () => {
    try {
      run ??= start();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      part("finding").textContent = `Not possible: ${error.message}.`;
      return;
    }
    going = !going;
    show();
    if (going) look();
    else if (run.history.length) {
      sample();
      say(run, "Stopped");
    }
  };

  const anew = () => {
    run = null;
    going = false;
    part("curve").replaceChildren();
    part("sample").textContent = part("finding").textContent = "";
    show();
  };

  document.addEventListener("DOMContentLoaded", () => {
    part("go").addEventListener("click", press);
    part("anew").addEventListener("click", anew);
    for (const name of ["text", "units", "seed"]) part(name).addEventListener("change", anew);
    for (const name of ["temperature", "prefix"]) part(name).addEventListener("input", sample);
    part("units").addEventListener("input", () => { part("units-value").textContent = part("units").value; });
    document.getElementById("train").hidden = false;
    sample();
    show();
  });
})();
