// A Node app that takes a path in each way that some app of Node does, one after the other.
const http = require("http");
const path = require("path");

const ways = [
  (p) => decodeURIComponent(p),
  (p) => unescape(p),
  (p) => new URL(p, "http://localhost").pathname,
  (p) => path.posix.normalize(p),
  (p) => p.replace(/\\/g, "/"),
  (p) => p.split("\0")[0],
  (p) => p.replace(/;[^/]*/g, ""),
  (p) => p.split(/[?#]/)[0],
  (p) => p.replace(/[. ]+(?=\/|$)/g, (end, at) => (/(^|\/)\.{0,2}$/.test(p.slice(0, at) + end) ? end : "")),
  (p) => Buffer.from(p, "latin1").toString("utf8").replace(/\ufffd/g, ""),
];

function readings(first) {
  const seen = new Set([first]);
  let fresh = [first];
  for (let depth = 0; depth < 5; depth++) {
    const found = [];
    for (const one of fresh) {
      for (const way of ways) {
        let next;
        try { next = way(one); } catch { continue; }
        if (!seen.has(next)) { seen.add(next); found.push(next); }
      }
    }
    fresh = found;
  }
  return [...seen];
}

http.createServer((request, response) => {
  const secret = readings(request.url.split("?")[0]).some((p) => p === "/admin/secret.txt");
  response.end(secret ? "SECRET-OF-THE-ADMINS" : "public");
}).listen(Number(process.argv[2]), "127.0.0.1");
