// What comes by itself: the events, and what is asked for again and again. EventSource cannot show a token, so the
// stream of server-sent events is read with fetch. While the tab is hidden nothing is asked for: a stream takes one
// of the few connections that a browser has for an address.

import { get, Refused, send, sleep } from "./net.js";

const PATIENCE_MS = 5000; // between two tries to reach the daemon, at most
const PAUSE_GROWS = 1.5;
const BEFORE = 300; // events that are read at the beginning

async function* messages(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const line = part.split("\n").find((each) => each.startsWith("data: "));
      if (line) yield JSON.parse(line.slice(6));
    }
  }
}

function isVisible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((wake) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      wake();
    };
    document.addEventListener("visibilitychange", look);
  });
}

/** Reads the stream until it ends. `since.seq` moves with it. */
async function read(since, on, stop) {
  const path = `/v1/events?follow=1&since=${since.seq}`;
  const answer = await send("GET", path, { accept: "text/event-stream", signal: stop.signal });
  on.state("live");
  for await (const event of messages(answer)) {
    since.seq = event.seq;
    on.event(event);
  }
}

/**
 * Follows the events for as long as the page is there, across restarts of the daemon. on.state tells "live", "lost"
 * (with a sentence) and "refused" (401: returns then); on.event each event, once.
 */
export async function follow(since, on) {
  let pause = 0;
  for (;;) {
    await isVisible();
    const stop = new AbortController();
    const hide = () => document.hidden && stop.abort();
    document.addEventListener("visibilitychange", hide);
    try {
      const { last_event: last } = await get("/v1/status");
      if (since.seq === 0) since.seq = Math.max(0, last - BEFORE);
      since.seq = Math.min(since.seq, last); // numbers begin anew where the state directory does
      pause = 0;
      await read(since, on, stop);
      on.state("lost", "the daemon has ended the stream of events");
    } catch (failure) {
      if (failure instanceof Refused && failure.status === 401) return on.state("refused", failure.message);
      if (!stop.signal.aborted) on.state("lost", failure.status ? failure.message : "the daemon cannot be reached");
    } finally {
      document.removeEventListener("visibilitychange", hide);
    }
    await sleep(pause * (0.5 + Math.random()));
    pause = Math.min(PAUSE_GROWS * (pause + 100), PATIENCE_MS);
  }
}

/**
 * Does `work` again and again, `every` ms, and soon after each call of soon(). It takes a tenth of the time at most,
 * and a fifth where much happens: when an answer takes long, over a slow line or for many services, the next is asked
 * for later. `failed` tells whether to go on after a failure; else only soon() or now() does.
 */
export class Poll {
  constructor(work, every, failed) {
    Object.assign(this, { work, every, failed, took: 0, due: 0, runs: false, again: false });
    document.addEventListener("visibilitychange", () => document.hidden || this.soon());
  }

  soon() {
    this.again = true;
    this.plan(Math.max(100, 4 * this.took));
  }

  /** For what somebody waits for. */
  now() {
    this.again = true;
    this.plan(0);
  }

  plan(ms) {
    if (this.runs) return;
    const due = performance.now() + ms;
    if (this.timer !== undefined && this.due <= due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => this.run(), ms);
  }

  async run() {
    this.timer = undefined;
    if (document.hidden) return;
    this.runs = true;
    this.again = false;
    const begun = performance.now();
    let goesOn = true;
    try {
      await this.work();
    } catch (failure) {
      if (!(failure instanceof Refused)) console.error(failure);
      goesOn = this.failed(failure);
    }
    this.took = performance.now() - begun;
    this.runs = false;
    if (goesOn) this.plan(this.again ? Math.max(100, 4 * this.took) : Math.max(this.every, 9 * this.took));
  }
}
