// Numbers, times and names as people read them.

export function count(number) {
  if (number < 10000) return String(number);
  return number < 1e6 ? `${(number / 1e3).toFixed(1)}k` : `${(number / 1e6).toFixed(1)}M`;
}

/** Of something a second. */
export function rate(number) {
  if (number === 0) return "0";
  if (number < 10) return number.toFixed(1);
  return count(Math.round(number));
}

export function share(number) {
  if (number === 0) return "0%";
  return number < 0.001 ? "<0.1%" : `${(number * 100).toFixed(number < 0.1 ? 1 : 0)}%`;
}

/** Seconds that a request or an uptest takes. */
export function span(seconds) {
  if (seconds == null) return "–";
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 10 ? `${seconds.toFixed(1)} s` : length(seconds);
}

/** Seconds that a person waits. */
export function length(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min` : `${Math.floor(s / 86400)} d`;
}

function two(number) {
  return String(number).padStart(2, "0");
}

export function clock(time) {
  const t = new Date(time);
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

/** With the day where it is another one. */
export function moment(time) {
  const t = new Date(time);
  if (t.toDateString() === new Date().toDateString()) return clock(time);
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock(time)}`;
}

export function asker(who) {
  if (!who || !who.user) return "";
  return who.pid ? `${who.user} (pid ${who.pid})` : who.user;
}

export function some(number, one, many) {
  return `${number} ${number === 1 ? one : (many ?? `${one}s`)}`;
}

/** "web-17 (v42)" */
export function release(deployment, name) {
  return name ? `${deployment} (${name})` : deployment;
}

export const STATES = {
  staged: "staged",
  testing: "testing",
  held: "held",
  canary: "canary",
  watching: "watching",
  draining: "draining",
  done: "done",
  rejected: "rejected",
  aborted: "aborted",
  rolled_back: "rolled back",
};
