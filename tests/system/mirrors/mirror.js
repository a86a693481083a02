// An instance that answers each request with what it saw of it, as JSON, and writes the same to stdout as a line.
// usage: node mirrors.js NAME...: a server a name; the first line of output is their ports.
"use strict";
const crypto = require("crypto");
const http = require("http");

function say(name, record) {
    process.stdout.write(JSON.stringify({ server: name, ...record }) + "\n");
}

function mirror(name) {
    const server = http.createServer({ maxHeaderSize: 65536, requestTimeout: 0, headersTimeout: 0 }, (request, response) => {
        const pieces = [];
        request.on("data", (piece) => pieces.push(piece));
        request.on("end", () => {
            // What is sent to another mirror differs by its name, whole or cut: the letters of all names are one.
            const body = Buffer.concat(pieces).toString("latin1").replace(/[acdeghinoprstxyH]/g, "H");
            const record = {
                id: request.headers["x-request-id"] || null,
                method: request.method,
                target: request.url,
                length: body.length,
                hash: crypto.createHash("sha256").update(body, "latin1").digest("hex"),
            };
            say(name, record);
            const answer = JSON.stringify(record);
            // Behind an upgrade that it did not make, Node 20 hangs on what it cannot parse, without an error.
            if (request.headers.upgrade) response.setHeader("Connection", "close");
            response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(answer) });
            response.end(answer);
        });
        request.on("error", () => {});
    });
    server.keepAliveTimeout = 0; // for ever
    server.on("checkExpectation", (request, response) => {
        server.emit("request", request, response);
    });
    server.on("clientError", (error, socket) => {
        // Of the parser's: but that a request was cut is no fault.
        if (error.code.startsWith("HPE_") && error.code !== "HPE_INVALID_EOF_STATE")
            say(name, { fault: error.code, bytes: error.rawPacket ? error.rawPacket.toString("latin1").slice(0, 8192) : "" });
        socket.destroy();
    });
    return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

Promise.all(process.argv.slice(2).map(mirror)).then((ports) => console.log(JSON.stringify(ports)));
