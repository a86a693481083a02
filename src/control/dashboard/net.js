// The API. The token is in this tab's sessionStorage and goes into a header, never into a cookie or an address: so no
// other site can make the browser use it.

const KEY = "upswap-token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  clear: () => sessionStorage.removeItem(KEY),
  /** Can it stand in a header? */
  isSound: (text) => /^[\x21-\x7e]+$/.test(text),
};

/** What the daemon has refused, with its sentence; status 0: it could not be reached. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const SKEW_MS = 2000; // a Date has whole seconds, and comes a while after it was written

/** The daemon's clock is so many ms ahead of this machine's. */
export const daemon = { ahead: 0 };

function compareClocks(answer) {
  const ahead = Date.parse(answer.headers.get("Date")) - Date.now();
  daemon.ahead = Math.abs(ahead) > SKEW_MS ? ahead : 0;
}

async function explain(answer) {
  try {
    return (await answer.json()).detail ?? answer.statusText;
  } catch {
    return `the daemon answered ${answer.status} ${answer.statusText}`;
  }
}

/** The Response of a request that has succeeded. */
export async function send(method, path, { body, accept, signal } = {}) {
  const headers = { Accept: accept ?? "application/json" };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body) headers["Content-Type"] = "application/json";
  const options = { method, headers, signal, cache: "no-store", credentials: "omit", redirect: "error" };
  let answer;
  try {
    answer = await fetch(path, body ? { ...options, body: JSON.stringify(body) } : options);
  } catch (failure) {
    throw signal?.aborted ? failure : new Refused(0, "the daemon cannot be reached");
  }
  compareClocks(answer);
  if (!answer.ok) throw new Refused(answer.status, await explain(answer));
  return answer;
}

export async function get(path) {
  return (await send("GET", path)).json();
}

export function post(path, body) {
  return send("POST", path, { body });
}

export function servicePath(service, rest = "") {
  return `/v1/services/${encodeURIComponent(service)}${rest}`;
}

export function sleep(ms) {
  return new Promise((wake) => setTimeout(wake, ms));
}
