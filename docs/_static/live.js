// Explorers move on a page without a kernel: their pictures and findings were drawn beforehand, one for each setting.
// A classic script, as are the albums of pictures in the folder live, because pages opened from a disk load no others.
"use strict";
const rnnlive = (() => {
  const folder = new URL("live/", document.currentScript.src);
  const REST = 150;  // milliseconds without a move before a finding is said, so that a screen reader isn't flooded
  const LINE = 90;  // characters of a text that one line has room for
  let counter = 0;

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // Albums, and networks

  const fetchScript = (name) => new Promise((resolve, reject) => {
    const script = make("script", { src: new URL(name, folder) });
    script.onload = () => resolve(script.packed);
    script.onerror = () => reject(new Error(`${name} can't be loaded`));
    document.head.append(script);
  });

  const unpack = async (packed) => {
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  };

  // What a file holds; two explorers that share a network load it once.
  const loaded = new Map();
  const load = (name) => {
    if (!loaded.has(name)) loaded.set(name, fetchScript(name).then(unpack));
    return loaded.get(name);
  };

  // The weights that an album's page computes with, from files beside its own: one network, or several by name.
  const weights = async (name, { network, networks }) => {
    const beside = (file) => load(name.replace(/[^/]*$/, file));
    if (network) return beside(network);
    return Object.fromEntries(await Promise.all(Object.entries(networks).map(async ([of, file]) => [of, await beside(file)])));
  };

  // A picture is written as numbers of lines, "0-41 57"; all pictures of an explorer share their lines.
  const picture = (album, number) => {
    const lines = album.pictures[number].split(" ").flatMap((range) => {
      const [first, last = first] = range.split("-").map(Number);
      return album.lines.slice(first, last + 1);
    });
    return lines.join("\n");
  };

  // The number of a setting; the last control is the fastest.
  const numberOf = (album, places) => places.reduce((sum, place, i) => sum * album.controls[i].values.length + place, 0);

  // What was drawn beforehand for a setting.
  const stored = (album, number) => {
    const [, what, sentence] = album.sentences[number].match(/^(.*?): (.*)$/s);
    return { what, sentence, picture: album.pictures[number] && picture(album, number) };
  };

  // What the page's own network gives for these values.
  const computed = (reader, values) => {
    try {
      return { what: "Seen", ...reader.read(...values) };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return { what: "Not possible", sentence: error.message };
    }
  };

  // Controls: each is a node, and a function that shows another of its values.

  const slider = (control, id, move) => {
    const said = make("output", { for: id });
    const input = make("input", { id, type: "range", min: 0, max: control.values.length - 1 });
    const show = (place) => {
      input.value = place;
      said.textContent = control.values[place];
      input.setAttribute("aria-valuetext", control.values[place]);
    };
    input.addEventListener("input", () => { show(input.value); move(Number(input.value)); });
    return { node: make("div", { class: "control" }, make("label", { for: id }, control.name), input, said), show };
  };

  const buttons = (control, id, move) => {
    const inputs = control.values.map((value, place) => {
      const input = make("input", { type: "radio", name: id, id: `${id}-${place}` });
      input.addEventListener("change", () => move(place));
      return input;
    });
    const labels = inputs.map((input, place) => make("label", { for: input.id }, input, ` ${control.values[place]}`));
    const node = make("fieldset", { class: "control" }, make("legend", {}, control.name), make("div", {}, ...labels));
    return { node, show: (place) => { inputs[place].checked = true; } };
  };

  const list = (control, id, move) => {
    const select = make("select", { id }, ...control.values.map((value) => make("option", {}, value)));
    select.addEventListener("change", () => move(select.selectedIndex));
    const node = make("div", { class: "control" }, make("label", { for: id }, control.name), select);
    return { node, show: (place) => { select.selectedIndex = place; } };
  };

  // A text to type. One of a line is read at each letter, and those of the album are offered; a longer one when its writer rests.
  const textField = (control, id, move) => {
    const long = control.values.some((value) => value.length > LINE), plain = { id, spellcheck: "false", autocomplete: "off" };
    const field = long ? make("textarea", { ...plain, rows: 5 }) : make("input", { ...plain, type: "text", list: `${id}-offered` });
    field.addEventListener("input", () => move(control.values.indexOf(field.value), field.value, long ? REST : 0));
    const node = make("div", { class: long ? "control long" : "control" }, make("label", { for: id }, control.name), field);
    if (!long) node.append(make("datalist", { id: `${id}-offered` }, ...control.values.map((value) => make("option", { value }))));
    return { node, show: (place) => { field.value = control.values[place]; } };
  };

  const constant = (control) => {
    const node = make("div", { class: "control" }, make("span", {}, control.name), make("span", {}, control.values[0]));
    return { node, show: () => {} };
  };

  const build = (control, typed, move) => {
    const id = `live-${++counter}`, long = control.values.some((value) => value.length > 30);
    if (typed) return textField(control, id, move);
    if (control.values.length === 1) return constant(control);
    return (control.kind === "slider" ? slider : long ? list : buttons)(control, id, move);
  };

  // A text that the reader types, and how the chapter's own network writes on.
  const writer = (prefix, stored) => {
    const { tokens } = stored, network = Network.load(stored), id = `live-${++counter}`;
    if (tokens.includes("<unk>")) network.params.b_q[tokens.indexOf("<unk>")] = -Infinity;  // is never written
    const text = make("input", { id, type: "text", maxlength: 60, spellcheck: "false", value: prefix });
    const said = make("output", { for: `${id}-T` });
    const temperature = make("input", { id: `${id}-T`, type: "range", min: 0, max: 2, step: 0.05, value: 0.5 });
    const next = make("p"), written = make("p", { class: "written", "aria-live": "polite" });
    let saying;
    const write = () => {
      const T = Number(temperature.value), typed = text.value.toLowerCase();
      const unknown = Array.from(typed).find((letter) => !tokens.includes(letter));
      said.textContent = T.toFixed(2);
      if (unknown !== undefined || !typed) {
        next.textContent = unknown ? `Not possible: the network has never read “${unknown}”.` : "Not possible: type a letter.";
        return;
      }
      const ids = Array.from(typed, (letter) => tokens.indexOf(letter));
      const h = ids.reduce((state, read) => network.step(read, state), network.begin());
      const p = nextProbabilities(network.readOut(h), T);
      const best = p.map((share, i) => [share, i]).sort((a, b) => b[0] - a[0]).slice(0, 5);
      const named = best.map(([share, i]) => `${tokens[i] === " " ? "space" : tokens[i]} ${(100 * share).toFixed(1)} %`);
      next.textContent = `Next: ${named.join(", ")}`;
      clearTimeout(saying);
      saying = setTimeout(() => {
        const more = network.write(ids, 120, T, randomNumbers(1));
        written.textContent = typed + more.map((i) => tokens[i]).join("");
      }, REST);
    };
    for (const input of [text, temperature]) input.addEventListener("input", write);
    write();
    return make(
      "div", { class: "writer", role: "group", "aria-label": "Type, and the network writes on" },
      make("p", {}, "The network itself is in this page: type, and it writes on, with random numbers of the page's own."),
      make("div", { class: "row" }, make("label", { for: id }, "how it begins"), text),
      make("div", { class: "row" }, make("label", { for: `${id}-T` }, "temperature"), temperature, said), next, written,
    );
  };

  // Explorers: the stored heading, picture and finding of a page come alive.

  const mount = ({ hint, image, finding }, album, fetchWeights) => {
    const values = album.controls.map((control) => control.values[control.start]);  // as they are shown
    const places = album.controls.map((control) => control.start);  // -1 for a text that was not drawn
    const root = make("div", { class: "live", role: "group", "aria-label": album.title });
    const computes = album.reads && !album.pictures.length;  // a page that draws by itself
    let reader;  // of what is typed; its weights are fetched when somebody comes near the controls
    const fetchReader = () => (reader ??= fetchWeights().then((weights) => new readers[album.reads](weights)));
    let saying, shown, moves = 0;
    const say = ({ what, sentence }) => {
      clearTimeout(saying);
      saying = setTimeout(async () => {
        finding.replaceChildren(make("strong", {}, `${what}:`), ` ${sentence}`);
        await image.decode();
        root.dataset.state = "ready";
      }, REST);
    };
    const show = async (rest = 0) => {
      const move = ++moves, number = numberOf(album, places);
      root.dataset.state = "moving";
      if (rest) await new Promise((rested) => setTimeout(rested, rest));
      if (move !== moves) return;
      const seen = computes || places.includes(-1) ? computed(await fetchReader(), values) : stored(album, number);
      if (move !== moves) return;  // the reader went on
      if (seen.picture) {
        URL.revokeObjectURL(shown);
        shown = URL.createObjectURL(new Blob([seen.picture], { type: "image/svg+xml" }));
        image.src = shown;
        image.alt = seen.sentence;
      }
      say(seen);
    };
    const controls = album.controls.map((control, i) =>
      build(control, album.reads && i === 0, (place, value = control.values[place], rest = 0) => {
        places[i] = place;
        values[i] = value;
        show(rest);
      }));
    const set = (place, i) => {
      controls[i].show(places[i] = place);
      values[i] = album.controls[i].values[place];
    };
    const presets = Object.entries(album.presets).map(([name, wanted]) => {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        wanted.forEach((place, i) => { if (place !== null) set(place, i); });
        show();
      });
      return button;
    });
    places.forEach(set);
    image.loading = "eager";
    const link = image.closest("a");
    (link ?? image).replaceWith(root);
    root.append(...controls.map((control) => control.node));
    if (presets.length) root.append(make("div", { class: "presets" }, "Try: ", ...presets));
    finding.setAttribute("aria-live", "polite");
    root.append(make("div", { class: "picture", tabindex: 0, role: "region", "aria-label": "picture" }, image), finding);
    if (album.prefix) fetchWeights().then((network) => root.append(writer(album.prefix, network)));
    if (album.reads) for (const near of ["pointerover", "focusin"]) root.addEventListener(near, fetchReader, { once: true });
    hint.textContent = computes
      ? `The network itself is in this page: type a text of your own, and it reads it. ${album.note ?? ""}`
      : `These ${album.sentences.length} settings were drawn beforehand; JupyterLab draws any.`;
    if (!computes) show();
    else {
      const first = stored(album, numberOf(album, places));
      image.alt = first.sentence;
      say(first);  // the stored picture stays until something moves
    }
  };

  const storedParts = () => {
    const found = [];
    for (const element of document.querySelectorAll("p, img")) {
      const text = element.textContent, open = found.at(-1);
      if (text.includes("Predict first:") && element.firstElementChild?.tagName === "STRONG") {
        found.push({ heading: element, hint: element.nextElementSibling });
      } else if (open && element.tagName === "IMG") open.image ??= element;
      else if (open && text.startsWith("Seen:")) open.finding ??= element;
    }
    return found;
  };

  document.addEventListener("DOMContentLoaded", () => {
    const lists = [...document.querySelectorAll("script.frames")].map((list) => JSON.parse(list.textContent));
    const names = Object.assign({}, ...lists), parts = new Map();
    const near = new IntersectionObserver((entries) => {
      for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
        near.unobserve(target);
        const [part, name] = parts.get(target);
        load(name).then((album) => mount(part, album, () => weights(name, album)));
      }
    }, { rootMargin: "800px" });
    for (const part of storedParts()) {
      const name = names[part.heading.firstElementChild.textContent];
      if (!name) continue;
      parts.set(part.heading, [part, name]);
      near.observe(part.heading);
    }
  });

  return { add: (title, packed) => { document.currentScript.packed = packed; } };
})();
