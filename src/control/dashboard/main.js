// The page: what it knows, when it asks again, and where it draws what.

import { askToken, buttonsView } from "./actions.js";
import { draw, h } from "./dom.js";
import { follow, Poll } from "./feed.js";
import { get, servicePath, token } from "./net.js";
import { plotsView, sliceAt, WINDOW } from "./plot.js";
import { historyView, storyView, watchView } from "./story.js";
import { LEVELS, verdicts } from "./verdict.js";
import { clock, count, rate, share, some, span } from "./words.js";

const ROWS = 200; // of services, at once
const EVENTS = 300;
const OVERVIEW_MS = 2000;
const DETAIL_MS = 3000;

const here = {
  status: null, // the last one
  version: null, // of the daemon that this page came from
  slices: new Map(), // the newest of each service
  link: ["lost", "connecting…"],
  filter: "",
  events: [], // of all services, oldest first
  chosen: null, // the service that is shown: its name
  open: null, // the deployment whose story is
  detail: null, // what is known of it
  cursor: null, // the slice that is read: its time
  asking: false, // for the token
};
const since = { seq: 0 };

/* ---- drawing ---- */

let drawing = false;

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw(document.getElementById("head"), headView());
    draw(document.getElementById("services"), servicesView());
    draw(document.getElementById("detail"), detailView());
  });
}

let toastTimer;

function toast(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (place.textContent = ""), 6000);
}

function judged() {
  const events = new Map();
  for (const event of here.events) events.set(event.service, [...(events.get(event.service) ?? []), event]);
  return (here.status?.services ?? []).map((service) => {
    const found = verdicts(service, here.slices.get(service.service), events.get(service.service) ?? []);
    return { service, level: found[0][0], sentence: found[0][1], found };
  });
}

function headView() {
  const all = judged();
  const needy = all.filter(({ level }) => level === "bad" || level === "warn");
  const [link, words] = here.link;
  const other = here.version && here.status?.version !== here.version;
  return [
    h("h1", {}, h("img", { src: "/dashboard/icon.svg", alt: "", width: 22, height: 22 }), "upswap", h("small", {}, here.status?.version ?? "")),
    h("p", { class: `sum ${needy.some(({ level }) => level === "bad") ? "bad" : needy.length ? "warn" : "good"}` },
      here.status === null ? "" : needy.length === 0 ? `${some(all.length, "service")}, all well` : `${needy.length} of ${some(all.length, "service")} ${needy.length === 1 ? "needs" : "need"} you`),
    h("p", { class: `link ${link}`, id: "link", role: "status" }, h("i", {}), link === "live" ? "live" : words),
    other ? h("button", { type: "button", onclick: () => location.reload() }, `Reload: upswap is ${here.status.version} now`) : null,
    h("button", { type: "button", id: "forget", class: "quiet", hidden: !token.get(), onclick: forget }, "Forget token"),
  ];
}

function serviceRow({ service, level, sentence }) {
  const slice = here.slices.get(service.service);
  const name = service.service;
  return h("tr", { key: name, class: name === here.chosen ? "chosen" : null, "data-service": name },
    h("td", { class: "name" },
      h("a", { href: `#/${encodeURIComponent(name)}`, "aria-current": name === here.chosen ? "true" : null }, h("i", { class: `dot ${level}` }), name,
        h("span", { class: "hidden" }, `: ${level}`)),
      h("span", { class: `sentence ${level}`, title: sentence }, sentence)),
    h("td", { class: "n" }, slice ? rate(slice.requests / slice.seconds) : "0"),
    h("td", { class: `n ${slice?.errors ? "bad" : ""}` }, slice?.errors ? share(slice.errors / slice.requests) : "0%"),
    h("td", { class: "n" }, slice ? span(slice.p99) : "–"));
}

