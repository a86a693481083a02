// What stands on the page besides plots and stories: its head, the list of services, the pools, the events.

import { faint, h, heads, number } from "./dom.js";
import { LEVELS } from "./verdict.js";
import { clock, count, rate, share, some, span } from "./words.js";

const ROWS = 200; // of services, at once
const EVENTS = 40; // that are shown

function sumOf(judged) {
  const needy = judged.filter(({ level }) => level === "bad" || level === "warn");
  if (needy.length === 0) return ["good", `${some(judged.length, "service")}, all well`];
  const verb = needy.length === 1 ? "needs" : "need";
  return [needy.some(({ level }) => level === "bad") ? "bad" : "warn",
    `${needy.length} of ${some(judged.length, "service")} ${verb} you`];
}

/** `link`: its state, and a sentence where it is not "live"; `other`: a version that this page is not of, or null. */
export function headView({ status, judged, link: [state, words], other, forget }) {
  const [level, sum] = status ? sumOf(judged) : ["good", ""];
  return [
    h("h1", {}, h("img", { src: "/dashboard/icon.svg", alt: "", width: 22, height: 22 }), "upswap",
      h("small", {}, status?.version ?? "")),
    h("p", { class: `sum ${level}` }, sum),
    h("p", { class: `link ${state}`, id: "link", role: "status" }, h("i", {}), state === "live" ? "live" : words),
    other ? h("button", { type: "button", onclick: () => location.reload() }, `Reload: upswap is ${other} now`) : null,
    h("button", { type: "button", id: "forget", class: "quiet", hidden: !forget, onclick: forget }, "Forget token"),
  ];
}

function serviceRow({ service: { service: name }, level, sentence }, slice, chosen) {
  const link = { href: `#/${encodeURIComponent(name)}`, "aria-current": chosen ? "true" : null };
  return h("tr", { key: name, class: chosen ? "chosen" : null, "data-service": name },
    h("td", { class: "name" },
      h("a", link, h("i", { class: `dot ${level}` }), name, h("span", { class: "hidden" }, `: ${level}`)),
      h("span", { class: `sentence ${level}`, title: sentence }, sentence)),
    number(slice ? rate(slice.requests / slice.seconds) : "0"),
    number(slice?.errors ? share(slice.errors / slice.requests) : "0%", slice?.errors ? "bad" : ""),
    number(slice ? span(slice.p99) : "–"));
}

/** What needs somebody first, else by name, so that rows do not change places for nothing. */
export function servicesView({ status, judged, slices, chosen, filter, onfilter }) {
  const rank = ({ level }) => Math.min(LEVELS.indexOf(level), LEVELS.indexOf("busy"));
  const wanted = judged.filter(({ service }) => service.service.includes(filter));
  wanted.sort((a, b) => rank(a) - rank(b) || (a.service.service < b.service.service ? -1 : 1));
  const rows = wanted.slice(0, ROWS).map((each) => {
    const name = each.service.service;
    return serviceRow(each, slices.get(name), name === chosen);
  });
  return [
    h("input", { type: "search", id: "filter", placeholder: "Filter services", "aria-label": "Filter services",
      autocomplete: "off", oninput: (event) => onfilter(event.target.value.trim().toLowerCase()) }),
    h("table", {}, heads(["service"], ["req/s", "n"], ["errors", "n"], ["p99", "n"]), h("tbody", {}, rows)),
    wanted.length > ROWS ? faint(`And ${wanted.length - ROWS} more: filter by name.`) : null,
    status && wanted.length === 0 ? faint("No service has this in its name.") : null,
  ];
}

function classesOf(pool) {
  const lasting = Object.entries(pool.in_flight_by_class).filter(([name, many]) => many > 0 && name !== "request");
  if (lasting.length === 0) return null;
  return h("small", {}, ` ${lasting.map(([name, many]) => some(many, name)).join(", ")}`);
}

function instanceView({ address, state, uptests, in_flight: many }) {
  const bad = state !== "up" || uptests === "failed";
  return h("li", { class: bad ? "bad" : null, title: `${address}: ${state}, ${many} in flight` }, address,
    state === "up" ? "" : ` ${state}`, uptests === "failed" ? " fails its uptests" : "",
    many > 0 ? h("small", {}, ` ${many}`) : null);
}

function poolRow(pool) {
  return h("tr", { key: pool.deployment, "data-pool": pool.deployment },
    h("td", {}, h("span", { class: `pool ${pool.state}` }, pool.state)), h("td", {}, h("b", {}, pool.deployment)),
    h("td", { class: "cut" }, pool.release), number([count(pool.in_flight), classesOf(pool)]),
    number(count(pool.requests)), number(count(pool.errors), pool.errors ? "warn" : ""),
    h("td", {}, h("ul", { class: "instances" }, pool.instances.map(instanceView))));
}

export function poolsView(service) {
  const head = heads(["state"], ["pool"], ["release"], ["in flight", "n"], ["requests", "n"], ["errors", "n"],
    ["instances"]);
  return h("div", { class: "wide pools-place" }, h("table", { class: "pools" }, head, h("tbody", {}, service.pools.map(poolRow))));
}

const SAID = ["seq", "time", "service", "type", "deployment"]; // elsewhere in the line
const LONG = ["asked_by", "output", "nanoseconds", "snapshot", "argv"];
const SENTENCES = ["reason", "why", "message"];

/** The members of an event that are short, as they are. */
function eventWords(event) {
  const shown = Object.entries(event).filter(([name, value]) =>
    !SAID.includes(name) && !LONG.includes(name) && value !== null && value !== "" && typeof value !== "object");
  return shown.map(([name, value]) => (SENTENCES.includes(name) ? value : `${name} ${value}`)).join(", ");
}

/** Those of a service, and of the daemon itself; newest first. */
export function eventsView(events, name) {
  const shown = events.filter(({ service }) => service === name || service === undefined).slice(-EVENTS).reverse();
  if (shown.length === 0) return faint("Nothing has happened of late.");
  return h("ol", { class: "events" }, shown.map((event) =>
    h("li", { key: event.seq }, h("time", {}, clock(event.time)), h("b", {}, event.type),
      h("span", {}, [event.deployment, eventWords(event)].filter(Boolean).join(": ")))));
}
