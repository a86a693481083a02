// Deployments: the list of a service's, and the whole story of one.

import { faint, h, heads, number } from "./dom.js";
import { gateView } from "./gate.js";
import { asker, length, moment, release, share, some, span, STATES } from "./words.js";

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
    const why = each.why === deployment.reason ? "" : (each.why ?? ""); // which stands above already
    return h("li", {}, h("time", {}, moment(each.time)), stateMark(each.state), h("span", { class: "n faint" }, lasted),
      h("span", { class: "why" }, why, each.by ? h("span", { class: "faint" }, ` by ${each.by}`) : null));
  }));
}

function programOf(name, run) {
  if (!run) return null;
  const how = [run.state, run.exit != null && `exit ${run.exit}`, run.timed_out && "timed out", span(run.seconds)];
  const props = { key: name, class: "output" };
  return h("details", run.state === "failed" ? { ...props, open: true } : props,
    h("summary", {}, h("b", {}, name), `: ${how.filter(Boolean).join(", ")}`),
    h("p", { class: "argv" }, (run.argv ?? []).join(" ")), h("pre", {}, run.output ?? ""));
}

/** How the watch of a running deployment stands: both pools side by side. */
export function watchView(watched) {
  if (!watched) return null;
  const before = watched.requests_before;
  const row = (name, requests, errors, p99) =>
    h("tr", {}, h("th", { scope: "row" }, name), number(String(requests)), number(share(errors)),
      number(p99 > 0 ? span(p99) : "–"));
  const whole = watched.seconds + watched.left;
  return h("div", { class: "watch" },
    h("label", {}, `Watch: ${length(watched.seconds)} of ${length(whole)} `,
      h("progress", { max: Math.max(whole, 0.001), value: watched.seconds })),
    h("table", {}, heads([""], ["requests", "n"], ["errors", "n"], ["p99", "n"]),
      h("tbody", {}, row("new pool", watched.requests, watched.errors.share, watched.p99),
        before > 0 ? row("old pool", before, watched.errors_before / before, watched.p99_before) : null)),
    watched.failure ? h("p", { class: "reason bad" }, watched.failure) : null);
}

function list(items) {
  return items.join(", ");
}

function slowerWords({ uptest, then, now }) {
  return `${uptest} ${span(then)} → ${span(now)}`;
}

/** What is other than in the last deployment that was good. */
function differenceView(difference) {
  if (!difference) return null;
  const { release: name, instances, settings, uptests } = difference;
  const said = [
    name.then !== name.now && `release ${name.then || "none"} → ${name.now || "none"}`,
    instances.then !== instances.now && `${instances.then} → ${some(instances.now, "instance")}`,
    ...settings.map((each) => `${each.name} ${JSON.stringify(each.then)} → ${JSON.stringify(each.now)}`),
    uptests?.new.length && `new uptests: ${list(uptests.new)}`,
    uptests?.gone.length && `uptests that are gone: ${list(uptests.gone)}`,
    uptests?.failing.length && `uptests that passed then: ${list(uptests.failing)}`,
    uptests?.slower.length && `slower: ${list(uptests.slower.map(slowerWords))}`,
  ].filter(Boolean);
  const what = h("span", { class: "faint" }, `Other than in ${difference.deployment}: `);
  return h("p", {}, what, said.join("; ") || "nothing");
}

/** The whole story; `outputs`: with what every uptest has written. */
export function storyView(deployment, outputs) {
  const name = release(deployment.deployment, deployment.release);
  return h("div", { class: "story", key: deployment.deployment },
    h("p", {}, h("b", {}, name), " ", stateMark(deployment.state), " ",
      h("span", { class: "faint" }, `asked for by ${asker(deployment.asked_by) || "nobody known"}`,
        ` at ${moment(deployment.created)}`, deployment.replaces ? `, after ${deployment.replaces}` : "")),
    deployment.reason ? h("p", { class: "reason bad" }, deployment.reason) : null,
    differenceView(deployment.difference),
    deployment.timeline ? timeline(deployment) : null,
    programOf("launch.command", deployment.launch),
    programOf("the command of the pause", deployment.command),
    gateView(deployment.gate, outputs));
}

/** Newest first; `open` is the name of the one whose story is shown, `story` that story, null until it is there. */
export function historyView(service, deployments, open, story) {
  if (deployments === null) return faint("Loading…");
  if (deployments.length === 0) return faint("Nothing was deployed yet.");
  const rows = deployments.flatMap((each) => {
    const shown = each.deployment === open;
    const href = `#/${encodeURIComponent(service)}${shown ? "" : `/${encodeURIComponent(each.deployment)}`}`;
    const row = h("tr", { key: each.deployment, class: shown ? "open" : null },
      h("td", {}, h("a", { href, "aria-expanded": String(shown) }, each.deployment)),
      h("td", { class: "cut" }, each.release), h("td", {}, stateMark(each.state)),
      h("td", {}, moment(each.created)), number(each.ended ? length(seconds(each.created, each.ended)) : ""),
      h("td", { class: "cut wide-only" }, asker(each.asked_by)));
    if (!shown) return [row];
    const told = h("td", { colspan: "6" }, story ? storyView(story, true) : faint("Loading…"));
    return [row, h("tr", { key: `${each.deployment} story` }, told)];
  });
  const head = heads(["deployment"], ["release"], ["state"], ["staged"], ["took", "n"], ["asked by", "wide-only"]);
  return h("div", { class: "wide" }, h("table", { class: "history" }, head, h("tbody", {}, rows)));
}
