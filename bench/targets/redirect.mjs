// Loaded into a server written for Node before its own code (`node --import`): what it asks of any other
// machine goes to the load source instead, and it listens on the loopback interface only.

import net from "node:net";

const source = process.env.BENCH_SOURCE;
const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

const send = globalThis.fetch;
globalThis.fetch = (target, options) => {
  const asked = new URL(target instanceof Request ? target.url : target);
  if (LOOPBACK.has(asked.hostname)) return send(target, options);
  const here = new URL(asked.pathname + asked.search, source);
  return send(target instanceof Request ? new Request(here, target) : here, options);
};

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, host, ...rest) {
  return listen.call(this, port, host === "0.0.0.0" ? "127.0.0.1" : host, ...rest);
};
