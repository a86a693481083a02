// The plots of the last 15 minutes. One axis of time for all, with a line at each move of the clients; the pointer, or
// the arrow keys, read one slice. Drawn in pixels of the place it has, so that text keeps its size.

import { h } from "./dom.js";
import { clock, rate, release, share, span } from "./words.js";

const WINDOW_MS = 15 * 60 * 1000;
const HEIGHT = 112;
const LEFT = 46;
const TOP = 16;
const BOTTOM = 16;
const GAP_MS = 12000; // between slices that are not joined

const MOVES = { swap: "swap to", rollback: "rollback of", canary: "canary step of" };

function kindOf(move) {
  return move.move in MOVES ? move.move : "swap";
}

/** A round number that is not below. */
function ceiling(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((each) => each * power).find((each) => each >= number * 0.999);
}

function pathOf(points, x, y) {
  let text = "", before = null;
  for (const { time, value } of points) {
    if (value == null) continue;
    text += `${before !== null && time - before < GAP_MS ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    before = time;
  }
  return text;
}

function axis(width, top, format) {
  const line = (y, text) => [
    h("line", { x1: LEFT, x2: width, y1: y, y2: y, class: "grid" }),
    h("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, text),
  ];
  return [line(TOP, format(top)), line(HEIGHT - BOTTOM, "0")];
}

function times(now, x) {
  const label = (time, text, anchor) => h("text", { x: x(time), y: HEIGHT - 3, "text-anchor": anchor }, text);
  const minutes = [12, 9, 6, 3].map((minute) => label(now - minute * 60000, `−${minute} min`, "middle"));
  return [...minutes, label(now, "now", "end")];
}

/** The newest are named first; a name stands left of its line, and not in another one's. */
function lines(moves, x, named) {
  let free = Infinity;
  return [...moves].reverse().map((move) => {
    const at = x(Date.parse(move.time)), kind = kindOf(move);
    const words = `${clock(move.time)} ${MOVES[kind]} ${release(move.deployment, move.release)}`;
    const label = named && at <= free;
    if (label) free = at - 24 - 7 * move.deployment.length;
    const name = kind === "rollback" ? `↶ ${move.deployment}` : move.deployment;
    return h("g", { class: `move ${kind}` },
      h("title", {}, words), h("line", { x1: at, x2: at, y1: TOP - 3, y2: HEIGHT - BOTTOM }),
      label ? h("text", { x: at + 2, y: 9, "text-anchor": "end" }, name) : null);
  });
}

function plot({ name, unit, format, series, now, width, moves, named, cursor }) {
  const x = (time) => LEFT + ((time - now + WINDOW_MS) / WINDOW_MS) * (width - LEFT);
  const most = Math.max(0, ...series.flatMap((each) => each.points.map((point) => point.value ?? 0)));
  const top = most > 0 ? ceiling(most) : 1;
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
  const shown = series.map((each) => h("path", { class: `line ${each.class}`, d: pathOf(each.points, x, y) }));
  const values = series.map((each) => {
    const point = cursor == null ? each.points.at(-1) : each.points.find((p) => p.time === cursor);
    const text = point?.value == null ? "–" : (each.format?.(point) ?? format(point.value));
    return h("span", {}, h("i", { class: `key ${each.class}` }), each.name && `${each.name} `, h("b", {}, text));
  });
  const size = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT };
  const at = cursor == null ? 0 : x(cursor);
  return h("figure", { class: "plot" },
    h("figcaption", {}, h("span", {}, name, " ", h("small", {}, unit)), h("span", { class: "values" }, values)),
    h("svg", { ...size, role: "img", "aria-label": `${name}, last 15 minutes` },
      axis(width, top, format), times(now, x), lines(moves, x, named), shown,
      cursor == null ? null : h("line", { class: "cursor", x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM })));
}

function pointsOf(slices, value) {
  return slices.map((slice) => ({ time: slice.at, value: value(slice), slice }));
}

/** The time of the slice under the pointer. */
export function sliceAt(slices, now, element, clientX) {
  const box = element.getBoundingClientRect();
  const time = now - WINDOW_MS + ((clientX - box.left - LEFT) / (box.width - LEFT)) * WINDOW_MS;
  let best = null;
  for (const { at } of slices) if (best === null || Math.abs(at - time) < Math.abs(best - time)) best = at;
  return best;
}

function errorsOf({ value, slice }) {
  return slice.errors > 0 ? `${rate(value)} (${share(slice.errors / slice.requests)})` : rate(value);
}

/** `slices` with their time in ms as `at`, oldest first. `on` has the handlers of the pointer and the keys. */
export function plotsView({ slices, moves, now, width, cursor, on }) {
  const common = { now, width, moves, cursor };
  const recent = moves.filter((move) => Date.parse(move.time) > now - WINDOW_MS);
  const label = "Plots of the last 15 minutes; arrow keys read them";
  return h("div", { class: "plots", tabindex: "0", role: "group", "aria-label": label, ...on },
    h("p", { class: "at" }, cursor == null ? "Last 15 minutes" : `At ${clock(cursor)}`),
    plot({ ...common, name: "Requests", unit: "a second", format: rate, named: true,
      series: [{ class: "requests", points: pointsOf(slices, (s) => s.requests / s.seconds) }] }),
    plot({ ...common, name: "Errors", unit: "a second", format: rate,
      series: [{ class: "errors", points: pointsOf(slices, (s) => s.errors / s.seconds), format: errorsOf }] }),
    plot({ ...common, name: "Latency", unit: "", format: span,
      series: ["p99", "p50"].map((each) => ({ class: each, name: each, points: pointsOf(slices, (s) => s[each]) })) }),
    h("ul", { class: "moves" }, recent.slice(-8).reverse().map((move) =>
      h("li", { class: kindOf(move) }, h("time", {}, clock(move.time)), ` ${MOVES[kindOf(move)]} `,
        h("b", {}, release(move.deployment, move.release))))));
}

export const WINDOW = WINDOW_MS;
