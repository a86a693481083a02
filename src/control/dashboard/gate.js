// The gate: instances down, uptests across; and the output of what has failed, at once.

import { h, heads } from "./dom.js";
import { some, span } from "./words.js";

const MARKS = { waiting: "·", running: "…", passed: "✓", failed: "✗" };

function detailOf(cell) {
  const how = [];
  if (cell.timed_out) how.push("timed out");
  if (cell.signal != null) how.push(`killed by signal ${cell.signal}`);
  else if (cell.exit != null) how.push(`exit ${cell.exit}`);
  if (cell.seconds > 0) how.push(span(cell.seconds));
  return how.join(", ");
}

/** What it has used of the machine; null where that is not known. */
function usageOf({ usage }) {
  if (!usage) return null;
  const memory = usage.memory ?? usage.memory_at_most;
  const bound = usage.memory === undefined ? "at most " : "";
  return `${span(usage.user + usage.system)} of CPU, ${bound}${(memory / 1048576).toFixed(0)} MiB of memory`;
}

function square(cell) {
  if (!cell) return h("td", {});
  const words = `${cell.uptest} on ${cell.instance}: ${cell.state}${detailOf(cell) ? `, ${detailOf(cell)}` : ""}`;
  const time = cell.state === "passed" || cell.state === "failed" ? span(cell.seconds) : "";
  return h("td", { class: `cell ${cell.state in MARKS ? cell.state : "waiting"}`, title: words },
    h("span", { "aria-hidden": "true" }, MARKS[cell.state] ?? "?"), h("span", { class: "hidden" }, cell.state),
    h("small", {}, time));
}

function outputOf(cell, open) {
  const head = h("summary", {}, h("b", {}, cell.uptest), ` on ${cell.instance}: ${cell.state}, ${detailOf(cell)}`);
  const argv = cell.argv?.length ? h("p", { class: "argv" }, cell.argv.join(" ")) : null;
  const usage = usageOf(cell) ? h("p", { class: "argv" }, usageOf(cell)) : null;
  const text = cell.output === "" ? h("p", { class: "faint" }, "It has written nothing.") : h("pre", {}, cell.output);
  const props = { key: `${cell.instance} ${cell.uptest}`, class: "output" };
  return h("details", open ? { ...props, open } : props, head, argv, usage, text);
}

/** The sum of it in words. */
export function gateWords(gate) {
  const states = { waiting: 0, running: 0, passed: 0, failed: 0 };
  for (const cell of gate.cells) states[cell.state]++;
  const parts = [`${states.passed} of ${some(gate.cells.length, "uptest")} passed`];
  if (states.failed > 0) parts.push(`${states.failed} failed`);
  if (states.running > 0) parts.push(`${states.running} running`);
  return parts.join(", ");
}

/** The matrix; with `outputs` also those of the uptests that have passed, to be opened. */
export function gateView(gate, outputs) {
  if (gate?.kept === false)
    return h("p", { class: "gate-sum" }, "What its uptests have come to is not kept any more; the log says why.");
  if (!gate || gate.cells.length === 0) return null;
  const instances = [...new Set(gate.cells.map((cell) => cell.instance))];
  const uptests = [...new Set(gate.cells.map((cell) => cell.uptest))];
  const by = new Map(gate.cells.map((cell) => [`${cell.instance}\n${cell.uptest}`, cell]));
  const corner = h("span", { class: "hidden" }, "instance");
  const rows = instances.map((instance) =>
    h("tr", {}, h("th", { scope: "row" }, instance),
      uptests.map((uptest) => square(by.get(`${instance}\n${uptest}`)))));
  const ended = (state) => gate.cells.filter((cell) => cell.state === state);
  return h("div", { class: "gate" },
    h("p", { class: "gate-sum" }, gateWords(gate)),
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Gate" },
      h("table", { class: "matrix" }, heads([corner], ...uptests.map((name) => [name])), h("tbody", {}, rows))),
    ended("failed").map((cell) => outputOf(cell, true)),
    outputs ? ended("passed").map((cell) => outputOf(cell, false)) : null);
}
