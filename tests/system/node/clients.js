// Node's own clients, one function each: node clients.js NAME PORT [CA]. Says what happens as lines of JSON, and
// is told how to go on by lines of text. An error that a client reports, and nobody here expects, ends it.
"use strict";
const { createHash } = require("node:crypto");
const { once } = require("node:events");
const fs = require("node:fs");
const http = require("node:http");
const http2 = require("node:http2");
const https = require("node:https");
const readline = require("node:readline");

const [name, port, caPath] = process.argv.slice(2);
const base = `http://127.0.0.1:${port}`;
const ca = caPath && fs.readFileSync(caPath);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const hear = async () => (await lines.next()).value;
const sha256 = (data) => createHash("sha256").update(data).digest("hex");

async function text(stream) {
  stream.setEncoding("utf8");
  let whole = "";
  for await (const piece of stream) whole += piece;
  return whole;
}

// One exchange of http or https; the request goes along to tell which connection it had.
async function ask(client, options, body) {
  const request = client.request({ host: "127.0.0.1", port, ...options });
  request.end(body);
  const [response] = await once(request, "response");
  return { request, response, body: await text(response) };
}

// Requests by an agent that keeps its connections; says each release when it first answers. Told to stop, each
// client asks once more.
async function agent() {
  const keeping = new http.Agent({ keepAlive: true, maxSockets: 8 });
  const releases = new Set();
  const last = new Set();
  const sockets = new Set();
  let stopped = false;
  let count = 0;
  let bad = 0;
  async function turn(number) {
    const body = number % 2 ? `body ${number}` : undefined;
    const got = await ask(http, { agent: keeping, method: body ? "POST" : "GET", path: `/${number}` }, body);
    const [release, ...rest] = got.body.split(" ");
    const wanted = body ? `${body.length} ${sha256(body)}` : `/${number}`;
    if (got.response.statusCode !== 200 || rest.join(" ") !== wanted) bad++;
    if (!releases.has(release)) say(release);
    releases.add(release);
    sockets.add(got.request.socket);
    count++;
    return release;
  }
  async function client() {
    for (let number = 0; !stopped; number++) await turn(number);
    last.add(await turn(0));
  }
  hear().then(() => (stopped = true));
  await Promise.all(Array.from({ length: 16 }, client));
  say({ count, bad, sockets: sockets.size, last: [...last] });
  keeping.destroy();
}

// A body whose pieces are what is heard, and an answer that is said piece by piece.
async function pieces() {
  const body = new ReadableStream({
    async pull(controller) {
      const piece = await hear();
      if (piece === "end") controller.close();
      else controller.enqueue(Buffer.from(piece));
    },
  }, { highWaterMark: 0 });
  const response = await fetch(`${base}/pieces`, { method: "POST", body, duplex: "half" });
  say(response.status);
  for await (const piece of response.body) say(Buffer.from(piece).toString());
  say("end");
}

// Much of both.
async function bulk() {
  const piece = Buffer.alloc(65536, "abcdefg");
  let left = 64;
  const body = new ReadableStream({
    pull(controller) {
      if (left-- > 0) controller.enqueue(piece);
      else controller.close();
    },
  });
  const sent = await (await fetch(`${base}/`, { method: "POST", body, duplex: "half" })).text();
  const whole = Buffer.concat(Array(64).fill(piece));
  const got = await (await fetch(`${base}/bytes?n=4000000&chunked=1`)).text();
  say({ sent, wanted: `v1 ${whole.length} ${sha256(whole)}`, got: sha256(got) });
}

// A WebSocket by hand: the first frame comes with the agreement, the second answers ours, the third is a Close.
async function upgrade() {
  const key = Buffer.alloc(16, 7).toString("base64");
  const headers = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key };
  const request = http.request({ host: "127.0.0.1", port, path: "/ws", headers });
  request.end();
  const [response, socket, head] = await once(request, "upgrade");
  const accept = createHash("sha1").update(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  say({ status: response.statusCode, agreed: response.headers["sec-websocket-accept"] === accept });
  let buffer = head;
  async function frame() {
    const whole = () => buffer.length >= 2 && buffer.length >= 2 + buffer[1];
    while (!whole()) buffer = Buffer.concat([buffer, (await once(socket, "data"))[0]]);
    const payload = buffer.subarray(2, 2 + buffer[1]);
    const opcode = buffer[0] & 15;
    buffer = buffer.subarray(2 + buffer[1]);
    return [opcode, payload];
  }
  const send = (opcode, payload) =>
    socket.write(Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
  say((await frame())[1].toString());
  send(1, Buffer.from("from node"));
  say((await frame())[1].toString());
  const [opcode, payload] = await frame();
  say({ opcode, code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() });
  send(opcode, payload);
  socket.resume();
  await once(socket, "end");
  socket.end();
}

// https: who is trusted, and whether sessions are resumed.
async function secure() {
  const trusting = { ca, servername: "app.test", path: "/" };
  const keeping = new https.Agent({ keepAlive: true, maxSockets: 1 });
  const got = [];
  for (let turn = 0; turn < 10; turn++) got.push(await ask(https, { ...trusting, agent: keeping }));
  const { socket } = got[0].request;
  say({
    same: got.every((each) => each.request.socket === socket && each.response.statusCode === 200),
    authorized: socket.authorized,
    protocol: socket.getProtocol(),
    bodies: [...new Set(got.map((each) => each.body))],
  });
  socket.destroy();
  const again = await ask(https, { ...trusting, agent: keeping });
  say({ other: again.request.socket !== socket, resumed: again.request.socket.isSessionReused() });
  keeping.destroy();
  for (const wrong of [{ servername: "other.test" }, { ca: undefined }]) {
    await ask(https, { ...trusting, ...wrong, agent: false }).then(
      () => say("trusted"),
      (error) => say(error.code),
    );
  }
}

// Streams of one HTTP/2 session, with trailers both ways; then one that is held over the GOAWAY of a stop.
async function streams() {
  const session = http2.connect(`https://127.0.0.1:${port}`, { ca, servername: "app.test" });
  const closed = once(session, "close");
  const goaways = [];
  session.on("goaway", (code) => goaways.push(code));
  async function exchange(number) {
    const stream = session.request({ ":method": "POST", ":path": "/echo" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-number": String(number) }));
    const response = once(stream, "response");
    const trailers = once(stream, "trailers");
    stream.end(String(number).repeat(10000));
    const body = await text(stream);
    const [{ ":status": status }] = await response;
    return status === 200 && body === String(number).repeat(10000) && (await trailers)[0]["x-number"] === String(number);
  }
  const whole = await Promise.all([...Array(30).keys()].map(exchange));
  say({ alpn: session.alpnProtocol, streams: whole.length, whole: whole.every(Boolean) });
  const held = session.request({ ":path": "/held" });
  const body = text(held);
  await once(session, "goaway");
  say("goaway");
  say(await body);
  await closed;
  say({ goaways: [...new Set(goaways)], destroyed: session.destroyed });
}

// Server-sent events by fetch: to the end of the stream, then again, and given up.
async function events() {
  for (let turn = 0; turn < 2; turn++) {
    const response = await fetch(`${base}/events`);
    say(response.headers.get("content-type"));
    let rest = "";
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      const whole = (rest + piece).split("\n\n");
      rest = whole.pop();
      whole.forEach(say);
      if (whole.includes("data: enough")) break; // cancels the body
    }
    say({ rest });
  }
}

({ agent, pieces, bulk, upgrade, secure, streams, events })[name]().then(() => process.exit(0));