function servicesView() {
  const rank = ({ level }) => Math.min(LEVELS.indexOf(level), LEVELS.indexOf("busy"));
  const wanted = judged().filter(({ service }) => service.service.includes(here.filter));
  wanted.sort((a, b) => rank(a) - rank(b) || (a.service.service < b.service.service ? -1 : 1));
  const heads = [["service", ""], ["req/s", "n"], ["errors", "n"], ["p99", "n"]];
  return [
    h("input", { type: "search", id: "filter", placeholder: "Filter services", "aria-label": "Filter services", autocomplete: "off",
      oninput: (event) => { here.filter = event.target.value.trim().toLowerCase(); redraw(); } }),
    h("table", {}, h("thead", {}, h("tr", {}, heads.map(([text, kind]) => h("th", { scope: "col", class: kind || null }, text)))),
      h("tbody", {}, wanted.slice(0, ROWS).map(serviceRow))),
    wanted.length > ROWS ? h("p", { class: "faint" }, `And ${wanted.length - ROWS} more: filter by name.`) : null,
    here.status && wanted.length === 0 ? h("p", { class: "faint" }, "No service has this in its name.") : null,
  ];
}

function classesOf(pool) {
  const parts = Object.entries(pool.in_flight_by_class).filter(([name, number]) => number > 0 && name !== "request");
  return parts.length === 0 ? null : h("small", {}, ` ${parts.map(([name, number]) => some(number, name)).join(", ")}`);
}

function poolRow(pool) {
  return h("tr", { key: pool.deployment, "data-pool": pool.deployment },
    h("td", {}, h("span", { class: `pool ${pool.state}` }, pool.state)), h("td", {}, h("b", {}, pool.deployment)), h("td", { class: "cut" }, pool.release),
    h("td", { class: "n" }, count(pool.in_flight), classesOf(pool)), h("td", { class: "n" }, count(pool.requests)),
    h("td", { class: `n ${pool.errors ? "warn" : ""}` }, count(pool.errors)),
    h("td", {}, h("ul", { class: "instances" }, pool.instances.map((each) =>
      h("li", { class: `${each.state === "up" && each.uptests !== "failed" ? "" : "bad"}`, title: `${each.address}: ${each.state}, ${each.in_flight} in flight` },
        each.address, each.state === "up" ? "" : ` ${each.state}`, each.uptests === "failed" ? " fails its uptests" : "",
        each.in_flight > 0 ? h("small", {}, ` ${each.in_flight}`) : null)))));
}

function poolsView(service) {
  const heads = [["state", ""], ["pool", ""], ["release", ""], ["in flight", "n"], ["requests", "n"], ["errors", "n"], ["instances", ""]];
  return h("div", { class: "wide" }, h("table", { class: "pools" },
    h("thead", {}, h("tr", {}, heads.map(([text, kind]) => h("th", { scope: "col", class: kind || null }, text)))),
    h("tbody", {}, service.pools.map(poolRow))));
}

const plain = new Set(["seq", "time", "service", "type", "deployment", "asked_by", "output", "nanoseconds", "snapshot", "argv"]);

/** The members of an event that are short, as they are. */
function eventWords(event) {
  return Object.entries(event).filter(([name, value]) => !plain.has(name) && value !== null && typeof value !== "object" && value !== "")
    .map(([name, value]) => (["reason", "why", "message"].includes(name) ? String(value) : `${name} ${value}`)).join(", ");
}

function eventsView(name) {
  const shown = here.events.filter((event) => event.service === name || event.service === undefined).slice(-40).reverse();
  if (shown.length === 0) return h("p", { class: "faint" }, "Nothing has happened of late.");
  return h("ol", { class: "events" }, shown.map((event) =>
    h("li", { key: event.seq }, h("time", {}, clock(event.time)), h("b", {}, event.type),
      h("span", {}, [event.deployment, eventWords(event)].filter(Boolean).join(": ")))));
}

function plotWidth() {
  const whole = document.getElementById("detail").clientWidth;
  return whole >= 780 ? Math.floor((whole - 2 * 20) / 3) : whole;
}

