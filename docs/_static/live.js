// Explorers move on a page without a kernel: their pictures and findings were drawn beforehand, one for each setting.
// A classic script, as are the albums of pictures in the folder live, because pages opened from a disk load no others.
"use strict";
const rnnlive = (() => {
  const folder = new URL("live/", document.currentScript.src);
  const REST = 150;  // milliseconds without a move before a finding is said, so that a screen reader isn't flooded
  let counter = 0;

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // Albums

  const load = (name) => new Promise((resolve, reject) => {
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

  // A picture is written as numbers of lines, "0-41 57"; all pictures of an explorer share their lines.
  const picture = (album, number) => {
    const lines = album.pictures[number].split(" ").flatMap((range) => {
      const [first, last = first] = range.split("-").map(Number);
      return album.lines.slice(first, last + 1);
    });
    return new Blob([lines.join("\n")], { type: "image/svg+xml" });
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

  const constant = (control) => {
    const node = make("div", { class: "control" }, make("span", {}, control.name), make("span", {}, control.values[0]));
    return { node, show: () => {} };
  };

  const build = (control, move) => {
    if (control.values.length === 1) return constant(control);
    const long = control.values.some((value) => value.length > 30);
    return (control.kind === "slider" ? slider : long ? list : buttons)(control, `live-${++counter}`, move);
  };

  // A text that the reader types, and how the chapter's own network writes on.
  const writer = (album) => {
    const { tokens, prefix } = album.network, network = Network.load(album.network), id = `live-${++counter}`;
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

  const mount = ({ heading, hint, image, finding }, album) => {
    const places = album.controls.map((control) => control.start);
    const root = make("div", { class: "live", role: "group", "aria-label": album.title });
    let saying, shown;
    const show = () => {
      const number = places.reduce((sum, place, i) => sum * album.controls[i].values.length + place, 0);
      const [, what, sentence] = album.sentences[number].match(/^(.*?): (.*)$/s);
      root.dataset.state = "moving";
      if (album.pictures[number]) {
        URL.revokeObjectURL(shown);
        shown = URL.createObjectURL(picture(album, number));
        image.src = shown;
        image.alt = sentence;
      }
      clearTimeout(saying);
      saying = setTimeout(async () => {
        finding.replaceChildren(make("strong", {}, `${what}:`), ` ${sentence}`);
        await image.decode();
        root.dataset.state = "ready";
      }, REST);
    };
    const controls = album.controls.map((control, i) => build(control, (place) => { places[i] = place; show(); }));
    const presets = Object.entries(album.presets).map(([name, wanted]) => {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        wanted.forEach((place, i) => { if (place !== null) controls[i].show(places[i] = place); });
        show();
      });
      return button;
    });
    controls.forEach((control, i) => control.show(places[i]));
    const link = image.closest("a");
    (link ?? image).replaceWith(root);
    root.append(...controls.map((control) => control.node));
    if (presets.length) root.append(make("div", { class: "presets" }, "Try: ", ...presets));
    finding.setAttribute("aria-live", "polite");
    root.append(make("div", { class: "picture", tabindex: 0, role: "region", "aria-label": "picture" }, image), finding);
    if (album.network) root.append(writer(album));
    hint.textContent = `These ${album.sentences.length} settings were drawn beforehand; JupyterLab draws any.`;
    show();
  };

  const stored = () => {
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
        load(name).then(unpack).then((album) => mount(part, album));
      }
    }, { rootMargin: "800px" });
    for (const part of stored()) {
      const name = names[part.heading.firstElementChild.textContent];
      if (!name) continue;
      parts.set(part.heading, [part, name]);
      near.observe(part.heading);
    }
  });

  return { add: (title, packed) => { document.currentScript.packed = packed; } };
})();
