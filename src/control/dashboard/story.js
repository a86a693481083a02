// Deployments: the list of a service's, and the whole story of one.

import { h } from "./dom.js";
import { gateView } from "./gate.js";
import { asker, length, moment, release, share, span, STATES } from "./words.js";

const BAD = ["rejected", "aborted", "rolled_back"];

export function stateMark(state) {
  const tone = BAD.includes(state) ? "bad" : state === "done" ? "good" : state === "held" ? "warn" : "busy";
  return h("span", { class: `mark ${tone}` }, STATES[state] ?? state);
}

function seconds(from, to) {
  return (Date.parse(to) - Date.parse(from)) / 1000;
}

function timeline(deployment) {
  const { timeline: moments } = deployment;
  return h("ol", { class: "timeline" }, moments.map((each, i) => {
    const next = moments[i + 1];
    const lasted = next ? length(seconds(each.time, next.time)) : "";
    return h("li", {}, h("time", {}, moment(each.time)), stateMark(each.state), h("span", { class: "n faint" }, lasted),
      h("span", { class: "why" }, each.why === deployment.reason ? "" : (each.why ?? ""), each.by ? h("span", { class: "faint" }, ` by ${each.by}`) : null));
  }));
}

function programOf(name, run) {
  if (!run) return null;
  const how = [run.state, run.exit != null ? `exit ${run.exit}` : null, run.timed_out ? "timed out" : null, span(run.seconds)];
  return h("details", { key: name, class: "output", ...(run.state === "failed" ? { open: true } : {}) },
    h("summary", {}, h("b", {}, name), `: ${how.filter(Boolean).join(", ")}`),
    h("p", { class: "argv" }, (run.argv ?? []).join(" ")), h("pre", {}, run.output ?? ""));
}

/** How the watch of a running deployment stands: both pools side by side. */
export function watchView(watched) {
  if (!watched) return null;
  const before = watched.requests_before;
  const row = (name, requests, errors, p99) =>
    h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "n" }, String(requests)), h("td", { class: "n" }, share(errors)), h("td", { class: "n" }, p99 > 0 ? span(p99) : "–"));
  const whole = watched.seconds + watched.left;
  return h("div", { class: "watch" },
    h("label", {}, `Watch: ${length(watched.seconds)} of ${length(whole)} `, h("progress", { max: Math.max(whole, 0.001), value: watched.seconds })),
    h("table", {}, h("thead", {}, h("tr", {}, ["", "requests", "errors", "p99"].map((text) => h("th", { scope: "col", class: text ? "n" : null }, text)))),
      h("tbody", {}, row("new pool", watched.requests, watched.errors.share, watched.p99),
        before > 0 ? row("old pool", before, watched.errors_before / before, watched.p99_before) : null)),
    watched.failure ? h("p", { class: "reason bad" }, watched.failure) : null);
}

/** The whole story; `outputs`: with what every uptest has written. */
export function storyView(deployment, outputs) {
  const name = release(deployment.deployment, deployment.release);
  return h("div", { class: "story", key: deployment.deployment },
    h("p", {}, h("b", {}, name), " ", stateMark(deployment.state), " ",
      h("span", { class: "faint" }, `asked for by ${asker(deployment.asked_by) || "nobody known"} at ${moment(deployment.created)}`,
        deployment.replaces ? `, after ${deployment.replaces}` : "")),
    deployment.reason ? h("p", { class: "reason bad" }, deployment.reason) : null,
    deployment.timeline ? timeline(deployment) : null,
    programOf("launch.command", deployment.launch),
    programOf("the command of the pause", deployment.command),
    gateView(deployment.gate, outputs));
}

/** Newest first; `open` is the name of the one whose story is shown, `story` that story, null until it is there. */
export function historyView(service, deployments, open, story) {
  if (deployments === null) return h("p", { class: "faint" }, "Loading…");
  if (deployments.length === 0) return h("p", { class: "faint" }, "Nothing was deployed yet.");
  const rows = deployments.flatMap((each) => {
    const shown = each.deployment === open;
    const href = `#/${encodeURIComponent(service)}${shown ? "" : `/${encodeURIComponent(each.deployment)}`}`;
    const row = h("tr", { key: each.deployment, class: shown ? "open" : null },
      h("td", {}, h("a", { href, "aria-expanded": String(shown), "data-deployment": each.deployment }, each.deployment)),
      h("td", { class: "cut" }, each.release), h("td", {}, stateMark(each.state)),
      h("td", {}, moment(each.created)), h("td", { class: "n" }, each.ended ? length(seconds(each.created, each.ended)) : ""),
      h("td", { class: "cut wide-only" }, asker(each.asked_by)));
    if (!shown) return [row];
    return [row, h("tr", { key: `${each.deployment} story` }, h("td", { colspan: "6" }, story ? storyView(story, true) : h("p", { class: "faint" }, "Loading…")))];
  });
  const heads = ["deployment", "release", "state", "staged", "took", "asked by"];
  return h("div", { class: "wide" }, h("table", { class: "history" },
    h("thead", {}, h("tr", {}, heads.map((text, i) => h("th", { scope: "col", class: i === 4 ? "n" : i === 5 ? "wide-only" : null }, text)))),
    h("tbody", {}, rows)));
}
