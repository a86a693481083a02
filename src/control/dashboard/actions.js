// What can be done with a service. Nothing is sent before a dialog has said what will happen and was confirmed; and
// nothing if the service has moved on while the dialog was open.

import { draw, h } from "./dom.js";
import { get, post, servicePath, token } from "./net.js";
import { release } from "./words.js";

const dialog = document.getElementById("dialog");

function running(service) {
  const each = service.deployment;
  return each ? release(each.deployment, each.release) : "";
}

function old(service) {
  return service.deployment.replaces ?? "the pool before";
}

const REASON = { name: "reason", label: "Reason (told to whoever asks later)", maxlength: 300 };

/**
 * A place for a button each, which shows what is possible there, else its first, which cannot be pressed then.
 * `when`: in these states of the running deployment; `modes`: in these of the service. `says`: what it will do.
 */
const PLACES = [
  [{ verb: "promote", label: "Promote", when: ["held", "canary", "watching"],
    says: (s) => ({
      held: `${running(s)} goes on: it becomes a canary, or all new requests of ${s.service} go to it.`,
      canary: `${running(s)} gets its next share of the new sessions at once.`,
      watching: `The watch of ${running(s)} ends now: it stays live, and ${old(s)} is drained. There is no rollback `
        + "after that.",
    })[s.deployment.state] }],
  [{ verb: "abort", label: "Abort", danger: true, when: ["staged", "testing", "held", "canary"], field: REASON,
    says: (s) => `${running(s)} is given up and its instances are torn down. ${s.live ?? "No pool"} stays live.` }],
  [{ verb: "rollback", label: "Roll back", danger: true, when: ["canary", "watching"], field: REASON,
    says: (s) => `All new requests of ${s.service} go to ${old(s)} again; ${running(s)} is drained and torn down.` }],
  [{ verb: "pause", label: "Pause", modes: ["serving"],
    field: { name: "max", label: "For at most (then requests are let go)", value: "30s" },
    says: (s) => `New requests of ${s.service} wait until they are let go.` },
  { verb: "resume", label: "Resume", modes: ["paused"],
    says: (s) => `The requests of ${s.service} that wait are let go.` }],
  [{ verb: "maintenance", label: "Maintenance on", danger: true, modes: ["serving", "paused", "empty"],
    extra: { on: true }, field: { name: "message", label: "Message for clients", maxlength: 300 },
    says: (s) => `Every request of ${s.service} is answered with 503 until you turn this off.` },
  { verb: "maintenance", label: "Maintenance off", modes: ["maintenance"], extra: { on: false },
    says: (s) => `${s.service} is served again.` }],
];

function isPossible(action, service) {
  return action.when ? action.when.includes(service.deployment?.state) : action.modes.includes(service.state);
}

/** What a dialog was opened on. */
function situation(service) {
  return `${service.state} ${service.deployment?.deployment ?? ""} ${service.deployment?.state ?? ""}`;
}

function fieldView({ label, type, maxlength, value }) {
  return h("label", {}, label, h("input", { name: "field", autocomplete: "off", spellcheck: "false",
    type: type ?? "text", maxlength: maxlength ?? null, value: value ?? "" }));
}

/** Opens the dialog. `send` is called with the value of the field; what it throws is shown, and the dialog stays. */
function ask({ title, text, label, danger, field, closable = true, send }) {
  let fault = "", busy = false;
  const close = () => dialog.close();
  const show = () => draw(dialog, [
    h("form", { key: title, onsubmit: submit },
      h("h2", { id: "dialog-title" }, title), h("p", {}, text),
      field ? fieldView(field) : null,
      h("p", { class: "fault", role: "alert" }, fault),
      h("div", { class: "buttons" },
        closable ? h("button", { type: "button", key: "cancel", onclick: close }, "Cancel") : null,
        h("button", { type: "submit", key: "go", class: danger ? "danger" : "primary", disabled: busy }, label))),
  ]);
  async function submit(event) {
    event.preventDefault();
    if (busy) return;
    busy = true;
    show();
    try {
      await send(dialog.querySelector("input")?.value.trim() ?? "");
      close();
    } catch (failure) {
      fault = failure.message;
    }
    busy = false;
    if (dialog.open) show();
  }
  dialog.oncancel = (event) => closable || event.preventDefault();
  draw(dialog, []);
  show();
  if (!dialog.open) dialog.showModal();
  dialog.querySelector(closable ? "button" : "input").focus(); // who strikes Enter twice has cancelled
}

async function carryOut(action, before, value) {
  const now = await get(servicePath(before.service));
  if (situation(now) !== situation(before))
    throw new Error(`${before.service} has moved on since you opened this: cancel, and look again.`);
  const meant = action.when ? { deployment: before.deployment.deployment } : {};
  const body = { ...meant, ...action.extra };
  if (action.field && value !== "") body[action.field.name] = value;
  await post(servicePath(before.service, `/${action.verb}`), body);
}

/** The buttons of a service; `done` is called with a sentence when something was done. */
export function buttonsView(service, done) {
  const open = (action) => ask({
    title: `${action.label}: ${service.service}?`,
    text: action.says(service),
    label: action.label,
    danger: action.danger,
    field: action.field,
    send: async (value) => {
      await carryOut(action, service, value);
      done(`${service.service}: ${action.label.toLowerCase()} is done.`);
    },
  });
  return h("div", { class: "actions" }, PLACES.map((place) => {
    const action = place.find((each) => isPossible(each, service)) ?? place[0];
    return h("button", { type: "button", "data-verb": action.verb, class: action.danger ? "danger" : null,
      disabled: !isPossible(action, service), onclick: () => open(action) }, action.label);
  }));
}

const UNSOUND = "A token has no spaces and no letters beyond ASCII; copy it from admin.token_file once more.";
const UNKNOWN = "The daemon does not know this token (401). It is what stands in admin.token_file.";

/** Asks for the token until the daemon takes it. */
export function askToken(sentence, check) {
  ask({
    title: "Token",
    text: sentence,
    label: "Open",
    closable: false,
    field: { label: "Token (kept in this tab until you close it)", type: "password" },
    send: async (text) => {
      if (!token.isSound(text)) throw new Error(UNSOUND);
      token.set(text);
      try {
        await check();
      } catch (failure) {
        token.clear();
        throw failure.status === 401 ? new Error(UNKNOWN) : failure;
      }
    },
  });
}
