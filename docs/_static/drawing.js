// Figures as SVG text, in the book's colours: what a page draws when it computes by itself.
"use strict";
const INK = "#222222", GREY = "#767676", BLUE = "#0072B2", ORANGE = "#D55E00", GREEN = "#009E73";
const PINK = "#CC79A7", SKY = "#56B4E9", YELLOW = "#E69F00";
const PAGE = 720;  // pixels, the width of a figure

const escaped = (text) => String(text).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
const visible = (token) => (token === " " ? "␣" : token);
const short = (pixels) => String(Math.round(10 * pixels) / 10);

// Axes at a place of the figure: what is drawn on them is counted in their own units.
class Axes {
  // left, top, right, bottom: pixels; x and y: the two ends of each axis.
  constructor({ left, top, right, bottom, x, y }) {
    Object.assign(this, { left, top, right, bottom, x, y, marks: [] });
  }

  X(value) { return this.left + (value - this.x[0]) / (this.x[1] - this.x[0]) * (this.right - this.left); }
  Y(value) { return this.bottom - (value - this.y[0]) / (this.y[1] - this.y[0]) * (this.bottom - this.top); }

  text(text, x, y, { size = 14, anchor = "middle", colour = INK, family = "sans-serif", weight = "normal" } = {}) {
    this.marks.push(
      `<text x="${short(x)}" y="${short(y)}" font-size="${size}" text-anchor="${anchor}" fill="${colour}" ` +
      `font-family="${family}" font-weight="${weight}">${escaped(text)}</text>`,
    );
  }

  path(points, colour, { width = 2, dash = "", fill = "none" } = {}) {
    const d = points.map(([x, y], i) => `${i ? "L" : "M"}${short(x)} ${short(y)}`).join("");
    this.marks.push(`<path d="${d}" fill="${fill}" stroke="${colour}" stroke-width="${width}" stroke-dasharray="${dash}"/>`);
  }

  box(x, y, width, height, colour, style = "") {
    this.marks.push(`<path d="M${short(x)} ${short(y)}h${short(width)}v${short(height)}h${short(-width)}z" fill="${colour}"${style}/>`);
  }

  title(text) { this.text(text, this.left, this.top - 8, { size: 15, anchor: "start" }); }

  // Two spines, ticks at these heights, a name beside them.
  frame(ticks, name) {
    this.path([[this.left, this.top], [this.left, this.bottom], [this.right, this.bottom]], GREY, { width: 1 });
    for (const tick of ticks) {
      this.path([[this.left - 4, this.Y(tick)], [this.left, this.Y(tick)]], GREY, { width: 1 });
      this.text(tick, this.left - 8, this.Y(tick) + 5, { anchor: "end" });
    }
    const x = short(this.left - 48), y = short((this.top + this.bottom) / 2);
    this.marks.push(
      `<text transform="translate(${x} ${y}) rotate(-90)" font-size="15" text-anchor="middle" fill="${INK}" ` +
      `font-family="sans-serif">${escaped(name)}</text>`,
    );
  }

  // Ticks and their numbers along the lower end.
  ticksBelow(ticks) {
    this.path([[this.left, this.bottom], [this.right, this.bottom]], GREY, { width: 1 });
    for (const tick of ticks) {
      this.path([[this.X(tick), this.bottom], [this.X(tick), this.bottom + 4]], GREY, { width: 1 });
      this.text(tick, this.X(tick), this.bottom + 19);
    }
  }

  dot(x, y, radius, colour) {
    this.marks.push(`<circle cx="${short(x)}" cy="${short(y)}" r="${radius}" fill="${colour}"/>`);
  }

  line(values, colour, style) { this.path(Array.from(values, (value, t) => [this.X(t), this.Y(value)]), colour, style); }

  across(y, style) { this.path([[this.left, this.Y(y)], [this.right, this.Y(y)]], GREY, { width: 1, ...style }); }

  upright(x, colour, style) { this.path([[this.X(x), this.top], [this.X(x), this.bottom]], colour, { width: 1.2, ...style }); }

  // Bars from zero, so wide in units of x.
  bars(places, heights, width, colour) {
    places.forEach((place, i) => {
      const top = this.Y(heights[i]);
      this.box(this.X(place - width / 2), top, this.X(width) - this.X(0), this.Y(0) - top, colour);
    });
  }

  // A table of colours, row after row from the top, its cells at whole numbers.
  table(rows, colour) {
    const high = (this.bottom - this.top) / rows.length, wide = this.X(1) - this.X(0), seamless = ' shape-rendering="crispEdges"';
    rows.forEach((row, r) => row.forEach((value, t) => {
      this.box(this.X(t - 0.5), this.top + r * high, wide, high, colour(value), seamless);
    }));
  }

  // One token under each whole number.
  letters(tokens, { below = 18, size = 13, ...style } = {}) {
    Array.from(tokens).forEach((token, t) => {
      this.text(visible(token), this.X(t), this.bottom + below, { size, family: "monospace", ...style });
    });
  }

  // Names of lines to the right of the axes, each beside a piece of its line.
  legend(names) {
    names.forEach(([name, colour, style], i) => {
      const y = (this.top + this.bottom) / 2 + 22 * (i - (names.length - 1) / 2);
      this.path([[this.right + 10, y], [this.right + 36, y]], colour, style);
      this.text(name, this.right + 42, y + 5, { size: 13, anchor: "start" });
    });
  }
}

// Round numbers that mark an axis from 0 or below to this end.
const roundTicks = (low, high, count = 4) => {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.ceil(low / step), last = Math.floor(high / step);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
};

// A colour between these, from 0 to 1.
const between = (colours) => (share) => {
  const place = Math.min(Math.max(share, 0), 1) * (colours.length - 1), i = Math.min(Math.floor(place), colours.length - 2);
  const mixed = colours[i].map((from, k) => Math.round(from + (place - i) * (colours[i + 1][k] - from)));
  return `rgb(${mixed.join(" ")})`;
};
const brownToViolet = between([[127, 59, 8], [247, 247, 247], [45, 0, 75]]);
const whiteToBlue = between([[247, 251, 255], [107, 174, 214], [8, 48, 107]]);

const figure = (height, axes) =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${PAGE} ${height}" width="${PAGE}" height="${height}">` +
  `<rect width="${PAGE}" height="${height}" fill="#fff"/>${axes.flatMap((part) => part.marks).join("")}</svg>`;
