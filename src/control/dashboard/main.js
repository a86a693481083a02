// The page: what it knows, when it asks again, and where it draws what.

import { askToken, buttonsView } from "./actions.js";
import { draw, faint, h } from "./dom.js";
import { follow, Poll } from "./feed.js";
import { daemon, get, servicePath, token } from "./net.js";
import { eventsView, headView, poolsView, servicesView } from "./panes.js";
import { plotsView, sliceAt, WINDOW } from "./plot.js";
import { historyView, storyView, watchView } from "./story.js";
import { LEVELS, verdicts } from "./verdict.js";

const EVENTS = 300; // that are kept
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
  judged: null, // see judged()
  asking: false, // for the token
  following: false, // the events
};
const since = { seq: 0 };

/* ---- drawing ---- */

let drawing = false;

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const known = { ...here, judged: judged() };
    const other = here.version !== null && here.status.version !== here.version ? here.status.version : null;
    draw(document.getElementById("head"), headView({ ...known, other, forget: token.get() ? forget : null }));
    draw(document.getElementById("services"), servicesView({ ...known, onfilter }));
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

/** Every service with what there is to say of it; kept until something has come that it is told from. */
function judged() {
  if (here.judged !== null) return here.judged;
  const events = new Map();
  for (const event of here.events) {
    if (!events.has(event.service)) events.set(event.service, []);
    events.get(event.service).push(event);
  }
  here.judged = (here.status?.services ?? []).map((service) => {
    const found = verdicts(service, here.slices.get(service.service), events.get(service.service) ?? []);
    return { service, level: found[0][0], sentence: found[0][1], found };
  });
  return here.judged;
}

function onfilter(text) {
  here.filter = text;
  redraw();
}

function plotWidth() {
  const whole = document.getElementById("detail").clientWidth;
  return whole >= 780 ? Math.floor((whole - 2 * 20) / 3) : whole;
}

function plotsOf(detail) {
  const slices = [...detail.slices.values()].sort((a, b) => a.at - b.at);
  const now = Date.now() + daemon.ahead;
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

function currentView(service, { deployments, current }) {
  if (deployments === null) return faint("Loading…");
  if (deployments.length === 0) return faint("Nothing was deployed yet.");
  const known = current?.deployment === deployments[0].deployment;
  return [watchView(service.deployment?.watched), known ? storyView(current, false) : faint("Loading…")];
}

function onDone(sentence) {
  toast(sentence);
  overview.now();
  details.now();
}

function detailView() {
  const found = judged().find(({ service }) => service.service === here.chosen);
  if (here.status === null) return [faint(here.asking ? "" : "Loading…")];
  if (!found) return [faint(here.chosen ? `There is no service "${here.chosen}".` : "There are no services.")];
  const { service } = found, { detail } = here;
  const story = detail.story?.deployment === here.open ? detail.story : null;
  return [
    h("div", { class: "title" }, h("h2", {}, service.service),
      service.state === "serving" ? null : h("span", { class: "mark warn" }, service.state),
      buttonsView(service, onDone)),
    h("ul", { class: "verdicts" }, found.found.map(([level, text]) => h("li", { class: level }, text))),
    plotsOf(detail),
    h("h3", {}, "Pools"), poolsView(service),
    h("h3", {}, "Deployment"), h("div", { id: "current" }, currentView(service, detail)),
    h("h3", {}, "History"), historyView(service.service, detail.deployments, here.open, story),
    h("h3", {}, "Events"), eventsView(here.events, service.service),
  ];
}

/* ---- asking ---- */

async function refreshOverview() {
  const [status, traffic] = await Promise.all([get("/v1/status"), get("/v1/traffic")]);
  here.version ??= status.version;
  here.status = status;
  here.slices = new Map(traffic.services.map((slice) => [slice.service, slice]));
  here.judged = null;
  if (here.chosen === null) choose();
  redraw();
}

function nothingKnown() {
  return { deployments: null, current: null, story: null, slices: new Map(), moves: [] };
}

function takeTraffic(detail, { slices, moves }, whole) {
  for (const slice of slices) detail.slices.set(slice.time, { ...slice, at: Date.parse(slice.time) });
  const newest = Math.max(...[...detail.slices.values()].map((slice) => slice.at));
  for (const [time, slice] of detail.slices) if (slice.at < newest - WINDOW) detail.slices.delete(time);
  const again = (old) => moves.some((move) => move.time === old.time && move.deployment === old.deployment);
  detail.moves = whole ? moves : [...detail.moves.filter((old) => !again(old)), ...moves];
  detail.moves.sort((a, b) => (a.time < b.time ? -1 : 1));
}

/** Is what is known of a deployment what is to be known? One that runs changes without another state. */
function isStale(story, entry) {
  return !story || story.deployment !== entry.deployment || story.state !== entry.state || entry.ended === null;
}

function deploymentPath(name) {
  return `/v1/deployments/${encodeURIComponent(name)}`;
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
  const [newest] = deployments, entry = deployments.find((each) => each.deployment === open);
  if (newest && isStale(detail.current, newest)) detail.current = await get(deploymentPath(newest.deployment));
  if (entry && isStale(detail.story, entry))
    detail.story = entry === newest ? detail.current : await get(deploymentPath(open));
  redraw();
}

function failed(failure) {
  if (failure.status === 401) needToken(failure.message);
  else if (failure.status === 0) setLink("lost", failure.message);
  redraw();
  return failure.status !== 401;
}

const overview = new Poll(refreshOverview, OVERVIEW_MS, failed);
const details = new Poll(refreshDetail, DETAIL_MS, failed);

function setLink(state, words) {
  const isBack = state === "live" && here.link[0] !== "live";
  if (isBack) here.detail?.slices.clear(); // all of them anew, since some were missed
  here.link = [state, words ?? ""];
  if (isBack) {
    overview.now();
    details.now();
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
  here.judged = null;
  const current = here.detail?.current;
  if (event.uptest && current?.deployment === event.deployment) takeUptest(current.gate, event);
  if (here.events.length > EVENTS) here.events.splice(0, here.events.length - EVENTS);
  overview.soon();
  if (event.service === here.chosen) details.soon();
  redraw();
}

/* ---- the token ---- */

function listen() {
  if (here.following) return;
  here.following = true;
  follow(since, { state: setLink, event: onEvent }).finally(() => (here.following = false));
}

async function begin() {
  await get("/v1/traffic");
  here.asking = false;
  overview.now();
  details.now();
  listen();
}

function needToken(sentence) {
  if (here.asking) return;
  here.asking = true;
  const known = token.get() !== null;
  token.clear();
  const lost = `The daemon does not know the token of this tab any more: ${sentence}`;
  askToken(known ? lost : "This address is for those who know the token: see admin.token_file in upswapd.conf.", begin);
}

function forget() {
  token.clear();
  location.reload();
}

/* ---- choosing ---- */

/** After the address: #/SERVICE or #/SERVICE/DEPLOYMENT; without one, what needs somebody most. */
function choose() {
  const [, name, open] = location.hash.split("/").map(decodeURIComponent);
  const all = [...judged()].sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
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
  else listen();
});