function plotsOf(detail) {
  const slices = [...detail.slices.values()].sort((a, b) => a.at - b.at);
  const now = Date.now() + detail.ahead;
  const move = (step) => {
    const at = slices.findIndex((slice) => slice.at === here.cursor);
    here.cursor = (slices[at < 0 ? slices.length - 1 : at + step] ?? slices[at])?.at ?? null;
    redraw();
  };
  const on = {
    onpointermove: (event) => {
      const svg = event.target.closest("svg");
      here.cursor = svg ? sliceAt(slices, now, svg, event.clientX) : null;
      redraw();
    },
    onpointerleave: () => { here.cursor = null; redraw(); },
    onblur: () => { here.cursor = null; redraw(); },
    onkeydown: (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      event.preventDefault();
      move(event.key === "ArrowLeft" ? -1 : 1);
    },
  };
  return plotsView({ slices, moves: detail.moves, now, width: plotWidth(), cursor: here.cursor, on });
}

function detailView() {
  const found = judged().find(({ service }) => service.service === here.chosen);
  if (!found) {
    if (here.status === null) return [h("p", { class: "faint" }, here.asking ? "" : "Loading…")];
    return [h("p", { class: "faint" }, here.chosen ? `There is no service "${here.chosen}" any more.` : "Choose a service.")];
  }
  const { service } = found;
  const detail = here.detail;
  const newest = detail.deployments?.[0];
  return [
    h("div", { class: "title" }, h("h2", {}, service.service), service.state === "serving" ? null : h("span", { class: "mark warn" }, service.state),
      buttonsView(service, (text) => { toast(text); overview.now(); details.now(); })),
    h("ul", { class: "verdicts" }, found.found.map(([level, text]) => h("li", { class: level }, text))),
    plotsOf(detail),
    h("h3", {}, "Pools"), poolsView(service),
    h("h3", {}, "Deployment"),
    h("div", { id: "current" }, detail.deployments === null ? h("p", { class: "faint" }, "Loading…") : newest ? [
      watchView(service.deployment?.watched),
      detail.current?.deployment === newest.deployment ? storyView(detail.current, false) : h("p", { class: "faint" }, "Loading…"),
    ] : h("p", { class: "faint" }, "Nothing was deployed yet.")),
    h("h3", {}, "History"), historyView(service.service, detail.deployments, here.open, detail.story?.deployment === here.open ? detail.story : null),
    h("h3", {}, "Events"), eventsView(service.service),
  ];
}

/* ---- asking ---- */

async function refreshOverview() {
  const [status, traffic] = await Promise.all([get("/v1/status"), get("/v1/traffic")]);
  here.version ??= status.version;
  here.status = status;
  here.slices = new Map(traffic.services.map((slice) => [slice.service, slice]));
  if (here.chosen === null) choose();
  redraw();
}

function nothingKnown() {
  return { deployments: null, current: null, story: null, slices: new Map(), moves: [], ahead: 0 };
}

function takeTraffic(detail, { slices, moves }, whole) {
  for (const slice of slices) detail.slices.set(slice.time, { ...slice, at: Date.parse(slice.time) });
  const newest = Math.max(...[...detail.slices.values()].map((slice) => slice.at));
  for (const [time, slice] of detail.slices) if (slice.at < newest - WINDOW) detail.slices.delete(time);
  if (whole) detail.moves = moves;
  else detail.moves = [...detail.moves.filter((old) => !moves.some((move) => move.time === old.time && move.move === old.move)), ...moves];
  detail.moves.sort((a, b) => (a.time < b.time ? -1 : 1));
  if (slices.length > 0) { // the daemon's clock counts, not this machine's
    const end = slices.at(-1), seen = Date.parse(end.time) + end.seconds * 1000;
    if (detail.seen !== seen) detail.ahead = seen - Date.now();
    detail.seen = seen;
  }
}

/** Is what is known of a deployment what is to be known? One that runs changes without another state. */
function isStale(story, entry) {
  return !story || story.deployment !== entry.deployment || story.state !== entry.state || entry.ended === null;
}

