// A client for the few Redis commands that reading hints takes: RESP2 over one TCP connection.
// In production take your shop's Redis client; this one is here so that the example needs nothing else.
import net from "node:net";

export class RedisError extends Error {}

export class RespClient {
  #socket;
  #waiting = []; // one { resolve, reject } per reply that is still to come, in the order of commands
  #buffer = Buffer.alloc(0);
  #timeoutMs;

  static async connect(url, timeoutMs = 500) {
    const { hostname, port, password, username, pathname } = new URL(url);
    const client = new RespClient();
    await new Promise((resolve, reject) => {
      client.#socket = net.connect(Number(port || 6379), hostname, resolve);
      client.#timeoutMs = timeoutMs;
      client.#socket.setTimeout(timeoutMs, () => client.#socket.destroy(new RedisError("timeout")));
      client.#socket.on("error", (error) => (client.#fail(error), reject(error)));
      client.#socket.on("close", () => client.#fail(new RedisError("connection closed")));
      client.#socket.on("data", (data) => client.#read(data));
    });
    const name = username ? [decodeURIComponent(username)] : [];
    const database = pathname.slice(1) || "0";
    const hello = password ? [["AUTH", ...name, decodeURIComponent(password)]] : [];
    for (const reply of await client.pipeline([...hello, ["SELECT", database]])) {
      if (reply instanceof RedisError) throw (client.close(), reply);
    }
    return client;
  }

  // One round trip: the replies of all commands. A refusal by Redis is a RedisError in its place.
  pipeline(commands) {
    if (this.#socket.destroyed) return Promise.reject(new RedisError("connection closed"));
    const replies = commands.map(() => new Promise((resolve, reject) => this.#waiting.push({ resolve, reject })));
    this.#socket.setTimeout(this.#timeoutMs); // no longer than this between two pieces of the replies
    this.#socket.write(Buffer.concat(commands.map(encode)));
    return Promise.all(replies);
  }

  close() {
    this.#socket.destroy();
  }

  #read(data) {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    for (let reply; (reply = decode(this.#buffer, 0)); ) {
      this.#buffer = this.#buffer.subarray(reply.end);
      this.#waiting.shift().resolve(reply.value);
    }
    if (this.#waiting.length === 0) this.#socket.setTimeout(0);
  }

  #fail(error) {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

function encode(command) {
  const parts = command.map((part) => Buffer.from(String(part)));
  const packed = parts.map((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from("\r\n")]);
  return Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...packed.flat()]);
}

// The reply that starts at `at` and where it ends; null while it is not all there.
function decode(buffer, at) {
  const lineEnd = buffer.indexOf("\r\n", at);
  if (lineEnd < 0) return null;
  const line = buffer.toString("utf8", at + 1, lineEnd);
  const start = lineEnd + 2;
  switch (String.fromCharCode(buffer[at])) {
    case "+": return { value: line, end: start };
    case "-": return { value: new RedisError(line), end: start };
    case ":": return { value: Number(line), end: start };
    case "$": return decodeText(buffer, start, Number(line));
    case "*": return decodeArray(buffer, start, Number(line));
    default: throw new RedisError(`not RESP2: ${line}`);
  }
}

function decodeText(buffer, start, length) {
  if (length < 0) return { value: null, end: start };
  if (buffer.length < start + length + 2) return null;
  return { value: buffer.toString("utf8", start, start + length), end: start + length + 2 };
}

function decodeArray(buffer, start, length) {
  const value = [];
  let end = start;
  for (let place = 0; place < length; place++) {
    const item = decode(buffer, end);
    if (item === null) return null;
    value.push(item.value);
    end = item.end;
  }
  return { value, end };
}
