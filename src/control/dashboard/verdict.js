// What is wrong with a service, in one sentence, and how much it matters. `upswap why` tells more.

import { moment, release, share, some } from "./words.js";

/** From what matters most. */
export const LEVELS = ["bad", "warn", "busy", "good"];

const ERRORS_BAD = 0.05;
const ERRORS_WARN = 0.01;

export function livePool(service) {
  return service.pools.find((pool) => pool.deployment === service.live);
}

function ofMode({ state, mode }) {
  if (state === "maintenance")
    return ["warn", `In maintenance since ${moment(mode.since)}, by ${mode.asked_by.user}: requests get 503.`];
  if (state !== "paused") return null;
  const who = mode.deployment ? `for ${mode.deployment}` : `by ${mode.asked_by.user}`;
  const waiting = some(mode.waiting, "request waits", "requests wait");
  return ["warn", `Paused ${who}: ${waiting}, let go at ${moment(mode.until)} at the latest.`];
}

function ofInstances(service, reasons) {
  const pool = livePool(service);
  if (!pool) return ["bad", "No live pool: every request gets 503."];
  const away = pool.instances.filter((each) => each.state !== "up");
  if (away.length > 0) {
    const [{ address, state }] = away, up = pool.instances.length - away.length;
    const more = away.length > 1 ? `, and ${away.length - 1} more` : "";
    const why = reasons.has(address) ? `; ${reasons.get(address)}` : "";
    const words = `${up} of ${some(pool.instances.length, "instance")} up: ${address} is ${state}${more}${why}.`;
    return [up === 0 ? "bad" : "warn", words];
  }
  const failing = pool.instances.filter((each) => each.uptests === "failed");
  return failing.length > 0 ? ["warn", `${failing[0].address} fails its uptests.`] : null;
}

function ofErrors(slice) {
  if (!slice || slice.requests === 0) return null;
  const errors = slice.errors / slice.requests;
  if (errors < ERRORS_WARN) return null;
  const words = `${share(errors)} of its requests fail (${slice.errors} of ${slice.requests}).`;
  return [errors >= ERRORS_BAD ? "bad" : "warn", words];
}

function ofDeployment(service) {
  const deployment = service.deployment;
  if (!deployment) return null;
  const name = release(deployment.deployment, deployment.release);
  const doing = {
    staged: ["busy", `${name} is staged and waits for its instances.`],
    testing: ["busy", `${name} goes through its gate.`],
    held: ["warn", `${name} has passed its gate and waits for you: promote or abort it.`],
    canary: ["busy", `${name} is a canary with ${deployment.canary?.share}% of the new sessions.`],
    watching: ["busy", `${name} is live and watched; ${deployment.replaces ?? "nothing"} stays armed.`],
    draining: ["good", `${name} is live.`],
  };
  if (deployment.reason && ["canary", "watching"].includes(deployment.state))
    return ["warn", `${name} waits for you: ${deployment.reason}`];
  return doing[deployment.state] ?? ["busy", `${name} is ${deployment.state}.`];
}

const ENDS = {
  "deployment.rejected": "was rejected",
  "deployment.rolled_back": "was rolled back",
  "deployment.aborted": "was aborted",
};

/** What the events of a service tell besides: why instances are away, and that its last deployment has failed. */
function ofEvents(service, events) {
  const reasons = new Map();
  let last = null;
  for (const event of events) {
    if (event.type === "instance.ejected") reasons.set(event.instance, event.reason);
    if (event.type.startsWith("deployment.")) last = event;
  }
  if (last === null || !(last.type in ENDS) || service.deployment) return { reasons, failure: null };
  const why = last.reason ? `: ${last.reason}` : "";
  return { reasons, failure: ["busy", `${last.deployment} ${ENDS[last.type]} at ${moment(last.time)}${why}`] };
}

/** All that there is to say, as [level, sentence], what matters most first; never empty. `events`: the service's. */
export function verdicts(service, slice, events) {
  const { reasons, failure } = ofEvents(service, events);
  const away = ofMode(service) ?? ofInstances(service, reasons);
  const found = [away, ofErrors(slice), ofDeployment(service), failure].filter(Boolean);
  const pool = livePool(service);
  if (!away && !service.deployment) {
    const name = release(pool.deployment, pool.release);
    found.push(["good", `Served by ${name}, ${some(pool.instances.length, "instance")} up.`]);
  }
  return found.sort((a, b) => LEVELS.indexOf(a[0]) - LEVELS.indexOf(b[0]));
}