async function refreshDetail() {
  const { chosen: name, open, detail } = here;
  if (name === null || !here.status?.services.some((service) => service.service === name)) return;
  const whole = detail.slices.size === 0;
  const [{ deployments }, traffic] = await Promise.all([
    get(servicePath(name, "/deployments")), get(servicePath(name, `/traffic${whole ? "" : "?seconds=60"}`)),
  ]);
  detail.deployments = deployments;
  takeTraffic(detail, traffic, whole);
  if (deployments.length > 0 && isStale(detail.current, deployments[0])) detail.current = await get(`/v1/deployments/${deployments[0].deployment}`);
  const entry = deployments.find((each) => each.deployment === open);
  if (entry && isStale(detail.story, entry))
    detail.story = detail.current.deployment === open ? detail.current : await get(`/v1/deployments/${encodeURIComponent(open)}`);
  redraw();
}

function failed(failure) {
  if (failure.status === 401) needToken(failure.message);
  else if (failure.status === 0) setLink("lost", failure.message);
  redraw();
}

const overview = new Poll(refreshOverview, OVERVIEW_MS, failed);
const details = new Poll(refreshDetail, DETAIL_MS, failed);

function setLink(state, words) {
  if (state === "live" && here.link[0] !== "live" && here.detail) here.detail.slices.clear(); // all of it anew: some of it was missed
  here.link = [state, words ?? ""];
  if (state === "live") {
    overview.soon();
    details.soon();
  }
  if (state === "refused") needToken(words);
  redraw();
}

/** The matrix fills with the events; what the uptests have written comes with the next answer. */
function takeUptest(gate, event) {
  const state = event.type === "uptest.started" ? "running" : event.passed ? "passed" : "failed";
  const cell = gate?.cells.find((each) => each.instance === event.instance && each.uptest === event.uptest);
  if (cell) Object.assign(cell, { state, seconds: event.seconds ?? 0 });
}

function onEvent(event) {
  here.events.push(event);
  const current = here.detail?.current;
  if (event.uptest && current?.deployment === event.deployment) takeUptest(current.gate, event);
  if (here.events.length > EVENTS) here.events.splice(0, here.events.length - EVENTS);
  overview.soon();
  if (event.service === here.chosen) details.soon();
  redraw();
}

/* ---- the token ---- */

async function begin() {
  await get("/v1/traffic");
  here.asking = false;
  overview.soon();
  details.soon();
  follow(since, { state: setLink, event: onEvent });
}

function needToken(sentence) {
  if (here.asking) return;
  here.asking = true;
  const known = token.get() !== null;
  token.clear();
  askToken(known ? `The daemon does not know the token of this tab any more: ${sentence}` : "This address is for those who know the token: what stands in the file that admin.token_file of upswapd.conf names.", begin);
}

function forget() {
  token.clear();
  location.reload();
}

/* ---- choosing ---- */

/** After the address: #/SERVICE or #/SERVICE/DEPLOYMENT; without one, what needs somebody most. */
function choose() {
  const [, name, open] = location.hash.split("/").map(decodeURIComponent);
  const all = judged().sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
  const chosen = name || all[0]?.service.service || null;
  if (chosen !== here.chosen) Object.assign(here, { detail: nothingKnown(), cursor: null, chosen });
  here.open = open || null;
  document.title = chosen ? `${chosen} – upswap` : "upswap";
  details.now();
  redraw();
}

addEventListener("hashchange", () => {
  const before = here.chosen;
  choose();
  if (here.chosen !== before) document.getElementById("detail").scrollIntoView({ block: "nearest" });
});
addEventListener("resize", redraw);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, dialog")) return;
  event.preventDefault();
  document.getElementById("filter").focus();
});

redraw();
begin().catch((failure) => {
  if (failure.status === 401) needToken(failure.message);
  else follow(since, { state: setLink, event: onEvent });
});
